#include "rescue/etcd/requests.h"

#include <fmt/format.h>

#include <protozero/pbf_reader.hpp>

#include "rescue/raftlog/member.h"

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

protozero::pbf_reader Reader(ByteView data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}

AlarmRequest DecodeAlarm(protozero::pbf_reader message) {
  AlarmRequest request;
  while (message.next()) {
    switch (message.tag()) {
      case 1: {
        const auto action = message.get_enum();
        request.activate = action == 1;
        request.deactivate = action == 2;
        break;
      }
      case 2:
        request.alarm.member_id = message.get_uint64();
        break;
      case 3: {
        const auto type = message.get_enum();
        request.alarm.type = type == 1   ? AlarmType::kNoSpace
                             : type == 2 ? AlarmType::kCorrupt
                                         : AlarmType::kNone;
        break;
      }
      default:
        message.skip();
    }
  }
  return request;
}

PublishedAttributes DecodeMemberAttributes(protozero::pbf_reader message) {
  PublishedAttributes published;
  while (message.next()) {
    if (message.tag() == 1) {
      published.member_id = message.get_uint64();
    } else if (message.tag() == 2) {
      auto attributes = message.get_message();
      while (attributes.next()) {
        if (attributes.tag() == 1) {
          published.name = attributes.get_string();
        } else if (attributes.tag() == 2) {
          published.client_urls.push_back(attributes.get_string());
        } else {
          attributes.skip();
        }
      }
    } else {
      message.skip();
    }
  }
  return published;
}

// A v2 store request: 3.4 and 3.5 publish a member's attributes and the cluster version this way.
void DecodeV2(protozero::pbf_reader message, Request& request) {
  std::string method;
  std::string path;
  std::string value;
  while (message.next()) {
    switch (message.tag()) {
      case 2:
        method = message.get_string();
        break;
      case 3:
        path = message.get_string();
        break;
      case 4:
        value = message.get_string();
        break;
      default:
        message.skip();
    }
  }
  request.kind = RequestKind::kOther;
  if (method != "PUT") return;
  if (path == "/0/version") {
    request.kind = RequestKind::kMembership;
    request.cluster_version = value;
    return;
  }
  constexpr std::string_view kMembers = "/0/members/";
  constexpr std::string_view kAttributes = "/attributes";
  if (!path.starts_with(kMembers) || !path.ends_with(kAttributes)) return;
  const std::string_view id = std::string_view(path).substr(
      kMembers.size(), path.size() - kMembers.size() - kAttributes.size());
  const auto parsed_id = raftlog::ParseMemberId(id);
  if (!parsed_id) return;
  const auto attributes = raftlog::ParseMemberAttributes(value);
  if (!attributes) return;
  request.kind = RequestKind::kMembership;
  request.published = PublishedAttributes{*parsed_id, attributes->name, attributes->client_urls};
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
    default:
      return tag >= kAuthFirst && tag <= kAuthLast ? RequestKind::kAuth : RequestKind::kOther;
  }
}

Request DecodeInternal(ByteView data) {
  Request request;
  auto message = Reader(data);
  while (message.next()) {
    const std::uint32_t tag = message.tag();
    switch (tag) {
      case kV2:
        DecodeV2(message.get_message(), request);
        break;
      case kAlarm:
        request.kind = RequestKind::kAlarm;
        request.alarm = DecodeAlarm(message.get_message());
        break;
      case kClusterMemberAttrSet:
        request.kind = RequestKind::kMembership;
        request.published = DecodeMemberAttributes(message.get_message());
        break;
      case kClusterVersionSet: {
        request.kind = RequestKind::kMembership;
        auto version = message.get_message();
        while (version.next()) {
          if (version.tag() == 1) {
            request.cluster_version = version.get_string();
          } else {
            version.skip();
          }
        }
        break;
      }
      case kDowngradeInfoSet:
        request.kind = RequestKind::kMembership;
        message.skip();
        break;
      case 1:
      case kHeader:
        message.skip();
        break;
      default:
        request.kind = KindOf(tag);
        message.skip();
    }
  }
  return request;
}

}  // namespace

Result<Request> DecodeRequest(ByteView data) {
  if (data.empty()) return Request{RequestKind::kEmpty, {}, {}, {}};
  try {
    return DecodeInternal(data);
  } catch (const protozero::exception&) {
    // Before InternalRaftRequest, entries held a bare v2 Request (server.go, applyEntryNormal).
  }
  try {
    Request request;
    DecodeV2(Reader(data), request);
    return request;
  } catch (const protozero::exception& e) {
    return Fail(ErrorKind::kDataDamaged, "bad-request",
                fmt::format("decode a log entry: {}", e.what()));
  }
}

}  // namespace rescue::etcd
