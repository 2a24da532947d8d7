// 3.6 and 3.7: what strategy restore leaves behind, byte by byte against what these versions write
// themselves. The records are put together here by hand, without the product's encoders.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstring>

#include "rescue/base/checksum.h"
#include "rescue/base/endian.h"
#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"
#include "rescue/edit/overlay.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/plan.h"
#include "tests/support/fixtures.h"

namespace rescue::etcd {
namespace {

// A protobuf varint, and fields in the order in which they are called.
class Message {
 public:
  Message& Number(int field, std::uint64_t value) {
    Varint(static_cast<std::uint64_t>(field) << 3);
    Varint(value);
    return *this;
  }
  Message& Text(int field, const std::string& value) {
    Varint((static_cast<std::uint64_t>(field) << 3) | 2);
    Varint(value.size());
    bytes_ += value;
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  void Varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>((value & 0x7f) | 0x80);
    bytes_ += static_cast<char>(value);
  }
  std::string bytes_;
};

// Frames with their running checksum, as wal/encoder.go writes them.
class ExpectedLog {
 public:
  void Record(std::uint64_t type, const std::string& data, bool has_data = true) {
    if (has_data) crc_ = Crc32c(crc_, AsBytes(data));
    Message record;
    record.Number(1, type).Number(2, crc_);
    if (has_data) record.Text(3, data);
    const std::size_t padding = (8 - record.bytes().size() % 8) % 8;
    std::uint64_t length = record.bytes().size();
    if (padding != 0) length |= (0x80 | std::uint64_t{padding}) << 56;
    const ul64 word(length);
    bytes_.append(reinterpret_cast<const char*>(&word), sizeof(word));
    bytes_ += record.bytes() + std::string(padding, '\0');
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::uint32_t crc_ = 0;
  std::string bytes_;
};

std::string StateOf(std::uint64_t term, std::uint64_t vote, std::uint64_t commit) {
  return Message().Number(1, term).Number(2, vote).Number(3, commit).bytes();
}

std::string ConfStateOf(std::uint64_t voter) {
  return Message().Number(1, voter).Number(5, 0).bytes();
}

// Type is left out by 3.7 when it is normal; empty data by both.
std::string EntryOf(const raftlog::Entry& entry, bool is_37) {
  Message message;
  if (!is_37 || entry.type != raftlog::EntryType::kNormal) {
    message.Number(1, static_cast<std::uint64_t>(entry.type));
  }
  message.Number(2, entry.term).Number(3, entry.index);
  if (!entry.data.empty()) message.Text(4, std::string(AsText(entry.data)));
  return message.bytes();
}

std::string ReadBucketKey(const FileView& data, std::string_view bucket, std::string_view key) {
  const auto file = data.Open(kBackendPath).value();
  const auto database = bolt::Database::Open(*file).value();
  const auto found = database.FindBucket(AsBytes(bucket)).value();
  REQUIRE(found);
  const auto value = found->Get(AsBytes(key)).value();
  REQUIRE(value);
  return std::string(AsText(*value));
}

std::size_t CountKeys(const FileView& data, std::string_view bucket) {
  const auto file = data.Open(kBackendPath).value();
  const auto database = bolt::Database::Open(*file).value();
  const auto found = database.FindBucket(AsBytes(bucket)).value();
  std::size_t count = 0;
  if (found) {
    REQUIRE(found->ForEach([&](ByteView, ByteView, bool) { return ++count > 0; }));
  }
  return count;
}

void CheckPostconditions(const std::filesystem::path& archive, bool is_37) {
  const testing::TemporaryDirectory directory;
  testing::UnpackArchive(archive, directory.path());
  const auto data = RealFileSystem::OpenRoot((directory.path() / "etcd").string()).value();
  const Findings before = Inspect(*data).value();
  Wishes wishes;
  wishes.strategy = Strategy::kRestore;
  wishes.token = "postconditions";
  const Plan plan = MakePlan(*data, before, wishes).value();
  const auto after = edit::Overlay::Make(*data, plan.edits).value();
  const std::uint64_t id = plan.survivor.id;
  const std::uint64_t index = before.ConsistentIndex();
  const std::uint64_t term = before.backend->term;

  // The log: checksum, metadata, {0,0}, state, snapshot, the tail, state.
  ExpectedLog log;
  log.Record(4, "", /*has_data=*/false);
  log.Record(1, Message().Number(1, id).Number(2, plan.cluster_id).bytes());
  log.Record(5, Message().Number(1, 0).Number(2, 0).bytes());
  log.Record(3, StateOf(term, id, index));
  log.Record(5, Message().Number(1, index).Number(2, term).Text(3, ConfStateOf(id)).bytes());
  raftlog::EntryReader entries(*data, *before.log);
  std::uint64_t last_term = std::max(term, before.log->hard_state->term);
  for (const auto& ref : before.log->entries) {
    if (ref.index <= index) continue;
    auto entry = entries.Read(ref).value();
    const auto request = DecodeRequest(entry.data);
    if (entry.type != raftlog::EntryType::kNormal || (request && request->published)) {
      entry.type = raftlog::EntryType::kNormal;
      entry.data.clear();
    }
    last_term = std::max(last_term, entry.term);
    log.Record(2, EntryOf(entry, is_37));
  }
  const std::uint64_t last = before.LastIndex();
  if (last != index || last_term != term) log.Record(3, StateOf(last_term, id, last));
  const Bytes written =
      ReadWhole(*after, "member/wal/0000000000000000-0000000000000000.wal", kGiB).value();
  CHECK(AsText(written) == log.bytes());

  // The backend: what 3.6 and 3.7 take their members from.
  const std::string hex = raftlog::FormatMemberId(id);
  CHECK(CountKeys(*after, "members") == 1);
  CHECK(CountKeys(*after, "members_removed") == 0);
  std::string urls;
  for (const auto& url : plan.survivor.peer_urls)
    urls += (urls.empty() ? "\"" : ",\"") + url + "\"";
  std::string member = "{\"id\":" + std::to_string(id) + ",\"peerURLs\":[" + urls + "]";
  if (!plan.survivor.name.empty()) member += ",\"name\":\"" + plan.survivor.name + "\"";
  if (!plan.survivor.client_urls.empty()) {
    member += ",\"clientURLs\":[\"" + plan.survivor.client_urls.front() + "\"]";
  }
  CHECK(ReadBucketKey(*after, "members", hex) == member + "}");
  CHECK(ReadBucketKey(*after, "meta", "confState") ==
        "{\"voters\":[" + std::to_string(id) + "],\"auto_leave\":false}");
  for (const char* key : {"consistent_index", "term", "storageVersion"}) {
    CHECK(ReadBucketKey(*after, "meta", key) == ReadBucketKey(*data, "meta", key));
  }
  CHECK(ReadBucketKey(*after, "cluster", "clusterVersion") ==
        ReadBucketKey(*data, "cluster", "clusterVersion"));

  // The .snap, which 3.6 starts from: checksum, then the snapshot with its configuration.
  const std::string name = "member/snap/" + Hex16(term) + "-" + Hex16(index) + ".snap";
  const Bytes snap = ReadWhole(*after, name, kMiB).value();
  const std::string metadata =
      Message().Text(1, ConfStateOf(id)).Number(2, index).Number(3, term).bytes();
  const std::string content(AsText(snap));
  const std::string tail = Message().Text(2, metadata).bytes();
  REQUIRE(content.size() > tail.size());
  CHECK(content.substr(content.size() - tail.size()) == tail);
  CHECK(content.find("/0/members/" + hex + "/raftAttributes") != std::string::npos);
}

TEST_CASE("RestoreOf36LeavesExactlyWhat36Expects") {
  const std::string name = GENERATE("3614-leader", "3614-snap", "3614-learner");
  INFO(name);
  CheckPostconditions(testing::FixturePath("survivors/" + name + ".tar.xz"), false);
}

TEST_CASE("RestoreOf37LeavesExactlyWhat37Expects") {
  const std::string name = GENERATE("371-leader-snap", "371-learner");
  INFO(name);
  CheckPostconditions(testing::FixturePath("survivors/" + name + ".tar.xz"), true);
}

void CheckSharedSurvivors() {
  for (const char* name : {"e3614-leader", "e371-follower", "e371-leader-snap"}) {
    INFO(name);
    CheckPostconditions(
        *testing::SharedFixturePath(std::string("survivors/") + name + "/data.tar.xz"),
        std::string(name).starts_with("e37"));
  }
}

// The larger fixtures lie beside the repository, or they do not: then there is no such test.
const bool registered = [] {
  if (testing::SharedFixturePath("survivors/e371-follower/data.tar.xz")) {
    REGISTER_TEST_CASE(CheckSharedSurvivors, "The larger 3.6 and 3.7 survivors, too");
  }
  return true;
}();

}  // namespace
}  // namespace rescue::etcd
