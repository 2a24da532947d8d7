// etcd's member as JSON: in configuration changes (context), in the v2 store, in the backend's
// `members` bucket. etcd: server/etcdserver/api/membership/member.go and cluster.go.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"

namespace rescue::raftlog {

struct Member {
  std::uint64_t id = 0;
  std::string name;  // empty: added, but never started
  std::vector<std::string> peer_urls;
  std::vector<std::string> client_urls;
  bool is_learner = false;
  bool operator==(const Member&) const = default;
};

// A configuration change's context: the member and, since 3.4, whether a learner is promoted (the
// other fields of the member are then not to be taken over).
struct MemberContext {
  Member member;
  bool is_promote = false;
  bool operator==(const MemberContext&) const = default;
};

// raftAttributes and attributes of the v2 store; also the halves of Member's JSON.
struct RaftAttributes {
  std::vector<std::string> peer_urls;
  bool is_learner = false;
  bool operator==(const RaftAttributes&) const = default;
};
struct MemberAttributes {
  std::string name;
  std::vector<std::string> client_urls;
  bool operator==(const MemberAttributes&) const = default;
};

// Fail with "member-json-malformed" (kDataDamaged). Unknown keys are skipped, `null` lists are
// empty, identifiers are unsigned 64-bit and exact; at most 1 MiB, 1024 URLs and 16 levels.
Result<Member> ParseMemberJson(std::string_view json);
Result<MemberContext> ParseMemberContext(std::string_view json);
Result<RaftAttributes> ParseRaftAttributes(std::string_view json);
Result<MemberAttributes> ParseMemberAttributes(std::string_view json);

// The bytes that Go's encoding/json gives: keys in the order of the Go struct, empty optional ones
// left out, no spaces, '<', '>', '&' and U+2028/9 escaped, an empty URL list as null.
// Member: id, peerURLs, isLearner, name, clientURLs (bootstrap entries, `members` bucket).
std::string WriteMemberJson(const Member& member);
// The same followed by isPromote (what `member add`, `update` and `promote` write).
std::string WriteMemberContext(const Member& member, bool is_promote);
std::string WriteRaftAttributes(const RaftAttributes& attributes);
std::string WriteMemberAttributes(const MemberAttributes& attributes);

// A member ID in names of the v2 store and of the backend: lower-case hex without leading zeros.
std::string FormatMemberId(std::uint64_t id);
std::optional<std::uint64_t> ParseMemberId(std::string_view text);

}  // namespace rescue::raftlog
