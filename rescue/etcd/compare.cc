#include "rescue/etcd/compare.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "rescue/base/units.h"

namespace rescue::etcd {
namespace {

// Lower is better.
int Standing(const SurvivorSummary& survivor) {
  if (!survivor.usable()) return 3;
  if (survivor.removed) return 2;
  return survivor.damage.empty() ? 0 : 1;
}

bool LogAhead(const SurvivorSummary& a, const SurvivorSummary& b) {
  return std::tie(a.last_term, a.last_index) > std::tie(b.last_term, b.last_index);
}

bool Better(const SurvivorSummary& a, const SurvivorSummary& b) {
  if (Standing(a) != Standing(b)) return Standing(a) < Standing(b);
  if (LogAhead(a, b) || LogAhead(b, a)) return LogAhead(a, b);
  if (a.learner != b.learner) return b.learner;
  return std::tie(a.commit, a.consistent_index, a.revision) >
         std::tie(b.commit, b.consistent_index, b.revision);
}

std::string LogEnd(const SurvivorSummary& survivor) {
  return fmt::format("term {}, index {}", survivor.last_term, survivor.last_index);
}

// Why `worse` comes after `best`.
std::string WhyAfter(const SurvivorSummary& worse, const SurvivorSummary& best) {
  if (!worse.usable()) return "has neither a readable log nor a readable backend";
  if (worse.removed && !best.removed) {
    return "was removed from the cluster; only a restore with a new member ID could use it";
  }
  if (Standing(worse) > Standing(best)) return "is damaged: " + worse.damage.front();
  if (worse.last_term < best.last_term) {
    return fmt::format("its log ends in an older term ({})", LogEnd(worse));
  }
  if (worse.last_index < best.last_index) {
    return fmt::format("its log ends {} entries earlier ({})", best.last_index - worse.last_index,
                       LogEnd(worse));
  }
  if (worse.learner && !best.learner) return "has the same log, but is a learner";
  if (worse.commit < best.commit) {
    return fmt::format("has the same log, but knows fewer entries to be committed (up to {})",
                       worse.commit);
  }
  if (worse.consistent_index < best.consistent_index) {
    return fmt::format("has the same log, but has applied fewer entries (up to {})",
                       worse.consistent_index);
  }
  return "is as good";
}

void Recommend(Comparison& comparison) {
  const auto& survivors = comparison.survivors;
  std::set<std::uint64_t> clusters;
  for (const auto& survivor : survivors) {
    if (survivor.cluster_id != 0) clusters.insert(survivor.cluster_id);
  }
  if (clusters.size() > 1) {
    std::vector<std::string> names;
    names.reserve(clusters.size());
    for (const std::uint64_t id : clusters) names.push_back(Hex16(id));
    comparison.reasons.push_back(fmt::format(
        "they belong to different clusters ({}): choose by hand which cluster is wanted",
        fmt::join(names, ", ")));
    return;
  }
  const std::size_t first = comparison.ranking.front();
  const SurvivorSummary& best = survivors[first];
  if (!best.usable()) {
    comparison.reasons.emplace_back("none has a readable log or backend");
    return;
  }
  comparison.recommended = first;
  comparison.reasons.push_back(best.has_log
                                   ? fmt::format("{}: its log ends at {}", best.label, LogEnd(best))
                                   : fmt::format("{}: it has no log; its backend ends at index {}",
                                                 best.label, best.consistent_index));
  for (const std::size_t other : comparison.ranking) {
    if (other == first) continue;
    comparison.reasons.push_back(
        fmt::format("{}: {}", survivors[other].label, WhyAfter(survivors[other], best)));
  }
}

void WarnAboutRecommended(Comparison& comparison) {
  if (!comparison.recommended) return;
  const SurvivorSummary& best = comparison.survivors[*comparison.recommended];
  for (const auto& other : comparison.survivors) {
    if (&other == &best || !LogAhead(other, best)) continue;
    comparison.warnings.push_back(fmt::format(
        "{} is not recommended, but its log ends later ({}): what is only there would be lost",
        other.label, LogEnd(other)));
  }
  if (best.removed) {
    comparison.warnings.push_back(fmt::format(
        "{} was removed from the cluster: only strategy restore can use it", best.label));
  } else if (!best.damage.empty()) {
    comparison.warnings.push_back(
        fmt::format("{} is damaged, and no other is better: {}", best.label, best.damage.front()));
  }
  if (best.learner) {
    comparison.warnings.push_back(fmt::format(
        "{} is a learner; a rescue promotes it, and it may lack what voters had acknowledged",
        best.label));
  }
}

// 3.5.0 to 3.5.2 may lose the place up to which a backend was applied (etcd issue 13766).
bool MayHaveDiverged(std::string_view version) {
  return version == "3.5.0" || version == "3.5.1" || version == "3.5.2";
}

void WarnAboutPairs(Comparison& comparison) {
  const auto& survivors = comparison.survivors;
  for (std::size_t i = 0; i < survivors.size(); ++i) {
    const auto& a = survivors[i];
    if (MayHaveDiverged(a.server_version)) {
      comparison.warnings.push_back(
          fmt::format("{} was written by etcd {}, whose members could diverge when they crashed: "
                      "compare the hashes",
                      a.label, a.server_version));
    }
    for (std::size_t j = i + 1; j < survivors.size(); ++j) {
      const auto& b = survivors[j];
      if (a.cluster_id == 0 || a.cluster_id != b.cluster_id) continue;
      if (a.member_id == b.member_id) {
        comparison.warnings.push_back(
            fmt::format("{} and {} are the same member {}: one is a copy of the other", a.label,
                        b.label, Hex16(a.member_id)));
      } else if (a.alone && b.alone) {
        comparison.warnings.push_back(fmt::format(
            "{} and {} were both repaired and still share cluster ID {}: they are two clusters "
            "now, never start both",
            a.label, b.label, Hex16(a.cluster_id)));
      }
    }
  }
}

// The first index at which both logs hold an entry, of different terms.
std::optional<std::uint64_t> FirstConflict(const SurvivorSummary& a, const SurvivorSummary& b) {
  auto left = a.terms.begin();
  auto right = b.terms.begin();
  while (left != a.terms.end() && right != b.terms.end()) {
    const std::uint64_t from = std::max(left->first, right->first);
    const std::uint64_t to = std::min(left->last, right->last);
    if (from <= to && left->term != right->term) return from;
    (left->last < right->last ? left : right)++;
  }
  return std::nullopt;
}

void CompareLogs(Comparison& comparison) {
  const auto& survivors = comparison.survivors;
  for (std::size_t i = 0; i < survivors.size(); ++i) {
    for (std::size_t j = i + 1; j < survivors.size(); ++j) {
      const auto& a = survivors[i];
      const auto& b = survivors[j];
      if (a.cluster_id != b.cluster_id) continue;
      const auto conflict = FirstConflict(a, b);
      if (!conflict) continue;
      if (*conflict <= a.commit && *conflict <= b.commit) {
        comparison.divergence.push_back(
            fmt::format("{} and {} have committed different entries from index {} on", a.label,
                        b.label, *conflict));
        continue;
      }
      const auto& older = LogAhead(a, b) ? b : a;
      comparison.warnings.push_back(fmt::format(
          "from index {} on, {} holds entries of an older term that a later leader replaced",
          *conflict, older.label));
    }
  }
}

void CompareHashes(Comparison& comparison) {
  std::map<std::uint32_t, std::vector<std::string>> groups;
  for (const auto& survivor : comparison.survivors) {
    if (survivor.hash) groups[survivor.hash->hash].push_back(survivor.label);
  }
  if (groups.size() < 2) return;
  std::string text = fmt::format("at revision {} the data differs:", comparison.common->revision);
  std::string_view separator = " ";
  for (const auto& [hash, labels] : groups) {
    text += fmt::format("{}hash {} in {}", separator, hash, fmt::join(labels, ", "));
    separator = "; ";
  }
  comparison.divergence.push_back(std::move(text));
}

}  // namespace

std::optional<CommonRevision> FindCommonRevision(const std::vector<SurvivorSummary>& survivors) {
  std::optional<CommonRevision> common;
  std::size_t backends = 0;
  for (const auto& survivor : survivors) {
    if (!survivor.has_backend) continue;
    ++backends;
    if (!common) common = CommonRevision{survivor.revision, survivor.compact_revision};
    common->revision = std::min(common->revision, survivor.revision);
    common->compact_revision = std::max(common->compact_revision, survivor.compact_revision);
  }
  if (backends < 2 || common->compact_revision > common->revision) return std::nullopt;
  return common;
}

Comparison Compare(std::vector<SurvivorSummary> survivors) {
  Comparison comparison;
  comparison.survivors = std::move(survivors);
  const auto& all = comparison.survivors;
  if (all.empty()) return comparison;
  comparison.common = FindCommonRevision(all);
  comparison.ranking.resize(all.size());
  std::iota(comparison.ranking.begin(), comparison.ranking.end(), std::size_t{0});
  std::stable_sort(comparison.ranking.begin(), comparison.ranking.end(),
                   [&](std::size_t a, std::size_t b) { return Better(all[a], all[b]); });
  Recommend(comparison);
  WarnAboutRecommended(comparison);
  WarnAboutPairs(comparison);
  CompareLogs(comparison);
  if (comparison.common) {
    // Different clusters differ anyway.
    if (comparison.recommended) CompareHashes(comparison);
  } else if (all.size() > 1) {
    comparison.warnings.emplace_back(
        "the data cannot be compared: there is no revision that all of them can show");
  }
  return comparison;
}

Status Judge(const Comparison& comparison) {
  if (!comparison.divergence.empty()) {
    return Fail(ErrorKind::kDataDamaged, "survivors-diverge",
                "compare the survivors: " + comparison.divergence.front(),
                "look at both with keys; keep the disks of those that are not rescued");
  }
  if (comparison.recommended) return {};
  const std::string reason =
      comparison.reasons.empty() ? std::string("nothing to compare") : comparison.reasons.front();
  const bool damaged = std::none_of(comparison.survivors.begin(), comparison.survivors.end(),
                                    [](const auto& survivor) { return survivor.usable(); });
  return damaged
             ? Fail(ErrorKind::kDataDamaged, "no-survivor", "compare the survivors: " + reason,
                    "restore from a backup")
             : Fail(ErrorKind::kRefused, "different-clusters", "compare the survivors: " + reason,
                    "compare the survivors of one cluster at a time");
}

}  // namespace rescue::etcd
