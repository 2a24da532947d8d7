#include "rescue/etcd/requests.h"

#include <catch2/catch_test_macros.hpp>
#include <protozero/pbf_writer.hpp>

#include "rescue/etcd/backend.h"
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

}  // namespace
}  // namespace rescue::etcd
