// What the findings mean, one named statement each: what an operator reads first, and what tests
// hold on to.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rescue/etcd/findings.h"

namespace rescue::etcd {

enum class Severity {
  kNote,     // good to know
  kWarning,  // will need attention, stops nothing
  kDamage,   // something is lost or cannot be used
};
std::string_view Name(Severity severity);

struct Diagnosis {
  std::string code;  // stable, see diagnosis.cc for all of them
  Severity severity = Severity::kNote;
  std::string text;  // one line
  bool operator==(const Diagnosis&) const = default;
};

// Damage first, then warnings, then notes; within each in the order backend, log, membership,
// state. Empty for a healthy survivor with nothing special about it.
std::vector<Diagnosis> Diagnose(const Findings& findings);

// Where the places that name members disagree: one line each, empty when all say the same. Places:
// the raft configuration and the v2 store in the newest usable .snap, the log, bucket members.
std::vector<std::string> MembershipDifferences(const Findings& findings);

}  // namespace rescue::etcd
