#include "rescue/etcd/requests.h"

#include <catch2/catch_test_macros.hpp>
#include <protozero/pbf_writer.hpp>

#include "rescue/etcd/backend.h"
#include "rescue/raftlog/proto.h"
#include "tests/support/fixtures.h"

namespace rescue::etcd {
namespace {

Bytes Encoded(std::uint32_t field, const std::string& message) {
  std::string text;
  protozero::pbf_writer writer(text);
  writer.add_uint64(1, 4711);  // request ID
  writer.add_message(field, message);
  return ToBytes(AsBytes(text));
}

std::string AlarmMessage(int action, std::uint64_t member, int type) {
  std::string text;
  protozero::pbf_writer writer(text);
  writer.add_enum(1, action);
  writer.add_uint64(2, member);
  writer.add_enum(3, type);
  return text;
}

std::string V2Message(const std::string& method, const std::string& path,
                      const std::string& value) {
  std::string text;
  protozero::pbf_writer writer(text);
  writer.add_string(2, method);
  writer.add_string(3, path);
  writer.add_string(4, value);
  return text;
}

TEST_CASE("KindsOfRequestsAreToldApart") {
  CHECK(DecodeRequest({})->kind == RequestKind::kEmpty);
  const std::pair<std::uint32_t, RequestKind> kinds[] = {
      {4, RequestKind::kPut},          {5, RequestKind::kDeleteRange},
      {6, RequestKind::kTransaction},  {7, RequestKind::kCompaction},
      {8, RequestKind::kLeaseGrant},   {9, RequestKind::kLeaseRevoke},
      {10, RequestKind::kAlarm},       {11, RequestKind::kLeaseCheckpoint},
      {1000, RequestKind::kAuth},      {1300, RequestKind::kMembership},
      {1302, RequestKind::kMembership}};
  for (const auto& [field, kind] : kinds) CHECK(DecodeRequest(Encoded(field, ""))->kind == kind);
}

TEST_CASE("OfSeveralRequestsInOneEntryTheLastCounts") {
  Bytes both = Encoded(10, AlarmMessage(1, 9, 1));
  Append(both, Encoded(4, ""));
  const auto request = DecodeRequest(both);
  REQUIRE(request);
  CHECK(request->kind == RequestKind::kPut);
  CHECK_FALSE(request->alarm);

  Bytes published = Encoded(2, V2Message("PUT", "/0/version", "3.5.0"));
  Append(published, Encoded(10, AlarmMessage(1, 9, 1)));
  const auto alarm = DecodeRequest(published);
  REQUIRE(alarm);
  CHECK(alarm->alarm);
  CHECK(alarm->cluster_version.empty());
}

TEST_CASE("AlarmsInTheLogAreSeen") {
  const auto request = DecodeRequest(Encoded(10, AlarmMessage(1, 9, 1)));
  REQUIRE(request);
  REQUIRE(request->alarm);
  CHECK(request->alarm->activate);
  CHECK(request->alarm->alarm == Alarm{9, AlarmType::kNoSpace});
  CHECK(DecodeRequest(Encoded(10, AlarmMessage(2, 9, 2)))->alarm->deactivate);
}

TEST_CASE("PublishedAttributesAreReadFromBothForms") {
  const std::string json = R"({"name":"cp-1","clientURLs":["http://10.0.0.1:2379"]})";
  const auto v2 =
      DecodeRequest(Encoded(2, V2Message("PUT", "/0/members/36472bd814ab6cb/attributes", json)));
  REQUIRE(v2);
  REQUIRE(v2->published);
  CHECK(v2->published->member_id == 0x36472bd814ab6cb);
  CHECK(v2->published->name == "cp-1");
  CHECK(v2->published->client_urls.size() == 1);

  std::string attributes;
  protozero::pbf_writer(attributes).add_string(1, "cp-2");
  std::string set;
  protozero::pbf_writer writer(set);
  writer.add_uint64(1, 5);
  writer.add_message(2, attributes);
  const auto v3 = DecodeRequest(Encoded(1301, set));
  REQUIRE(v3);
  CHECK(v3->published == PublishedAttributes{5, "cp-2", {}});
}

TEST_CASE("TheClusterVersionIsReadFromBothForms") {
  CHECK(DecodeRequest(Encoded(2, V2Message("PUT", "/0/version", "3.5.0")))->cluster_version ==
        "3.5.0");
  std::string set;
  protozero::pbf_writer(set).add_string(1, "3.6.0");
  CHECK(DecodeRequest(Encoded(1300, set))->cluster_version == "3.6.0");
}

TEST_CASE("RequestsSurviveTruncationAndMutation") {
  const Bytes sample = Encoded(2, V2Message("PUT", "/0/members/36472bd814ab6cb/attributes",
                                            R"({"name":"cp-1","clientURLs":["http://a:1"]})"));
  int decoded = 0;
  const auto decode = [&](ByteView bytes) { decoded += DecodeRequest(bytes).has_value() ? 1 : 0; };
  testing::ForEveryTruncation(sample, decode);
  testing::ForRandomMutations(sample, 1, 10000, decode);
  CHECK(decoded > 0);
}

TEST_CASE("RevisionsAreReadWithAndWithoutTombstone") {
  const auto plain = ParseHex("00000000000000025f0000000000000001").value();
  CHECK(DecodeRevision(plain) == Revision{2, 1});
  auto tombstone = plain;
  tombstone.push_back(std::byte{'t'});
  CHECK(DecodeRevision(tombstone) == Revision{2, 1});
  tombstone.back() = std::byte{'x'};
  CHECK_FALSE(DecodeRevision(tombstone));
  CHECK_FALSE(DecodeRevision(ByteView(plain).first(16)));
}

TEST_CASE("OnlyRevisionsAboveTheLimitAreShifted") {
  const auto encode = [](std::uint64_t revision) {
    std::string compare;
    raftlog::ProtoWriter(compare).add_uint64(2, 2);                  // target MOD
    raftlog::ProtoWriter(compare).add_bytes(3, std::string("key"));  // whose
    raftlog::ProtoWriter(compare).add_uint64(6, revision);
    std::string put;
    raftlog::ProtoWriter(put).add_bytes(1, std::string("key"));
    raftlog::ProtoWriter(put).add_uint64(4, revision);  // no revision: PutRequest.prev_kv
    std::string operation;
    raftlog::ProtoWriter(operation).add_message(2, put);
    std::string transaction;
    raftlog::ProtoWriter(transaction).add_message(1, compare);
    raftlog::ProtoWriter(transaction).add_message(2, operation);
    std::string inner;
    raftlog::ProtoWriter(inner).add_message(4, transaction);  // RequestOp.request_txn
    std::string outer;
    raftlog::ProtoWriter(outer).add_message(3, inner);
    std::string request;
    raftlog::ProtoWriter(request).add_message(100, std::string("header"));
    raftlog::ProtoWriter(request).add_message(6, outer);
    return request;
  };
  CHECK_FALSE(ShiftRevisions(AsBytes(encode(100)), 100, 50).value());
  const auto shifted = ShiftRevisions(AsBytes(encode(101)), 100, 50).value();
  REQUIRE(shifted);
  std::string expected = encode(101);
  // 101 becomes 151 in the comparison: one byte more, and with it every length around it. The put
  // keeps its 101.
  CHECK(shifted->size() == expected.size() + 1);
  CHECK(AsText(*shifted).find(std::string("\x30\x97\x01", 3)) != std::string::npos);
  CHECK(AsText(*shifted).find("\x20\x65") != std::string::npos);
  CHECK(expected.find("\x30\x65") != std::string::npos);
}

TEST_CASE("CompactionsAndReadsShiftToo") {
  std::string compaction;
  raftlog::ProtoWriter(compaction).add_uint64(1, 7);
  std::string request;
  raftlog::ProtoWriter(request).add_message(7, compaction);
  CHECK(AsText(*ShiftRevisions(AsBytes(request), 6, 1).value()) == std::string("\x3a\x02\x08\x08"));
  CHECK_FALSE(ShiftRevisions(AsBytes(request), 7, 1).value());
  CHECK_FALSE(ShiftRevisions({}, 7, 1).value());
}

TEST_CASE("ShiftingSurvivesTruncationAndMutation") {
  std::string compare;
  raftlog::ProtoWriter(compare).add_uint64(6, 200);
  std::string transaction;
  raftlog::ProtoWriter(transaction).add_message(1, compare);
  std::string request;
  raftlog::ProtoWriter(request).add_message(6, transaction);
  const Bytes sample = ToBytes(AsBytes(request));
  std::size_t accepted = 0;
  testing::ForEveryTruncation(sample, [&](ByteView part) {
    if (ShiftRevisions(part, 100, 1)) ++accepted;
  });
  testing::ForRandomMutations(sample, 3, 10000, [&](ByteView damaged) {
    if (ShiftRevisions(damaged, 100, 1)) ++accepted;
  });
  CHECK(accepted > 0);
}

}  // namespace
}  // namespace rescue::etcd
