#include "rescue/etcd/carry.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/units.h"
#include "rescue/etcd/identity.h"

namespace rescue::etcd {
namespace {

// The entries become one new file and pass through memory; etcd's backend lags behind its log by
// 10 000 requests or 100 ms, so this is far beyond what a crash leaves.
constexpr std::uint64_t kLargestTail = 256 * kMiB;

// Empty when the log can be carried from the backend on.
std::string WhyNotCarried(const Findings& findings) {
  if (!findings.log) return "the log is missing or unreadable";
  if (LogIsForeign(findings)) return "the log belongs to another member or another time";
  const std::uint64_t ci = findings.ConsistentIndex();
  const std::uint64_t last = findings.LastIndex();
  if (last < ci) {
    return fmt::format("the log ends at entry {}, before the backend's entry {}", last, ci);
  }
  if (last > ci && !findings.log->CanReplayAfter(ci)) {
    const auto& entries = findings.log->entries;
    return fmt::format("the log lacks entries {} to {}", ci + 1,
                       entries.empty() ? last : entries.front().index - 1);
  }
  return {};
}

void NoteLossWithoutLog(const Findings& findings, const std::string& reason, Carried& carried) {
  const std::uint64_t ci = findings.ConsistentIndex();
  std::uint64_t last = std::max(findings.LastIndex(), findings.CommitIndex());
  if (findings.log) last = std::max(last, findings.log->tail.last_index_behind);
  const bool foreign = findings.log && LogIsForeign(findings);
  if (findings.log && !foreign && last > ci) {
    carried.loss.entries = last - ci;
    carried.loss.revisions = last - ci;
    carried.lost.push_back(
        fmt::format("{} entries behind entry {}, because {}", last - ci, ci, reason));
    return;
  }
  carried.loss.unknown = true;
  carried.lost.push_back(fmt::format(
      "what etcd had not yet put into the backend (up to 100 ms or 10 000 writes): {}", reason));
}

// Committed entries that the log no longer shows.
void NoteDamagedEnd(const Findings& findings, Carried& carried) {
  const auto& tail = findings.log->tail;
  const std::uint64_t last = findings.LastIndex();
  const std::uint64_t known = std::max(findings.CommitIndex(), tail.last_index_behind);
  if (known > last) {
    carried.loss.entries += known - last;
    carried.loss.revisions += known - last;
    carried.lost.push_back(
        fmt::format("entries {} to {}: {}", last + 1, known,
                    tail.reason.empty() ? "the log ends before them" : tail.reason));
  } else if (tail.kind == raftlog::TailKind::kDamaged) {
    carried.loss.entries += 1;
    carried.loss.unknown = true;
    carried.lost.push_back(fmt::format("at least one entry behind {}: {}", last, tail.reason));
  }
}

// True when the entry's content must not reach the new cluster.
bool MustBeEmptied(const raftlog::Entry& entry, const CarryOptions& options) {
  if (entry.type != raftlog::EntryType::kNormal) return true;
  const auto request = DecodeRequest(entry.data);
  if (!request) return false;
  if (request->published) return request->published->member_id != options.self;
  return options.without_alarms && request->alarm && request->alarm->activate;
}

Status CheckSize(const Findings& findings, std::uint64_t through) {
  std::uint64_t size = 0;
  for (const auto& ref : findings.log->entries) {
    if (ref.index > findings.ConsistentIndex() && ref.index <= through) size += ref.data_size;
  }
  if (size <= kLargestTail) return {};
  return Fail(ErrorKind::kRefused, "tail-too-large",
              fmt::format("carry the log: {} of entries lie behind the backend, {} at most can be "
                          "carried into a new log",
                          FormatSize(size), FormatSize(kLargestTail)),
              "start etcd with the log as it is (strategy force-new-cluster) if it can be kept");
}

}  // namespace

Result<Carried> CarryTail(const FileView& data, const Findings& findings,
                          const CarryOptions& options) {
  Carried carried;
  const std::uint64_t ci = findings.ConsistentIndex();
  carried.through = ci;
  if (const std::string reason = WhyNotCarried(findings); !reason.empty()) {
    NoteLossWithoutLog(findings, reason, carried);
    return carried;
  }
  const std::uint64_t last = findings.LastIndex();
  carried.through = last;
  if (options.commit == CommitLimit::kKnown) {
    carried.through = std::min(last, std::max(findings.CommitIndex(), ci));
    carried.loss.chosen = last - carried.through;
    carried.loss.entries = carried.loss.chosen;
    carried.loss.revisions = carried.loss.chosen;
    if (carried.loss.chosen > 0) {
      carried.lost.push_back(
          fmt::format("{} entries above the last known commit index {}, as asked",
                      carried.loss.chosen, carried.through));
    }
  }
  NoteDamagedEnd(findings, carried);
  RETURN_IF_ERROR(CheckSize(findings, carried.through));
  raftlog::EntryReader reader(data, *findings.log);
  for (const auto& ref : findings.log->entries) {
    if (ref.index <= ci || ref.index > carried.through) continue;
    ASSIGN_OR_RETURN(auto entry, reader.Read(ref));
    if (MustBeEmptied(entry, options)) {
      entry.type = raftlog::EntryType::kNormal;
      entry.data.clear();
      ++carried.emptied;
    }
    if (options.bump != 0 && !entry.data.empty()) {
      auto shifted = ShiftRevisions(entry.data, findings.backend->latest.main, options.bump);
      if (shifted && *shifted) entry.data = **std::move(shifted);
    }
    entry.index += options.shift;
    carried.entries.push_back(std::move(entry));
  }
  return carried;
}

}  // namespace rescue::etcd
