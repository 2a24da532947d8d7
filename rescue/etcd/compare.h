// Which of several survivors of one cluster is ahead, and do they hold the same data? Pure: works
// on summaries, which are made from findings.
//
// The order is raft's own (Raft paper 5.4.1, raft's log.isUpToDate): the higher term of the last
// log entry wins, then the higher index. Whatever was acknowledged is in a prefix that the winner
// of a majority shares; among survivors that are less than a majority the one that is ahead by this
// rule lacks the least. Healthy survivors come before damaged ones, those before removed ones.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "rescue/etcd/findings.h"
#include "rescue/etcd/hash.h"

namespace rescue::etcd {

// Consecutive log entries of one term.
struct TermRun {
  std::uint64_t term = 0;
  std::uint64_t first = 0;  // indexes
  std::uint64_t last = 0;
  bool operator==(const TermRun&) const = default;
};

struct SurvivorSummary {
  std::string label;             // how the operator named it: a directory or a disk
  std::uint64_t cluster_id = 0;  // 0: no log
  std::uint64_t member_id = 0;
  std::string member_name;
  std::string cluster_version;  // "3.5.0"
  std::string server_version;   // "3.5.16", from the node's manifest; empty when not known

  bool has_log = false;
  std::uint64_t term = 0;        // of the last hard state
  std::uint64_t last_term = 0;   // of the last entry; without a log, of what was applied
  std::uint64_t last_index = 0;  // the same
  std::uint64_t commit = 0;      // as far as the disk knows
  std::vector<TermRun> terms;    // of the log's entries, ascending

  bool has_backend = false;
  std::uint64_t consistent_index = 0;
  std::uint64_t revision = 0;
  std::uint64_t compact_revision = 0;
  std::optional<KeySpaceHash> hash;  // at the common revision

  bool learner = false;
  bool removed = false;             // from the cluster, before it broke down
  bool alone = false;               // it is the only member already: it was repaired
  std::vector<std::string> damage;  // one line each; empty: healthy

  bool usable() const { return has_log || has_backend; }
};

SurvivorSummary Summarize(const Findings& findings, std::string label);

// Where all of them can be hashed: the highest revision that every backend has reached, and the
// highest compact revision. Nothing when one was compacted beyond another's end, or when fewer than
// two have a backend.
struct CommonRevision {
  std::uint64_t revision = 0;
  std::uint64_t compact_revision = 0;
};
std::optional<CommonRevision> FindCommonRevision(const std::vector<SurvivorSummary>& survivors);

struct Comparison {
  std::vector<SurvivorSummary> survivors;  // as given
  std::optional<CommonRevision> common;
  std::vector<std::size_t> ranking;        // positions in survivors, best first
  std::optional<std::size_t> recommended;  // position in survivors
  std::vector<std::string> reasons;        // why that one, or why none
  std::vector<std::string> warnings;
  // Data that must be equal and is not: different hashes at the common revision, different
  // committed log entries. Not to be decided by a program.
  std::vector<std::string> divergence;
};

// `survivors` carry their hashes at the common revision where those could be made.
Comparison Compare(std::vector<SurvivorSummary> survivors);

// What a script should see: no error when a survivor is recommended and nothing diverges; else
// "survivors-diverge" (kDataDamaged), "different-clusters" (kRefused) or "no-survivor"
// (kDataDamaged).
Status Judge(const Comparison& comparison);

}  // namespace rescue::etcd
