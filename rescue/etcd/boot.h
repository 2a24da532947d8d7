// The boot simulator: what a real etcd would make of a data directory when it starts, as far as
// membership and log are concerned. Pure: it works on findings only.
//
// Sources: server.go NewServer and raft.go restartNode (3.4, 3.5), bootstrap.go (3.6, 3.7),
// membership/cluster.go ValidateConfigurationChange, raft/confchange.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "rescue/etcd/findings.h"

namespace rescue::etcd {

// How a version finds its members when it starts with a log.
enum class BootRule {
  kStoreV2,    // 3.4, 3.5: .snap (v2 store and ConfState), then every configuration change after it
  kBackend36,  // 3.6: members from the backend, ConfState and v2 store from .snap
  kBackend37,  // 3.7: members and ConfState from the backend; .snap files are not read
};

std::string_view Name(BootRule rule);
// The rule of the version that wrote the directory, and that of the next one where it differs.
BootRule RuleFor(const Findings& findings);
std::vector<BootRule> RulesToCheck(const Findings& findings);

// A member list as a server keeps it.
struct MemberStore {
  std::map<std::uint64_t, raftlog::Member> members;
  std::set<std::uint64_t> removed;
};

struct BootState {
  BootRule rule = BootRule::kStoreV2;
  std::uint64_t snapshot_index = 0;
  std::uint64_t snapshot_term = 0;
  std::uint64_t replayed_to = 0;
  std::set<std::uint64_t> voters;
  std::set<std::uint64_t> learners;
  MemberStore store;                 // the one that this rule trusts
  MemberStore backend_store;         // bucket members after the replay
  std::vector<std::string> ignored;  // changes that etcd would reject, as "entry 12: reason"
};

// Starts from the snapshot that this rule chooses and replays configuration changes up to and
// including entry `up_to`. Errors (kDataDamaged) are reasons why no etcd could start from here:
// "log-missing", "log-damaged", "log-tail-unlike-torn", "log-hole", "log-ends-before-commit",
// "log-ends-before-backend", "snapshot-missing", "snapshot-ahead-of-backend",
// "bad-configuration-change", "removed-all-voters", "publish-unknown-member".
Result<BootState> Replay(const Findings& findings, BootRule rule, std::uint64_t up_to);

struct BootVerdict {
  BootState state;
  std::uint64_t self = 0;
  bool leads_alone = false;  // single voter, single member, not removed: it will elect itself
  // Why not, as in Error::code; empty when leads_alone. Besides those of Replay:
  // "survivor-removed", "survivor-not-a-voter", "other-voters", "learners-left",
  // "membership-disagrees", "log-tail-unlike-torn", "joiner-incomplete" (it would start, but lose
  // data on the next member).
  std::string code;
  std::string reason;  // one line
};

// Replays up to the commit index on disk, as etcd does, and judges the outcome.
BootVerdict SimulateBoot(const Findings& findings, BootRule rule);

}  // namespace rescue::etcd
