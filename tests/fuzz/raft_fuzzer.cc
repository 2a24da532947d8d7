// The protobuf messages in log records and .snap files, and the requests in entries. The input's
// first byte chooses the message.
//
// Promise: what a decoder accepts, its encoder writes so that it decodes to the same.
#include <array>

#include "rescue/etcd/requests.h"
#include "rescue/raftlog/raft.h"
#include "rescue/raftlog/record.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::raftlog {
namespace {

template <typename T, typename Decode, typename Encode>
void CheckRoundTrip(const Result<T>& value, Decode decode, Encode encode) {
  if (!value) {
    PROMISE(value.error().kind == ErrorKind::kDataDamaged && !value.error().code.empty());
    return;
  }
  const Bytes written = encode(*value);
  const Result<T> again = decode(ByteView(written));
  PROMISE(again.has_value());
  PROMISE(*again == *value);
  PROMISE(Equal(encode(*again), written));
}

template <typename Decode, typename Encode>
void CheckMessage(ByteView input, Decode decode, Encode encode) {
  CheckRoundTrip(decode(input), decode, encode);
}

// In both wire forms.
template <typename Decode, typename Encode>
void CheckForms(ByteView input, Decode decode, Encode encode) {
  for (const WireForm form : {WireForm::kEtcd34, WireForm::kEtcd37}) {
    CheckMessage(input, decode, [&](const auto& value) { return encode(value, form); });
  }
}

void CheckEntry(ByteView input) {
  CheckForms(input, DecodeEntry, EncodeEntry);
  const auto entry = DecodeEntry(input);
  const auto outline = DecodeEntryOutline(input);
  PROMISE(entry.has_value() == outline.has_value());
  if (!entry) return;
  PROMISE(entry->index == outline->index && entry->term == outline->term);
  PROMISE(entry->type == outline->type);
  const auto data = Slice(input, outline->data_offset, outline->data_size);
  PROMISE(data && Equal(*data, entry->data));
}

void CheckMark(ByteView input) {
  const auto mark = DecodeSnapshotMark(input);
  if (!mark) return;
  const auto again = DecodeSnapshotMark(EncodeSnapshotMark(*mark));
  PROMISE(again && again->index == mark->index && again->term == mark->term &&
          again->conf_state == mark->conf_state);
}

void CheckRecord(ByteView input) {
  const auto record = DecodeRecord(input);
  if (!record) return;
  const auto data = Slice(input, record->data_offset, record->data.size());
  PROMISE(data && Equal(*data, record->data));
}

void CheckRequest(ByteView input) {
  const auto request = etcd::DecodeRequest(input);
  if (!request) {
    PROMISE(request.error().code == "bad-request");
    return;
  }
  if (input.empty()) PROMISE(request->kind == etcd::RequestKind::kEmpty);
  if (request->alarm) PROMISE(request->kind == etcd::RequestKind::kAlarm);
  if (request->published || !request->cluster_version.empty()) {
    PROMISE(request->kind == etcd::RequestKind::kMembership);
  }
}

using Check = void (*)(ByteView);
constexpr std::array<Check, 9> kChecks = {
    CheckEntry,
    CheckRequest,
    [](ByteView input) { CheckForms(input, DecodeConfChange, EncodeConfChange); },
    [](ByteView input) { CheckMessage(input, DecodeConfChangeV2, EncodeConfChangeV2); },
    [](ByteView input) { CheckMessage(input, DecodeHardState, EncodeHardState); },
    [](ByteView input) { CheckMessage(input, DecodeConfState, EncodeConfState); },
    [](ByteView input) { CheckMessage(input, DecodeMetadata, EncodeMetadata); },
    CheckMark,
    CheckRecord,
};

}  // namespace
}  // namespace rescue::raftlog

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  raftlog::kChecks[data[0] % raftlog::kChecks.size()](fuzz::Input(data + 1, size - 1));
  return 0;
}
