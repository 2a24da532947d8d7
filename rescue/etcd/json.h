// Findings, plans and verdicts as JSON. Member and cluster IDs are 16-digit hexadecimal strings,
// because JSON readers lose digits of 64-bit numbers; indexes, terms and revisions are numbers.
#pragma once

#include <nlohmann/json.hpp>

#include "rescue/etcd/advice.h"
#include "rescue/etcd/plan.h"

namespace rescue::etcd {

nlohmann::json ToJson(const raftlog::Member& member);
nlohmann::json ToJson(const Findings& findings);
nlohmann::json ToJson(const Loss& loss);
nlohmann::json ToJson(const Advice& advice);
nlohmann::json ToJson(const Plan& plan);
nlohmann::json ToJson(const BootVerdict& verdict);

// "nospace", "put", "torn": the words used there and in text.
std::string_view Name(AlarmType type);
std::string_view Name(RequestKind kind);
std::string_view Name(raftlog::TailKind kind);

}  // namespace rescue::etcd
