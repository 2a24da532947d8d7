// Continuing a log: the records that etcd itself would have written next, as edits.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "rescue/base/result.h"
#include "rescue/edit/edit.h"
#include "rescue/raftlog/log.h"
#include "rescue/raftlog/raft.h"

namespace rescue::raftlog {

struct AppendOptions {
  // Also continue a log that ends in damage (TailKind::kDamaged), and drop what lies behind it.
  // Only when the damage is in the last segment. The operator must have agreed to the loss.
  bool drop_records_behind_damage = false;
  // Entries behind this index are replaced: the new ones follow it. They stay in the file; later
  // entries with the same index override them (wal/wal.go, ReadAll). Needs at least one new entry.
  std::optional<std::uint64_t> keep_through{};
  // Snapshot record behind everything else, for a .snap that is made in the same plan; segment and
  // offset are ignored.
  std::optional<SnapshotMark> mark{};
};

struct AppendPlan {
  edit::EditList edits;              // one WriteRange in the last segment; it may grow the file
  std::uint64_t offset = 0;          // where the new records start
  std::uint64_t appended_bytes = 0;  // frames
  std::uint64_t cut_bytes = 0;       // old bytes behind the end that become new records or zeros
  std::uint32_t crc = 0;             // running checksum after the last new record
};

// Entries (in log.wire_form) first, then the hard state, as etcd's WAL.Save does; everything that
// was not zero behind them becomes zero, as when etcd opens the log. Fails with kRefused:
// "append-not-consecutive": an entry's index is not one more than the one before it (the first:
// than
//   log.last_index()), or its term is smaller;
// "append-commit-beyond-log": the commit index is higher than the last entry's;
// "append-damaged-log": TailKind::kDamaged (see AppendOptions);
// "append-replaces-nothing": keep_through without an entry, or beyond the log.
Result<AppendPlan> PlanAppend(const Log& log, std::span<const Entry> entries,
                              const HardState& hard_state, const AppendOptions& options = {});

// A new log for `metadata` and its first records, as the content of one segment file named
// FormatSegmentName({0, 0}), without the preallocated zeros behind it: checksum 0, metadata,
// snapshot mark {0, 0}, `first_state`, `mark` (with ConfState), `entries`, `last_state`. Only what
// is given is written. Fails like PlanAppend for entries that do not follow the mark.
struct FreshLog {
  Metadata metadata;
  std::optional<HardState> first_state;
  std::optional<SnapshotMark> mark{};  // segment and offset are ignored
  std::vector<Entry> entries;
  std::optional<HardState> last_state;
  WireForm wire_form = WireForm::kEtcd34;
};
Result<Bytes> EncodeFreshLog(const FreshLog& log);

}  // namespace rescue::raftlog
