// .snap files: the mutator takes a file apart, changes the store or the metadata, and puts it
// together with the right checksum.
//
// Promise: what DecodeSnapFile accepts, EncodeSnapFile writes so that it reads back the same.
#include "rescue/base/checksum.h"
#include "rescue/raftlog/proto.h"
#include "rescue/raftlog/snap.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::raftlog {
namespace {

using fuzz::Pick;
using fuzz::Random;

constexpr std::size_t kRoom = 512;

void CheckSame(const StoreMembership& have, const StoreMembership& want) {
  PROMISE(have.members == want.members);
  PROMISE(have.removed == want.removed);
  PROMISE(have.cluster_version == want.cluster_version);
  PROMISE(have.notes.empty());
}

void Check(ByteView input) {
  const auto snap = DecodeSnapFile(input);
  if (!snap) {
    const std::string& code = snap.error().code;
    PROMISE(code == "snap-empty" || code == "snap-crc-mismatch" || code == "snap-malformed" ||
            code == "snap-store-malformed" || code == "snap-too-large");
    return;
  }
  const Bytes written = EncodeSnapFile(snap->metadata, snap->store);
  const auto again = DecodeSnapFile(written);
  PROMISE(again.has_value());
  PROMISE(again->metadata == snap->metadata);
  CheckSame(again->store, snap->store);
  PROMISE(Equal(EncodeSnapFile(again->metadata, again->store), written));
}

// snappb.Snapshot: crc = 1, data = 2.
Bytes Wrap(ByteView data) {
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_uint32(1, Crc32c(0, data));
  writer.add_bytes(2, ProtoView(data));
  return EncodedBytes(encoded);
}

std::optional<Bytes> Unwrap(ByteView file) {
  std::optional<Bytes> data;
  const Status read = ReadFields(file, "snappb.Snapshot", [&](ProtoReader& field) {
    ByteView bytes;
    if (field.tag() != 2) {
      field.skip();
      return true;
    }
    if (!TakeBytes(field, bytes)) return false;
    data = ToBytes(bytes);
    return true;
  });
  return read ? data : std::nullopt;
}

void ChangeMetadata(SnapshotMetadata& metadata, Random& random) {
  switch (Pick(random, 4)) {
    case 0:
      metadata.index = random();
      return;
    case 1:
      metadata.term = random();
      return;
    case 2:
      metadata.conf_state.voters.push_back(random());
      return;
    default:
      metadata.conf_state.learners.push_back(random());
  }
}

std::optional<Bytes> MutateSnap(ByteView input, Random& random) {
  auto data = Unwrap(input);
  if (!data) return std::nullopt;
  auto snapshot = DecodeSnapshot(*data);
  if (!snapshot || Pick(random, 4) == 0) {
    fuzz::Mutate(*data, kRoom);
    return Wrap(*data);
  }
  if (Pick(random, 4) == 0) {
    ChangeMetadata(snapshot->metadata, random);
  } else {
    fuzz::Mutate(snapshot->data, kRoom);
  }
  return Wrap(EncodeSnapshot(*snapshot));
}

}  // namespace
}  // namespace rescue::raftlog

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  raftlog::Check(fuzz::Input(data, size));
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                    unsigned int seed) {
  fuzz::Random random(seed);
  const auto mutated = raftlog::MutateSnap(fuzz::Input(data, size), random);
  if (!mutated || fuzz::Pick(random, 8) == 0) return LLVMFuzzerMutate(data, size, max_size);
  return fuzz::Output(*mutated, data, max_size);
}
