#include "rescue/etcd/requests.h"

#include "rescue/raftlog/member.h"
#include "rescue/raftlog/proto.h"

namespace rescue::etcd {
namespace {

// Field numbers of InternalRaftRequest (raft_internal.proto).
enum Field : std::uint32_t {
  kV2 = 2,
  kRange = 3,
  kPut = 4,
  kDeleteRange = 5,
  kTxn = 6,
  kCompaction = 7,
  kLeaseGrant = 8,
  kLeaseRevoke = 9,
  kAlarm = 10,
  kLeaseCheckpoint = 11,
  kHeader = 100,
  kAuthFirst = 1000,
  kAuthLast = 1299,
  kClusterVersionSet = 1300,
  kClusterMemberAttrSet = 1301,
  kDowngradeInfoSet = 1302,
};

using raftlog::ProtoReader;
using raftlog::ReadFields;
using raftlog::TakeBytes;
using raftlog::TakeEnum;
using raftlog::TakeUint64;

constexpr std::string_view kMessage = "log entry's request";

bool TakeText(ProtoReader& field, std::string& into) {
  ByteView bytes;
  if (!TakeBytes(field, bytes)) return false;
  into = AsText(bytes);
  return true;
}

bool Skip(ProtoReader& field) {
  field.skip();
  return true;
}

Result<AlarmRequest> DecodeAlarm(ByteView message) {
  AlarmRequest request;
  RETURN_IF_ERROR(ReadFields(message, kMessage, [&](ProtoReader& field) {
    if (field.tag() == 1) {
      std::uint64_t action = 0;
      if (!TakeUint64(field, action)) return false;
      request.activate = action == 1;
      request.deactivate = action == 2;
      return true;
    }
    if (field.tag() == 2) return TakeUint64(field, request.alarm.member_id);
    if (field.tag() == 3) return TakeEnum(field, AlarmType::kCorrupt, request.alarm.type);
    return Skip(field);
  }));
  return request;
}

Result<PublishedAttributes> DecodeMemberAttributes(ByteView message) {
  PublishedAttributes published;
  ByteView attributes;
  RETURN_IF_ERROR(ReadFields(message, kMessage, [&](ProtoReader& field) {
    if (field.tag() == 1) return TakeUint64(field, published.member_id);
    if (field.tag() == 2) return TakeBytes(field, attributes);
    return Skip(field);
  }));
  RETURN_IF_ERROR(ReadFields(attributes, kMessage, [&](ProtoReader& field) {
    if (field.tag() == 1) return TakeText(field, published.name);
    if (field.tag() == 2) return TakeText(field, published.client_urls.emplace_back());
    return Skip(field);
  }));
  return published;
}

// A v2 store request: 3.4 and 3.5 publish a member's attributes and the cluster version this way.
Status DecodeV2(ByteView message, Request& request) {
  std::string method;
  std::string path;
  std::string value;
  RETURN_IF_ERROR(ReadFields(message, kMessage, [&](ProtoReader& field) {
    if (field.tag() == 2) return TakeText(field, method);
    if (field.tag() == 3) return TakeText(field, path);
    if (field.tag() == 4) return TakeText(field, value);
    return Skip(field);
  }));
  request.kind = RequestKind::kOther;
  request.v2_key = path == "/1" || path.starts_with("/1/");
  if (method != "PUT") return {};
  if (path == "/0/version") {
    request.kind = RequestKind::kMembership;
    request.cluster_version = value;
    return {};
  }
  constexpr std::string_view kMembers = "/0/members/";
  constexpr std::string_view kAttributes = "/attributes";
  if (path.size() < kMembers.size() + kAttributes.size() || !path.starts_with(kMembers) ||
      !path.ends_with(kAttributes)) {
    return {};
  }
  const auto id = raftlog::ParseMemberId(std::string_view(path).substr(
      kMembers.size(), path.size() - kMembers.size() - kAttributes.size()));
  const auto attributes = raftlog::ParseMemberAttributes(value);
  if (!id || !attributes) return {};
  request.kind = RequestKind::kMembership;
  request.published = PublishedAttributes{*id, attributes->name, attributes->client_urls};
  return {};
}

Status DecodeClusterVersion(ByteView message, Request& request) {
  request.kind = RequestKind::kMembership;
  return ReadFields(message, kMessage, [&](ProtoReader& field) {
    return field.tag() == 1 ? TakeText(field, request.cluster_version) : Skip(field);
  });
}

RequestKind KindOf(std::uint32_t tag) {
  switch (tag) {
    case kPut:
      return RequestKind::kPut;
    case kDeleteRange:
      return RequestKind::kDeleteRange;
    case kTxn:
      return RequestKind::kTransaction;
    case kCompaction:
      return RequestKind::kCompaction;
    case kLeaseGrant:
      return RequestKind::kLeaseGrant;
    case kLeaseRevoke:
      return RequestKind::kLeaseRevoke;
    case kLeaseCheckpoint:
      return RequestKind::kLeaseCheckpoint;
    case kAlarm:
      return RequestKind::kAlarm;
    case kClusterVersionSet:
    case kClusterMemberAttrSet:
    case kDowngradeInfoSet:
      return RequestKind::kMembership;
    default:
      return tag >= kAuthFirst && tag <= kAuthLast ? RequestKind::kAuth : RequestKind::kOther;
  }
}

Result<Request> DecodeInternal(ByteView data) {
  Request request;
  Status inner;
  RETURN_IF_ERROR(ReadFields(data, kMessage, [&](ProtoReader& field) {
    const std::uint32_t tag = field.tag();
    if (tag == 1 || tag == kHeader) return Skip(field);
    ByteView message;
    if (!TakeBytes(field, message)) return false;
    request.kind = KindOf(tag);
    if (tag == kV2) {
      inner = DecodeV2(message, request);
    } else if (tag == kAlarm) {
      auto alarm = DecodeAlarm(message);
      if (!alarm) return false;
      request.alarm = *alarm;
    } else if (tag == kClusterMemberAttrSet) {
      auto published = DecodeMemberAttributes(message);
      if (!published) return false;
      request.published = *std::move(published);
    } else if (tag == kClusterVersionSet) {
      inner = DecodeClusterVersion(message, request);
    }
    return inner.has_value();
  }));
  // A request asks for one thing. In damaged bytes with several fields the last one counts, and
  // what the others said must not be taken for what this one does.
  if (request.kind != RequestKind::kAlarm) request.alarm.reset();
  if (request.kind != RequestKind::kMembership) {
    request.published.reset();
    request.cluster_version.clear();
  }
  return request;
}

}  // namespace

Result<Request> DecodeRequest(ByteView data) {
  if (data.empty()) return Request{RequestKind::kEmpty, {}, {}, {}, false};
  if (auto request = DecodeInternal(data)) return request;
  // Before InternalRaftRequest, entries held a bare v2 Request (server.go, applyEntryNormal).
  Request request;
  if (DecodeV2(data, request)) return request;
  return Fail(ErrorKind::kDataDamaged, "bad-request",
              "decode a log entry: it is no request that etcd knows");
}

}  // namespace rescue::etcd
