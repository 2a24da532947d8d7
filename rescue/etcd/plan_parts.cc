#include "rescue/etcd/plan_parts.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "rescue/base/endian.h"
#include "rescue/base/units.h"
#include "rescue/etcd/inspect.h"
#include "rescue/raftlog/proto.h"

namespace rescue::etcd {
namespace {

using bolt::ProblemKind;

Bytes TextBytes(std::string_view text) { return ToBytes(AsBytes(text)); }

bolt::BucketChanges& ChangesOf(bolt::TransactionRequest& request, std::string_view bucket) {
  for (auto& changes : request.buckets) {
    if (changes.bucket == bucket) return changes;
  }
  request.buckets.push_back({std::string(bucket), false, {}});
  return request.buckets.back();
}

// "revisions 120 to 160" for the bucket of keys, else the range as it is.
std::string DescribeRange(const bolt::PageProblem& problem) {
  const bool keys = problem.bucket == "key";
  const auto limit = [&](const Bytes& key, std::string_view open) -> std::string {
    if (key.empty()) return std::string(open);
    const auto revision = keys ? DecodeRevision(key) : std::nullopt;
    return revision ? std::to_string(revision->main) : Printable(key, 40);
  };
  return fmt::format("{} from {} to {}", keys ? "revisions" : "keys",
                     limit(problem.from, "the first"), limit(problem.until, "the last"));
}

std::string DescribeProblem(const bolt::PageProblem& problem) {
  return fmt::format("page {}{}: {}; with it go {}", problem.page,
                     problem.bucket.empty() ? "" : " of bucket " + problem.bucket, problem.reason,
                     DescribeRange(problem));
}

bool IsDamage(const bolt::PageProblem& problem) { return problem.kind != ProblemKind::kFreelist; }

// An AlarmMember message, as the keys of bucket alarm hold it.
Bytes EncodeAlarmKey(const Alarm& alarm) {
  std::string encoded;
  raftlog::ProtoWriter writer(encoded);
  if (alarm.member_id != 0) writer.add_uint64(1, alarm.member_id);
  if (alarm.type != AlarmType::kNone) writer.add_enum(2, static_cast<std::int32_t>(alarm.type));
  return TextBytes(encoded);
}

std::string RevisionKey(std::uint64_t main) {
  std::string key;
  const auto append = [&](std::uint64_t number) {
    const ub64 value(number);
    key.append(reinterpret_cast<const char*>(&value), sizeof(value));
  };
  append(main);
  key += '_';
  append(0);
  return key;
}

// A bump marker that nothing was applied behind: the same wish was fulfilled before.
bool AlreadyBumped(const Findings& findings, const Wishes& wishes) {
  const Backend& backend = *findings.backend;
  return backend.latest_is_marker &&
         (!wishes.mark_compacted || backend.compacted >= backend.latest.main);
}

}  // namespace

tl::unexpected<Error> Unsuitable(Strategy strategy, std::string code, std::string message,
                                 std::string hint) {
  return Fail(ErrorKind::kDataDamaged, std::move(code),
              fmt::format("plan {}: {}", Name(strategy), message), std::move(hint));
}

Status NeedBackend(const Findings& findings, Strategy strategy) {
  if (findings.backend && !findings.backend_error) return {};
  const Error error = findings.backend_error.value_or(Error{});
  return Unsuitable(strategy, error.code, error.message, error.hint);
}

Status NeedUsableTail(const Findings& findings, const Wishes& wishes) {
  const auto& tail = findings.log->tail;
  if (tail.kind != raftlog::TailKind::kTornUnlikeEtcd || wishes.accept_cut_tail) return {};
  return Unsuitable(
      wishes.strategy, "log-tail-unlike-torn",
      fmt::format("{} ends with a damaged record that no power cut explains: {}", tail.path,
                  tail.reason),
      fmt::format("--accept-cut-tail keeps everything up to entry {} and cuts {} bytes, which go "
                  "to the journal",
                  findings.LastIndex(), tail.cut_bytes()));
}

Status AddDamageRepair(const Findings& findings, const Wishes& wishes, Plan& plan,
                       bolt::TransactionRequest& request) {
  if (!findings.check) return {};
  const auto& check = *findings.check;
  bool freelist = false;
  for (const auto& problem : check.problems) {
    request.drop_pages.push_back(problem.drop_page);
    if (!IsDamage(problem)) {
      freelist = true;
      continue;
    }
    ++plan.loss.pages;
    plan.lost.push_back(DescribeProblem(problem));
  }
  // Below a damaged page nothing can be reached and all counts as free: what may still be salvaged
  // from there by hand is not written over.
  if (plan.loss.pages == 0) request.free_runs = check.free_runs;
  std::sort(request.drop_pages.begin(), request.drop_pages.end());
  request.drop_pages.erase(std::unique(request.drop_pages.begin(), request.drop_pages.end()),
                           request.drop_pages.end());
  if (plan.loss.pages > 0 && !wishes.accept_loss) {
    return Unsuitable(
        wishes.strategy, "backend-damaged",
        fmt::format("the backend has {} damaged places; {}", check.problem_count,
                    plan.lost.front()),
        "use another survivor or a backup; --accept-loss goes on without the damaged pages "
        "(inspect lists all of them)");
  }
  if (check.problem_count > check.problems.size()) {
    return Unsuitable(wishes.strategy, "backend-damaged",
                      fmt::format("the backend has {} damaged places, more than can be repaired",
                                  check.problem_count),
                      "restore from a backup, or use another survivor");
  }
  // Any commit leaves the list out, and etcd finds the free pages by itself.
  if (freelist) {
    plan.warnings.emplace_back(
        "the backend's list of free pages is wrong and is dropped; etcd makes a new one");
  }
  return {};
}

Result<std::uint64_t> BumpFor(const Findings& findings, const Wishes& wishes) {
  if (wishes.bump_revision == 0) {
    if (!wishes.mark_compacted) return std::uint64_t{0};
    return Fail(ErrorKind::kUsage, "bad-bump", "mark compacted: there is no bump",
                "give --bump-revision, too");
  }
  // Revisions are signed 64-bit numbers in etcd.
  constexpr std::uint64_t kLargest = (std::uint64_t{1} << 62) - 1;
  const std::uint64_t latest = findings.backend->latest.main;
  if (wishes.bump_revision > kLargest || latest > kLargest - wishes.bump_revision) {
    return Fail(ErrorKind::kUsage, "bad-bump",
                fmt::format("bump the revision by {}: too much", wishes.bump_revision),
                "1000000000 is plenty");
  }
  return AlreadyBumped(findings, wishes) ? std::uint64_t{0} : wishes.bump_revision;
}

void AddBump(const Findings& findings, const Wishes& wishes, std::uint64_t bump, Plan& plan,
             bolt::TransactionRequest& request) {
  const std::uint64_t latest = findings.backend->latest.main;
  plan.revision_before = latest;
  plan.revision_after = latest + bump;
  if (bump == 0) {
    if (wishes.bump_revision == 0) return;
    plan.warnings.push_back(fmt::format(
        "revision {} already is a bump that nothing was written behind: not bumped again", latest));
    return;
  }
  const std::string key = RevisionKey(plan.revision_after);
  ChangesOf(request, "key").keys.push_back({TextBytes(key), Bytes()});
  if (wishes.mark_compacted) {
    ChangesOf(request, "meta").keys.push_back({TextBytes("scheduledCompactRev"), TextBytes(key)});
  }
  plan.kept.push_back(fmt::format(
      "every key with its revisions; new writes start behind revision {} instead of {}{}",
      plan.revision_after, latest,
      wishes.mark_compacted ? ", and what is older counts as compacted, so watchers list again"
                            : ""));
}

void AddAlarmClearing(const Findings& findings, const Wishes& wishes, Plan& plan,
                      bolt::TransactionRequest& request) {
  if (!wishes.clear_alarms || findings.backend->alarms.empty()) return;
  auto& changes = ChangesOf(request, "alarm");
  for (const auto& alarm : findings.backend->alarms) {
    changes.keys.push_back({EncodeAlarmKey(alarm), std::nullopt});
    plan.kept.push_back(fmt::format("service: alarm {} of member {} is cleared",
                                    alarm.type == AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT",
                                    Hex16(alarm.member_id)));
  }
}

void AddMembership(const std::vector<raftlog::Member>& members,
                   const std::vector<std::uint64_t>& removed, bolt::TransactionRequest& request) {
  auto& present = ChangesOf(request, "members");
  present.clear = true;
  for (const auto& member : members) {
    present.keys.push_back({TextBytes(raftlog::FormatMemberId(member.id)),
                            TextBytes(raftlog::WriteMemberJson(member))});
  }
  auto& gone = ChangesOf(request, "members_removed");
  gone.clear = true;
  for (const std::uint64_t id : removed) {
    gone.keys.push_back({TextBytes(raftlog::FormatMemberId(id)), TextBytes("removed")});
  }
}

Result<bolt::CommitPlan> PlanBackend(const FileView& data, const Findings& findings,
                                     bolt::TransactionRequest request, Plan& plan) {
  if (request.buckets.empty() && request.drop_pages.empty()) return bolt::CommitPlan{};
  for (auto& changes : request.buckets) {
    std::sort(changes.keys.begin(), changes.keys.end(),
              [](const auto& a, const auto& b) { return AsText(a.key) < AsText(b.key); });
  }
  std::sort(request.buckets.begin(), request.buckets.end(),
            [](const auto& a, const auto& b) { return a.bucket < b.bucket; });
  ASSIGN_OR_RETURN(const auto file, data.Open(findings.backend_path));
  auto commit = bolt::PlanCommit(*file, findings.backend_path, request);
  if (!commit) return Fail(std::move(commit.error().Within("plan the backend's transaction")));
  plan.backend_pages = commit->edits.size();
  return commit;
}

raftlog::SnapshotMark MarkFor(const NewSnapshot& snapshot, const Findings& findings) {
  raftlog::SnapshotMark mark;
  mark.index = snapshot.metadata.index;
  mark.term = snapshot.metadata.term;
  // 3.4 knows no configuration in the record (and no term in the backend).
  const bool since_35 = findings.MinorVersion() >= 3005 || findings.backend->term != 0 ||
                        findings.backend->conf_state.has_value();
  if (since_35) mark.conf_state = snapshot.metadata.conf_state;
  return mark;
}

Result<Attributes> AttributesLike(const FileView& data, const std::vector<std::string>& same_kind,
                                  const std::string& neighbour, std::uint32_t etcd_mode) {
  for (const auto& path : same_kind) {
    const auto status = data.Stat(path);
    if (status) return status->attributes;
    if (!IsNotFound(status.error())) return Fail(status.error());
  }
  const auto status = data.Stat(neighbour);
  if (!status && !IsNotFound(status.error())) return Fail(status.error());
  Attributes attributes = status ? status->attributes : Attributes{};
  attributes.mode = etcd_mode;
  return attributes;
}

void ExplainState(const Findings& findings, const Wishes& wishes, Plan& plan) {
  const Backend& backend = *findings.backend;
  if (!backend.meta_problem.empty()) {
    plan.warnings.push_back("the backend's older state is used: " + backend.meta_problem);
  }
  for (const auto& alarm : backend.alarms) {
    if (wishes.clear_alarms) break;
    plan.warnings.push_back(fmt::format(
        "alarm {} of member {} stays set and blocks {}: --clear-alarms clears it, or after the "
        "start "
        "`etcdctl alarm disarm`",
        alarm.type == AlarmType::kNoSpace ? "NOSPACE" : "CORRUPT", Hex16(alarm.member_id),
        alarm.type == AlarmType::kNoSpace ? "every write" : "every request"));
  }
  if (!backend.downgrade.empty()) {
    plan.warnings.push_back(fmt::format(
        "a downgrade to {} is in progress: finish it, or run `etcdctl downgrade cancel` "
        "after the start",
        backend.downgrade));
  }
  for (const auto& url : plan.survivor.peer_urls) {
    if (url.find("localhost") == std::string::npos) continue;
    plan.warnings.push_back(fmt::format(
        "peer URL {} reaches only this machine: members elsewhere cannot join (--peer-url)", url));
  }
}

void ExplainNextSteps(Plan& plan) {
  plan.next_steps.emplace_back(
      "start etcd on this node with its old flags; do not use --force-new-cluster");
  if (plan.strategy == Strategy::kRestore && plan.former_cluster_id != plan.cluster_id) {
    plan.next_steps.push_back(fmt::format(
        "former members belong to cluster {} and are answered \"cluster ID mismatch\": wipe them, "
        "then add them as new members",
        Hex16(plan.former_cluster_id)));
  } else {
    for (const auto& member : plan.removed) {
      plan.next_steps.push_back(fmt::format(
          "never start member {}{} with its old data again: wipe it, then add it as a new member",
          Hex16(member.id), member.name.empty() ? "" : " (" + member.name + ")"));
    }
  }
  plan.next_steps.emplace_back(
      "etcdctl member list; then, one at a time: etcdctl member add NAME --peer-urls=URL and start "
      "that member with --initial-cluster-state=existing");
  if (plan.revision_after < plan.revision_before || plan.loss.revisions > 0 ||
      plan.loss.pages > 0 || plan.revision_after > plan.revision_before) {
    plan.next_steps.emplace_back(
        "restart the API servers, controllers and kubelets: they may remember objects as they "
        "were");
  }
}

Status NeedAcceptedLoss(const Wishes& wishes, const Plan& plan) {
  const bool certain =
      plan.loss.entries > plan.loss.chosen || plan.loss.pages > 0 || plan.loss.v2_keys;
  if (!certain || wishes.accept_loss) return {};
  return Unsuitable(plan.strategy, "loss-not-accepted",
                    fmt::format("it would lose {}", fmt::join(plan.lost, "; ")),
                    "look for a better survivor first (compare); --accept-loss goes on");
}

}  // namespace rescue::etcd
