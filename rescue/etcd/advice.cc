#include "rescue/etcd/advice.h"

#include <fmt/format.h>

#include <algorithm>

namespace rescue::etcd {
namespace {

struct Candidate {
  Strategy strategy;
  bool keep_ids;
};
constexpr Candidate kCandidates[] = {
    {Strategy::kForceNewCluster, false}, {Strategy::kRestore, true}, {Strategy::kRestore, false}};
constexpr std::size_t kForce = 0;
constexpr std::size_t kKeepIds = 1;
constexpr std::size_t kNewIds = 2;

Wishes WishesFor(const Candidate& candidate, const Wishes& base) {
  Wishes wishes = base;
  wishes.strategy = candidate.strategy;
  wishes.keep_ids = candidate.keep_ids;
  if (candidate.strategy == Strategy::kForceNewCluster) wishes.name.clear();
  if (candidate.strategy == Strategy::kForceNewCluster || candidate.keep_ids) {
    wishes.token.clear();
    wishes.token_is_random = false;
  }
  return wishes;
}

std::string FlagsFor(const Wishes& wishes, const Wishes& base) {
  std::string flags = fmt::format("--strategy {}", Name(wishes.strategy));
  if (wishes.keep_ids) flags += " --keep-ids";
  if (wishes.accept_cut_tail && !base.accept_cut_tail) flags += " --accept-cut-tail";
  if (wishes.accept_loss && !base.accept_loss) flags += " --accept-loss";
  return flags;
}

// Plans; where only the operator's word is missing, plans again as if it were given.
Alternative Try(const FileView& data, const Findings& findings, const Wishes& base,
                const Candidate& candidate) {
  Alternative alternative;
  alternative.wishes = WishesFor(candidate, base);
  Wishes& wishes = alternative.wishes;
  auto plan = MakePlan(data, findings, wishes);
  for (int round = 0; round < 2 && !plan; ++round) {
    const std::string& code = plan.error().code;
    if (code == "log-tail-unlike-torn" && !wishes.accept_cut_tail) {
      wishes.accept_cut_tail = true;
    } else if ((code == "loss-not-accepted" || code == "backend-damaged") && !wishes.accept_loss) {
      wishes.accept_loss = true;
    } else {
      break;
    }
    alternative.needs_acceptance = true;
    plan = MakePlan(data, findings, wishes);
  }
  alternative.flags = FlagsFor(wishes, base);
  if (plan) {
    alternative.loss = plan->loss;
    alternative.lost = plan->lost;
  } else {
    alternative.error = plan.error();
  }
  return alternative;
}

// Whoever loses its log keeps its IDs; whoever must not come back under its ID gets new ones.
bool NeedsNewIds(const std::string& code) {
  return code == "survivor-removed" || code == "survivor-unknown" || code == "log-foreign" ||
         code == "log-missing" || code == "log-metadata-missing";
}

std::optional<std::size_t> Choose(const std::vector<Alternative>& alternatives) {
  const auto& force = alternatives[kForce];
  if (force.possible()) return kForce;
  const bool new_ids = NeedsNewIds(force.error->code);
  for (const std::size_t choice : {new_ids ? kNewIds : kKeepIds, new_ids ? kKeepIds : kNewIds}) {
    if (alternatives[choice].possible()) return choice;
  }
  return std::nullopt;
}

void Explain(const Findings& findings, Advice& advice) {
  const auto& force = advice.alternatives[kForce];
  auto& reasons = advice.reasons;
  if (!advice.recommended) {
    const auto& restore = advice.alternatives[kNewIds];
    if (restore.error->kind == ErrorKind::kUsage) {
      reasons.push_back("strategy restore may work, but " + restore.error->message);
      reasons.push_back(restore.error->hint);
      return;
    }
    reasons.push_back(fmt::format("no strategy works here: {}", force.error->message));
    reasons.emplace_back("use another survivor, or restore from a backup");
    return;
  }
  if (*advice.recommended == kForce) {
    reasons.push_back(force.needs_acceptance
                          ? "it keeps the IDs, and loses no more than any other strategy"
                          : "log and backend fit together: it keeps the IDs and every entry");
  } else {
    reasons.push_back("force-new-cluster cannot be used: " + force.error->message);
    reasons.push_back(*advice.recommended == kKeepIds
                          ? "a new log behind the backend, under the old IDs, is the way on"
                          : "a new cluster from its backend is the way on");
  }
  if (findings.tail.entries > 0) {
    reasons.push_back(
        fmt::format("a restore of the bare backend by other tools would lose {} log entries (up to "
                    "{} revisions)",
                    findings.tail.entries, findings.tail.may_write));
  }
}

}  // namespace

std::string Describe(const Loss& loss) {
  std::vector<std::string> parts;
  if (loss.entries > 0) {
    parts.push_back(
        fmt::format("{} log entries (up to {} revisions)", loss.entries, loss.revisions));
  }
  if (loss.pages > 0) parts.push_back(fmt::format("{} damaged pages", loss.pages));
  if (loss.v2_keys) parts.emplace_back("keys of the v2 API");
  if (loss.unknown) parts.emplace_back("what the log alone held, which cannot be counted");
  if (parts.empty()) return "nothing that reached this disk";
  std::string text = parts.front();
  for (std::size_t i = 1; i < parts.size(); ++i) text += ", " + parts[i];
  return text;
}

Result<Advice> Advise(const FileView& data, const Findings& findings, const Wishes& base) {
  Advice advice;
  for (const auto& candidate : kCandidates) {
    advice.alternatives.push_back(Try(data, findings, base, candidate));
  }
  advice.recommended = Choose(advice.alternatives);
  Explain(findings, advice);
  return advice;
}

}  // namespace rescue::etcd
