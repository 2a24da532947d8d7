#include "rescue/etcd/json.h"

#include "rescue/base/units.h"
#include "rescue/etcd/diagnosis.h"

namespace rescue::etcd {
namespace {

using nlohmann::json;

json Ids(const auto& ids) {
  json list = json::array();
  for (const std::uint64_t id : ids) list.push_back(Hex16(id));
  return list;
}

json ToJson(const raftlog::ConfState& state) {
  return {{"voters", Ids(state.voters)}, {"learners", Ids(state.learners)}};
}

json Members(const auto& members) {
  json list = json::array();
  for (const auto& member : members) list.push_back(rescue::etcd::ToJson(member));
  return list;
}

json ErrorJson(const Error& error) {
  return {{"code", error.code}, {"message", error.message}, {"hint", error.hint}};
}

json BackendJson(const Backend& backend) {
  json alarms = json::array();
  for (const auto& alarm : backend.alarms) {
    alarms.push_back({{"member", Hex16(alarm.member_id)}, {"type", Name(alarm.type)}});
  }
  json document = {
      {"size", backend.file_size},
      {"page_size", backend.meta.page_size},
      {"transaction", backend.meta.transaction_id},
      {"consistent_index", backend.consistent_index},
      {"term", backend.term},
      {"revision", backend.latest.main},
      {"compact_revision", backend.compacted},
      {"cluster_version", backend.cluster_version},
      {"storage_version", backend.storage_version},
      {"downgrade", backend.downgrade},
      {"members", Members(backend.members)},
      {"removed", Ids(backend.removed)},
      {"alarms", alarms},
      {"auth_enabled", backend.auth_enabled},
      {"leases", backend.leases},
      {"meta_problem", backend.meta_problem},
      {"problems", backend.problems},
  };
  if (backend.conf_state) document["conf_state"] = ToJson(*backend.conf_state);
  return document;
}

json CheckJson(const bolt::CheckReport& check) {
  json problems = json::array();
  for (const auto& problem : check.problems) {
    problems.push_back(
        {{"page", problem.page}, {"bucket", problem.bucket}, {"reason", problem.reason}});
  }
  json buckets = json::array();
  for (const auto& bucket : check.buckets) {
    buckets.push_back({{"name", bucket.name}, {"keys", bucket.keys}});
  }
  return {{"pages", check.pages},
          {"reachable", check.reachable},
          {"free", check.free},
          {"problem_count", check.problem_count},
          {"problems", std::move(problems)},
          {"buckets", std::move(buckets)}};
}

json LogJson(const Findings& findings) {
  const raftlog::Log& log = *findings.log;
  json segments = json::array();
  for (const auto& segment : log.segments) {
    segments.push_back({{"path", segment.path}, {"size", segment.size}, {"used", segment.used}});
  }
  json marks = json::array();
  for (const auto& mark : log.marks) marks.push_back({{"index", mark.index}, {"term", mark.term}});
  json changes = json::array();
  for (const auto& at : findings.conf_changes) {
    json change = {{"index", at.index}, {"term", at.term}};
    if (at.change) {
      static constexpr const char* kTypes[] = {"add", "remove", "update", "add-learner"};
      change["type"] = kTypes[static_cast<int>(at.change->type) & 3];
      change["member"] = Hex16(at.change->node_id);
    } else {
      change["type"] = "undecodable";
    }
    changes.push_back(std::move(change));
  }
  json requests = json::object();
  for (const auto& [kind, count] : findings.tail.requests)
    requests[std::string(Name(kind))] = count;
  json document = {
      {"member_id", Hex16(log.metadata.node_id)},
      {"cluster_id", Hex16(log.metadata.cluster_id)},
      {"first_index", log.entries.empty() ? 0 : log.entries.front().index},
      {"last_index", log.last_index()},
      {"last_term", log.last_term()},
      {"segments", std::move(segments)},
      {"snapshots", std::move(marks)},
      {"configuration_changes", std::move(changes)},
      {"only_in_log",
       {{"entries", findings.tail.entries},
        {"above_commit", findings.tail.above_commit},
        {"may_write", findings.tail.may_write},
        {"requests", std::move(requests)},
        {"undecodable", findings.tail.undecodable}}},
      {"tail",
       {{"state", Name(log.tail.kind)},
        {"path", log.tail.path},
        {"offset", log.tail.offset},
        {"cut_bytes", log.tail.cut_bytes()},
        {"reason", log.tail.reason}}},
  };
  if (log.hard_state) {
    document["hard_state"] = {{"term", log.hard_state->term},
                              {"vote", Hex16(log.hard_state->vote)},
                              {"commit", log.hard_state->commit}};
  }
  return document;
}

json SnapJson(const raftlog::SnapFile& snap) {
  json members = json::array();
  for (const auto& [id, member] : snap.store.members)
    members.push_back(rescue::etcd::ToJson(member));
  return {{"name", raftlog::FormatSnapName(snap.name)},
          {"index", snap.metadata.index},
          {"term", snap.metadata.term},
          {"conf_state", ToJson(snap.metadata.conf_state)},
          {"members", std::move(members)},
          {"removed", Ids(snap.store.removed)},
          {"cluster_version", snap.store.cluster_version}};
}

}  // namespace

std::string_view Name(AlarmType type) {
  switch (type) {
    case AlarmType::kNone:
      return "none";
    case AlarmType::kNoSpace:
      return "nospace";
    case AlarmType::kCorrupt:
      return "corrupt";
  }
  return "unknown";
}

std::string_view Name(RequestKind kind) {
  switch (kind) {
    case RequestKind::kEmpty:
      return "empty";
    case RequestKind::kPut:
      return "put";
    case RequestKind::kDeleteRange:
      return "delete";
    case RequestKind::kTransaction:
      return "transaction";
    case RequestKind::kCompaction:
      return "compaction";
    case RequestKind::kLeaseGrant:
      return "lease-grant";
    case RequestKind::kLeaseRevoke:
      return "lease-revoke";
    case RequestKind::kLeaseCheckpoint:
      return "lease-checkpoint";
    case RequestKind::kAlarm:
      return "alarm";
    case RequestKind::kAuth:
      return "auth";
    case RequestKind::kMembership:
      return "membership";
    case RequestKind::kOther:
      return "other";
  }
  return "other";
}

std::string_view Name(raftlog::TailKind kind) {
  switch (kind) {
    case raftlog::TailKind::kClean:
      return "clean";
    case raftlog::TailKind::kTorn:
      return "torn";
    case raftlog::TailKind::kTornUnlikeEtcd:
      return "torn-unlike-etcd";
    case raftlog::TailKind::kDamaged:
      return "damaged";
  }
  return "unknown";
}

json ToJson(const raftlog::Member& member) {
  return {{"id", Hex16(member.id)},
          {"name", member.name},
          {"peer_urls", member.peer_urls},
          {"client_urls", member.client_urls},
          {"learner", member.is_learner}};
}

json ToJson(const Findings& findings) {
  json document = {{"cluster_version", findings.ClusterVersion()},
                   {"boot_rule", Name(RuleFor(findings))},
                   {"notes", findings.notes}};
  if (findings.backend) document["backend"] = BackendJson(*findings.backend);
  if (findings.backend_error) document["backend_error"] = ErrorJson(*findings.backend_error);
  if (findings.check) document["backend_check"] = CheckJson(*findings.check);
  if (findings.log) document["log"] = LogJson(findings);
  if (findings.log_error) document["log_error"] = ErrorJson(*findings.log_error);
  json snaps = json::array();
  for (const auto& snap : findings.snaps) snaps.push_back(SnapJson(snap));
  document["snapshots"] = std::move(snaps);
  document["backend_path"] = findings.backend_path;
  json diagnoses = json::array();
  for (const auto& diagnosis : Diagnose(findings)) {
    diagnoses.push_back({{"code", diagnosis.code},
                         {"severity", Name(diagnosis.severity)},
                         {"text", diagnosis.text}});
  }
  document["diagnoses"] = std::move(diagnoses);
  return document;
}

json ToJson(const Loss& loss) {
  return {{"entries", loss.entries}, {"chosen_entries", loss.chosen}, {"revisions", loss.revisions},
          {"pages", loss.pages},     {"v2_keys", loss.v2_keys},       {"unknown", loss.unknown},
          {"text", Describe(loss)}};
}

json ToJson(const Advice& advice) {
  json alternatives = json::array();
  for (const auto& way : advice.alternatives) {
    json alternative = {
        {"flags", way.flags},
        {"strategy", Name(way.wishes.strategy)},
        {"keeps_ids", way.wishes.strategy == Strategy::kForceNewCluster || way.wishes.keep_ids},
        {"possible", way.possible()},
        {"needs_acceptance", way.needs_acceptance},
        {"loss", ToJson(way.loss)},
        {"lost", way.lost}};
    if (way.error) alternative["error"] = ErrorJson(*way.error);
    alternatives.push_back(std::move(alternative));
  }
  json document = {{"alternatives", std::move(alternatives)}, {"reasons", advice.reasons}};
  document["recommended"] =
      advice.recommended ? json(advice.alternatives[*advice.recommended].flags) : json();
  return document;
}

json ToJson(const Plan& plan) {
  json edits = json::array();
  std::uint64_t bytes = 0;
  for (const auto& edit : plan.edits) {
    edits.push_back(edit::Describe(edit));
    bytes += edit::BytesWritten(edit);
  }
  return {{"strategy", Name(plan.strategy)},
          {"nothing_to_do", plan.nothing_to_do()},
          {"fingerprint", plan.fingerprint},
          {"cluster_id", Hex16(plan.cluster_id)},
          {"survivor", ToJson(plan.survivor)},
          {"former_cluster_id", Hex16(plan.former_cluster_id)},
          {"former_member_id", Hex16(plan.former_member_id)},
          {"token", plan.token},
          {"promotes_survivor", plan.promotes_survivor},
          {"removed_members", Members(plan.removed)},
          {"commit_before", plan.commit_before},
          {"commit_after", plan.commit_after},
          {"appended_entries", plan.appended_entries},
          {"only_in_log_kept", plan.tail_entries},
          {"carried_entries", plan.carried_entries},
          {"revision_before", plan.revision_before},
          {"revision_after", plan.revision_after},
          {"backend_pages", plan.backend_pages},
          {"loss", ToJson(plan.loss)},
          {"cut_bytes", plan.cut_bytes},
          {"edits", std::move(edits)},
          {"bytes_to_write", bytes},
          {"kept", plan.kept},
          {"lost", plan.lost},
          {"warnings", plan.warnings},
          {"next_steps", plan.next_steps}};
}

json ToJson(const BootVerdict& verdict) {
  json members = json::array();
  for (const auto& [id, member] : verdict.state.store.members) members.push_back(ToJson(member));
  return {{"leads_alone", verdict.leads_alone},
          {"rule", Name(verdict.state.rule)},
          {"code", verdict.code},
          {"reason", verdict.reason},
          {"voters", Ids(verdict.state.voters)},
          {"learners", Ids(verdict.state.learners)},
          {"members", std::move(members)},
          {"snapshot_index", verdict.state.snapshot_index},
          {"replayed_to", verdict.state.replayed_to},
          {"ignored_changes", verdict.state.ignored}};
}

}  // namespace rescue::etcd
