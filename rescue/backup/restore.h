// Strategy restore from a backup: the plan, and the builder that the executor calls for its one
// long edit.
//
//   member.new/   built: the base streamed and hashed, deltas behind it, membership, log and .snap
//                 as of the other restore; inspected and booted in the simulator; synced once
//   member        <-> member.new in one step; the old one is kept as member.before-restore
//
// Nothing of the old member is touched before the new one is complete and proven, and at every
// moment one of both stands at member/. A failure at any point removes what was built.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rescue/backup/restore_source.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/edit/executor.h"
#include "rescue/etcd/findings.h"
#include "rescue/etcd/plan.h"

namespace rescue::backup {

// Where a discarded member waits for its removal, so that no etcd starts on half of it.
inline constexpr std::string_view kDiscarded = "member.discarded";

struct RestorePlan {
  etcd::Plan plan;
  etcd::Wishes wishes;  // complete: name, peer URLs and token are set
  // The old member is removed before anything is built (--discard-old); the edits are for a data
  // directory that has none any more.
  bool discards_old = false;
  Attributes file;  // of the files that are built
};

// `old` is what was found in the data directory, null when it holds no member or one that cannot be
// looked at. `wishes` are those of a restore; name and peer URLs default to the survivor's. The
// same data, source and wishes always give the same plan. Errors: kUsage "no-name", "no-peer-url"
// (the survivor's are not known: give them), "bad-peer-url", "not-for-strategy"; kRefused
// "name-taken".
Result<RestorePlan> PlanRestoreFrom(const FileView& data, const etcd::Findings* old,
                                    const Source& source, const etcd::Wishes& wishes,
                                    bool discard_old);

// What a build found and did.
struct Built {
  std::uint64_t base_revision = 0;   // that the base held
  std::uint64_t revision = 0;        // at the end, without a bump
  std::uint64_t applied = 0;         // changes of the deltas
  std::uint64_t repeated = 0;        // those that the base held already
  std::uint64_t copied_bytes = 0;    // of the base
  std::uint64_t delta_bytes = 0;     // of pages that the deltas made
  std::uint64_t unknown_leases = 0;  // that keys of the deltas name and that are in no backup
  bool digest_matches = false;
  std::optional<etcd::BootVerdict> verdict;
};

class RestoreBuilder final : public edit::Builder {
 public:
  // All must outlive the builder.
  RestoreBuilder(const Source& source, const RestorePlan& plan, SourceProgress progress)
      : source_(source), plan_(plan), progress_(std::move(progress)) {}

  // Errors: those of Verify(Source); "revision-in-full" (kUsage) when the full holds more than the
  // wanted revision; those of etcd::PlanRestore and etcd::Verify on what was built.
  Status Build(FileSystem& data, const edit::BuildDirectory& edit) override;

  const Built& built() const { return built_; }

 private:
  Status CopyBase(FileSystem& data, const std::string& backend);
  Status ApplyDeltas(FileSystem& data, const std::string& backend);
  Status FinishMember(FileSystem& data, const std::string& place);

  const Source& source_;
  const RestorePlan& plan_;
  SourceProgress progress_;
  Built built_;
};

// Removes what an earlier run had set aside to be discarded, and the member itself, for good.
Status DiscardMember(FileSystem& data);

}  // namespace rescue::backup
