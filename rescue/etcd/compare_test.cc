// Which survivor is ahead: one rule a case. The names follow those of CockroachDB's recovery tests
// (pkg/kv/kvserver/loqrecovery/testdata) where the question is the same.
#include "rescue/etcd/compare.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <functional>

#include "rescue/base/real_file_system.h"
#include "rescue/etcd/inspect.h"
#include "tests/support/fixtures.h"

namespace rescue::etcd {
namespace {

constexpr std::uint64_t kCluster = 77;

// A healthy voter whose log holds entries 1 to `index`, all of `term`.
SurvivorSummary Voter(std::string label, std::uint64_t member, std::uint64_t term,
                      std::uint64_t index) {
  SurvivorSummary survivor;
  survivor.label = std::move(label);
  survivor.cluster_id = kCluster;
  survivor.member_id = member;
  survivor.has_log = true;
  survivor.has_backend = true;
  survivor.term = term;
  survivor.last_term = term;
  survivor.last_index = index;
  survivor.commit = index;
  survivor.consistent_index = index;
  survivor.terms = {{term, 1, index}};
  survivor.revision = index;
  return survivor;
}

SurvivorSummary With(SurvivorSummary survivor,
                     const std::function<void(SurvivorSummary&)>& change) {
  change(survivor);
  return survivor;
}

SurvivorSummary Damaged(SurvivorSummary survivor) {
  survivor.damage = {"backend: 1 problem(s)"};
  return survivor;
}

SurvivorSummary Removed(SurvivorSummary survivor) {
  survivor.removed = true;
  return survivor;
}

SurvivorSummary Learner(SurvivorSummary survivor) {
  survivor.learner = true;
  return survivor;
}

SurvivorSummary Unusable(SurvivorSummary survivor) {
  survivor.has_log = survivor.has_backend = false;
  survivor.last_term = survivor.last_index = 0;
  survivor.damage = {"nothing can be read"};
  return survivor;
}

struct Case {
  std::string name;
  std::vector<SurvivorSummary> survivors;
  std::string ranking;      // labels, best first
  std::string recommended;  // a label; "" for none
  std::string reason;       // part of a reason
  std::string warning;      // part of a warning; "" for no warning at all
  std::string code;         // of Judge; "" for success
};

std::vector<Case> Cases() {
  return {
      {"higher_last_term_wins",
       {Voter("A", 1, 2, 900), With(Voter("B", 2, 2, 850),
                                    [](auto& s) {
                                      s.last_term = 3;
                                      s.last_index = 851;
                                      s.terms.push_back({3, 851, 851});
                                      s.commit = 850;
                                    })},
       "BA",
       "B",
       "A: its log ends in an older term (term 2, index 900)",
       "from index 851 on, A holds entries of an older term",
       ""},
      {"higher_last_index_wins_in_one_term",
       {Voter("A", 1, 2, 880), Voter("B", 2, 2, 900)},
       "BA",
       "B",
       "A: its log ends 20 entries earlier (term 2, index 880)",
       "",
       ""},
      {"max_applied_does_not_beat_the_longer_log",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.consistent_index = 500; }),
        Voter("B", 2, 2, 899)},
       "AB",
       "A",
       "B: its log ends 1 entries earlier",
       "",
       ""},
      {"hard_state_term_alone_does_not_win",
       {Voter("A", 1, 2, 900), With(Voter("B", 2, 2, 850), [](auto& s) { s.term = 9; })},
       "AB",
       "A",
       "B: its log ends 50 entries earlier",
       "",
       ""},
      {"max_committed_voter_wins_among_equal_logs",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.commit = 890; }), Voter("B", 2, 2, 900)},
       "BA",
       "B",
       "knows fewer entries to be committed (up to 890)",
       "",
       ""},
      {"max_applied_voter_wins_among_equal_logs",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.consistent_index = 700; }),
        Voter("B", 2, 2, 900)},
       "BA",
       "B",
       "has applied fewer entries (up to 700)",
       "",
       ""},
      {"equal_survivors_keep_the_given_order",
       {Voter("A", 1, 2, 900), Voter("B", 2, 2, 900), Voter("C", 3, 2, 900)},
       "ABC",
       "A",
       "B: is as good",
       "",
       ""},
      {"learners_lose",
       {Learner(Voter("A", 1, 2, 900)), Voter("B", 2, 2, 900)},
       "BA",
       "B",
       "A: has the same log, but is a learner",
       "",
       ""},
      {"learner_with_the_longer_log_wins_with_a_warning",
       {Voter("A", 1, 2, 880), Learner(Voter("B", 2, 2, 900))},
       "BA",
       "B",
       "A: its log ends 20 entries earlier",
       "B is a learner; a rescue promotes it",
       ""},
      {"damaged_loses_to_healthy_even_if_ahead",
       {Damaged(Voter("A", 1, 2, 900)), Voter("B", 2, 2, 880)},
       "BA",
       "B",
       "A: is damaged: backend: 1 problem(s)",
       "A is not recommended, but its log ends later (term 2, index 900)",
       ""},
      {"damaged_learner_loses_to_healthy_learner",
       {Damaged(Learner(Voter("A", 1, 2, 900))), Learner(Voter("B", 2, 2, 900))},
       "BA",
       "B",
       "A: is damaged",
       "B is a learner",
       ""},
      {"removed_loses_to_damaged",
       {Removed(Voter("A", 1, 2, 900)), Damaged(Voter("B", 2, 2, 800))},
       "BA",
       "B",
       "A: was removed from the cluster",
       "B is damaged, and no other is better",
       ""},
      {"only_removed_survivors_left",
       {Removed(Voter("A", 1, 2, 800)), Removed(Voter("B", 2, 2, 900))},
       "BA",
       "B",
       "A: its log ends 100 entries earlier",
       "only strategy restore can use it",
       ""},
      {"only_stale_survivors_left",
       {Damaged(Voter("A", 1, 2, 10)), Damaged(Voter("B", 2, 2, 12))},
       "BA",
       "B",
       "A: its log ends 2 entries earlier",
       "B is damaged, and no other is better",
       ""},
      {"unusable_survivor_is_ignored",
       {Unusable(Voter("A", 1, 2, 900)), Voter("B", 2, 2, 10)},
       "BA",
       "B",
       "A: has neither a readable log nor a readable backend",
       "cannot be compared",
       ""},
      {"no_usable_survivor",
       {Unusable(Voter("A", 1, 2, 900)), Unusable(Voter("B", 2, 2, 10))},
       "AB",
       "",
       "none has a readable log or backend",
       "cannot be compared",
       "no-survivor"},
      {"different_clusters_are_refused",
       {Voter("A", 1, 2, 900), With(Voter("B", 2, 2, 850), [](auto& s) { s.cluster_id = 78; })},
       "AB",
       "",
       "they belong to different clusters",
       "",
       "different-clusters"},
      {"survivor_without_a_log_is_ranked_by_its_backend",
       {With(Voter("A", 1, 2, 900),
             [](auto& s) {
               s.has_log = false;
               s.cluster_id = s.member_id = 0;
               s.terms.clear();
               s.damage = {"read log: member/wal holds no segment"};
             }),
        Voter("B", 2, 2, 880)},
       "BA",
       "B",
       "A: is damaged: read log",
       "A is not recommended, but its log ends later",
       ""},
      {"repaired_twice_is_warned_of",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.alone = true; }),
        With(Voter("B", 2, 2, 902), [](auto& s) { s.alone = true; })},
       "BA",
       "B",
       "A: its log ends 2 entries earlier",
       "they are two clusters now",
       ""},
      {"repaired_once_is_nothing_to_warn_of",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.alone = true; }), Voter("B", 2, 2, 890)},
       "AB",
       "A",
       "B: its log ends 10 entries earlier",
       "",
       ""},
      {"the_same_member_twice_is_warned_of",
       {Voter("A", 1, 2, 900), Voter("B", 1, 2, 890)},
       "AB",
       "A",
       "B: its log ends 10 entries earlier",
       "one is a copy of the other",
       ""},
      {"etcd_3_5_0_to_3_5_2_is_warned_of",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.server_version = "3.5.1"; }),
        Voter("B", 2, 2, 890)},
       "AB",
       "A",
       "",
       "whose members could diverge when they crashed",
       ""},
      {"etcd_3_5_3_is_not",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.server_version = "3.5.3"; }),
        Voter("B", 2, 2, 890)},
       "AB",
       "A",
       "",
       "",
       ""},
      {"uncommitted_tail_of_an_old_leader_loses",
       {With(Voter("A", 1, 2, 905), [](auto& s) { s.commit = 900; }),
        With(Voter("B", 2, 2, 900),
             [](auto& s) {
               s.last_term = 4;
               s.last_index = 902;
               s.terms.push_back({4, 901, 902});
               s.commit = 902;
             })},
       "BA",
       "B",
       "A: its log ends in an older term",
       "from index 901 on, A holds entries",
       ""},
      {"committed_entries_that_differ_are_divergence",
       {Voter("A", 1, 2, 900), With(Voter("B", 2, 3, 900),
                                    [](auto& s) {
                                      s.terms = {{2, 1, 600}, {3, 601, 900}};
                                    })},
       "BA",
       "B",
       "A: its log ends in an older term",
       "",
       "survivors-diverge"},
      {"other_hash_at_the_common_revision_is_divergence",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.hash = KeySpaceHash{.hash = 1}; }),
        With(Voter("B", 2, 2, 890), [](auto& s) { s.hash = KeySpaceHash{.hash = 2}; })},
       "AB",
       "A",
       "",
       "",
       "survivors-diverge"},
      {"same_hash_at_the_common_revision_is_well",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.hash = KeySpaceHash{.hash = 2}; }),
        With(Voter("B", 2, 2, 890), [](auto& s) { s.hash = KeySpaceHash{.hash = 2}; })},
       "AB",
       "A",
       "",
       "",
       ""},
      {"one_hash_that_could_not_be_made_is_no_divergence",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.hash = KeySpaceHash{.hash = 2}; }),
        Voter("B", 2, 2, 890)},
       "AB",
       "A",
       "",
       "",
       ""},
      {"compacted_beyond_the_other_cannot_be_hashed",
       {With(Voter("A", 1, 2, 900), [](auto& s) { s.compact_revision = 895; }),
        Voter("B", 2, 2, 890)},
       "AB",
       "A",
       "",
       "the data cannot be compared",
       ""},
  };
}

bool Contains(const std::vector<std::string>& lines, const std::string& part) {
  return std::any_of(lines.begin(), lines.end(),
                     [&](const auto& line) { return line.find(part) != std::string::npos; });
}

TEST_CASE("TheSurvivorThatIsAheadIsRecommended") {
  const auto cases = Cases();
  const auto number = GENERATE_COPY(range(std::size_t{0}, cases.size()));
  const Case& given = cases[number];
  INFO(given.name);
  const Comparison comparison = Compare(given.survivors);
  std::string ranking;
  for (const std::size_t position : comparison.ranking) {
    ranking += comparison.survivors[position].label;
  }
  CHECK(ranking == given.ranking);
  CHECK((comparison.recommended ? comparison.survivors[*comparison.recommended].label : "") ==
        given.recommended);
  for (const auto& reason : comparison.reasons) INFO(reason);
  CHECK((given.reason.empty() || Contains(comparison.reasons, given.reason)));
  if (given.warning.empty()) {
    CHECK(comparison.warnings.empty());
  } else {
    CHECK(Contains(comparison.warnings, given.warning));
  }
  const Status judged = Judge(comparison);
  CHECK((judged ? "" : judged.error().code) == given.code);
}

TEST_CASE("TheOrderOfTheArgumentsDoesNotDecide") {
  for (Case& given : Cases()) {
    if (given.name.starts_with("equal") || given.name.starts_with("no_usable")) continue;
    INFO(given.name);
    std::reverse(given.survivors.begin(), given.survivors.end());
    const Comparison comparison = Compare(given.survivors);
    std::string ranking;
    for (const std::size_t position : comparison.ranking) {
      ranking += comparison.survivors[position].label;
    }
    CHECK(ranking == given.ranking);
  }
}

TEST_CASE("TheCommonRevisionIsTheHighestThatAllCanShow") {
  auto a = Voter("A", 1, 2, 900);
  auto b = Voter("B", 2, 2, 880);
  a.compact_revision = 300;
  b.compact_revision = 500;
  const auto common = FindCommonRevision({a, b});
  REQUIRE(common);
  CHECK(common->revision == 880);
  CHECK(common->compact_revision == 500);
  CHECK_FALSE(FindCommonRevision({a}));
  CHECK_FALSE(FindCommonRevision({a, Unusable(b)}));
  CHECK_FALSE(FindCommonRevision({}));
  a.compact_revision = 880;
  CHECK(FindCommonRevision({a, b}));
  a.compact_revision = 881;
  CHECK_FALSE(FindCommonRevision({a, b}));
}

TEST_CASE("ConflictsAreFoundAcrossRunsOfTerms") {
  auto a = Voter("A", 1, 5, 900);
  auto b = Voter("B", 2, 5, 900);
  a.terms = {{1, 100, 200}, {2, 201, 400}, {5, 401, 900}};
  b.terms = {{2, 300, 400}, {3, 401, 450}, {5, 451, 900}};
  a.commit = b.commit = 400;
  const auto comparison = Compare({a, b});
  CHECK(comparison.divergence.empty());
  CHECK(Contains(comparison.warnings, "from index 401 on"));
  b.terms = {{5, 901, 950}};
  CHECK(Compare({a, b}).warnings.empty());
}

TEST_CASE("ARealSurvivorIsSummarizedByItsOwnWords") {
  const rescue::testing::TemporaryDirectory directory;
  rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/371-learner.tar.xz"),
                                 directory.path());
  const auto files = RealFileSystem::OpenRoot((directory.path() / "etcd").string()).value();
  const auto findings = Inspect(*files).value();
  const auto summary = Summarize(findings, "here");
  CHECK(summary.label == "here");
  CHECK(summary.learner);
  CHECK_FALSE(summary.removed);
  CHECK_FALSE(summary.alone);
  CHECK(summary.damage.empty());
  CHECK(summary.member_name == "m4");
  CHECK(summary.last_index == findings.LastIndex());
  CHECK(summary.terms.back().last == summary.last_index);
  CHECK(summary.terms.back().term == summary.last_term);
  CHECK(summary.revision == 211);
}

}  // namespace
}  // namespace rescue::etcd
