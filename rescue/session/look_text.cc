#include "rescue/session/look_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "rescue/base/units.h"

namespace rescue::session {
namespace {

using TextLines = std::vector<std::string>;

template <typename... Args>
void Row(TextLines& lines, std::string_view label, fmt::format_string<Args...> format,
         Args&&... args) {
  lines.push_back(
      fmt::format("{:<12} {}", label, fmt::format(format, std::forward<Args>(args)...)));
}

void List(TextLines& lines, std::string_view label, const std::vector<std::string>& items) {
  for (const auto& item : items) Row(lines, std::exchange(label, ""), "{}", item);
}

// Cut to `width` characters; a name from a disk may hold anything.
std::string Cell(std::string_view text, std::size_t width) {
  std::string cell = Printable(text, 200);
  if (cell.size() > width) {
    cell.resize(width - 1);
    cell += '~';
  }
  return cell;
}

constexpr std::size_t kNameWidth = 10;
constexpr std::size_t kPlaceWidth = 10;

std::string MemberLine(std::string_view id, std::string_view name,
                       const std::vector<std::string>& cells) {
  std::string line = fmt::format("{:<18} {:<{}}", id, Cell(name, kNameWidth), kNameWidth);
  for (const auto& cell : cells) line += fmt::format(" {:<{}}", cell, kPlaceWidth - 1);
  line.erase(line.find_last_not_of(' ') + 1);
  return line;
}

// ---- compare ----

constexpr std::size_t kSurvivorsAcross = 4;  // columns of 16 digits beside the labels

std::string Letter(std::size_t position) {
  return position < 26 ? std::string(1, static_cast<char>('A' + position))
                       : fmt::format("#{}", position + 1);
}

std::string StateOf(const etcd::SurvivorSummary& survivor) {
  if (!survivor.usable()) return "unusable";
  if (survivor.removed) return "removed";
  if (!survivor.damage.empty()) return "DAMAGED";
  if (survivor.learner) return "learner";
  return survivor.alone ? "alone already" : "healthy";
}

using CellOf = std::function<std::string(const etcd::SurvivorSummary&)>;

std::string Number(bool known, std::uint64_t value) {
  return known ? fmt::format("{}", value) : "-";
}

const std::vector<std::pair<const char*, CellOf>>& ComparisonRows() {
  using S = etcd::SurvivorSummary;
  static const std::vector<std::pair<const char*, CellOf>> rows = {
      {"cluster", [](const S& s) { return s.has_log ? Hex16(s.cluster_id) : "-"; }},
      {"member", [](const S& s) { return s.has_log ? Hex16(s.member_id) : "-"; }},
      {"name", [](const S& s) { return s.member_name.empty() ? "-" : s.member_name; }},
      {"etcd",
       [](const S& s) { return s.server_version.empty() ? s.cluster_version : s.server_version; }},
      {"term", [](const S& s) { return Number(s.has_log, s.term); }},
      {"last term", [](const S& s) { return Number(s.usable(), s.last_term); }},
      {"last index", [](const S& s) { return Number(s.usable(), s.last_index); }},
      {"committed", [](const S& s) { return Number(s.has_log, s.commit); }},
      {"applied", [](const S& s) { return Number(s.has_backend, s.consistent_index); }},
      {"revision", [](const S& s) { return Number(s.has_backend, s.revision); }},
      {"compacted", [](const S& s) { return Number(s.has_backend, s.compact_revision); }},
      {"hash", [](const S& s) { return s.hash ? fmt::format("{}", s.hash->hash) : "-"; }},
      {"state", StateOf},
  };
  return rows;
}

void SurvivorTable(const etcd::Comparison& comparison, TextLines& lines) {
  const auto& survivors = comparison.survivors;
  for (std::size_t i = 0; i < survivors.size(); ++i) {
    Row(lines, Letter(i), "{}", survivors[i].label);
  }
  for (std::size_t from = 0; from < survivors.size(); from += kSurvivorsAcross) {
    const std::size_t to = std::min(from + kSurvivorsAcross, survivors.size());
    lines.emplace_back();
    const auto add = [&](std::string_view label, const auto& cell) {
      std::string line = fmt::format("{:<12}", label);
      for (std::size_t i = from; i < to; ++i) line += fmt::format(" {:>16}", Cell(cell(i), 16));
      lines.push_back(std::move(line));
    };
    add("", Letter);
    for (const auto& [label, cell_of] : ComparisonRows()) {
      add(label, [&, &of = cell_of](std::size_t i) { return of(survivors[i]); });
    }
  }
}

std::string_view TrailerText(etcd::SnapshotTrailer trailer) {
  switch (trailer) {
    case etcd::SnapshotTrailer::kAbsent:
      return "none in the file: a backend, or a snapshot that was cut";
    case etcd::SnapshotTrailer::kMatches:
      return "matches: the file is what was saved";
    case etcd::SnapshotTrailer::kDiffers:
      return "DIFFERS: the file, or the SHA-256 at its end, was changed";
  }
  return "?";
}

}  // namespace

TextLines ToText(const LogOnly& log) {
  if (log.entries == 0) return {};
  TextLines lines;
  Row(lines, "not counted", "{} entries that are in the log only; {} of them may write",
      log.entries, log.may_write);
  return lines;
}

TextLines ToText(const etcd::KeySpaceHash& hash) {
  TextLines lines;
  Row(lines, "hash", "{} (0x{:08x})", hash.hash, hash.hash);
  Row(lines, "revision", "{}{}", hash.revision,
      hash.revision == hash.latest_revision ? ", the latest"
                                            : fmt::format(" of {}", hash.latest_revision));
  Row(lines, "compacted", "{}{}", hash.compact_revision,
      hash.compaction_pending ? ", not finished: etcd goes on when it starts" : "");
  Row(lines, "records", "{}", hash.records);
  return lines;
}

TextLines ToText(const etcd::SnapshotStatus& status) {
  TextLines lines;
  Row(lines, "hash", "{} ({:x})", status.hash, status.hash);
  Row(lines, "revision", "{}", status.revision);
  Row(lines, "keys", "{} alive (etcdutl 3.6 and later); {} records in all buckets (3.5)",
      status.live_keys, status.total_keys);
  Row(lines, "size", "{} bytes in use ({}), file {} bytes", status.total_size,
      FormatSize(status.total_size), status.file_size);
  Row(lines, "storage", "{}",
      status.storage_version.empty() ? "no version (before 3.6)" : status.storage_version);
  Row(lines, "SHA-256", "{}", TrailerText(status.trailer));
  if (!status.check) {
    Row(lines, "pages", "not checked");
  } else if (status.check->clean()) {
    Row(lines, "pages", "{}, all in order", status.check->pages);
  } else {
    Row(lines, "pages", "{}, {} problem(s)", status.check->pages, status.check->problem_count);
    for (const auto& problem : status.check->problems) {
      Row(lines, "", "page {} (bucket {}): {}", problem.page, problem.bucket, problem.reason);
    }
  }
  return lines;
}

TextLines ToText(const etcd::KeyListing& range) {
  TextLines lines;
  if (!range.keys.empty()) {
    lines.push_back(fmt::format("{:>9} {:>9} {:>6} {:>8} {:<16} {}", "mod", "create", "version",
                                "bytes", "lease", "key"));
  }
  for (const auto& key : range.keys) {
    lines.push_back(fmt::format("{:>9} {:>9} {:>6} {:>8} {:<16} {}", key.mod_revision,
                                key.create_revision, key.version, key.value_size,
                                key.lease == 0 ? "-" : Hex16(key.lease),
                                Printable(key.key, key.key.size() * 4)));
    if (key.value) {
      lines.push_back(fmt::format("{:>9} {}", "=", Printable(*key.value, key.value->size() * 4)));
    }
  }
  const std::string count =
      range.keys.size() == range.matching
          ? fmt::format("{} keys", range.matching)
          : fmt::format("the first {} of {} keys", range.keys.size(), range.matching);
  lines.push_back(fmt::format("{} at revision {}; the backend holds revisions {} to {}", count,
                              range.revision, std::max<std::uint64_t>(range.compact_revision, 1),
                              range.latest_revision));
  return lines;
}

TextLines ToText(const etcd::MembershipAudit& audit) {
  TextLines lines;
  Row(lines, "cluster", "{}", audit.cluster_id == 0 ? "unknown" : Hex16(audit.cluster_id));
  lines.emplace_back();
  std::vector<std::string> cells;
  for (const auto& place : audit.places) cells.emplace_back(etcd::Name(place.place));
  lines.push_back(MemberLine("member", "name", cells));
  for (const auto& row : audit.rows) {
    cells.clear();
    for (std::size_t i = 0; i < audit.places.size(); ++i) {
      cells.emplace_back(audit.places[i].present ? etcd::Name(row.roles[i]) : "");
    }
    const std::string id = Hex16(row.id) + (row.survivor ? "*" : " ") + (row.differs ? "!" : "");
    lines.push_back(MemberLine(id, row.name.empty() ? "-" : row.name, cells));
  }
  cells.clear();
  for (const auto& place : audit.places) {
    cells.push_back(place.present ? fmt::format("{}", place.index) : "-");
  }
  lines.push_back(MemberLine("up to log entry", "", cells));
  lines.emplace_back();
  lines.emplace_back("* the survivor; ! the places differ");
  for (const auto& row : audit.rows) {
    if (row.peer_urls.empty()) continue;
    lines.push_back(fmt::format("{} {}", Hex16(row.id), fmt::join(row.peer_urls, ", ")));
  }
  for (const auto& place : audit.places) {
    if (!place.present) Row(lines, etcd::Name(place.place), "{}", place.note);
  }
  List(lines, "differences", audit.differences);
  if (audit.differences.empty()) Row(lines, "differences", "none");
  return lines;
}

TextLines ToText(const etcd::Comparison& comparison) {
  TextLines lines;
  SurvivorTable(comparison, lines);
  lines.emplace_back();
  if (comparison.common) {
    Row(lines, "", "hash: at revision {}, as if compacted at {}", comparison.common->revision,
        comparison.common->compact_revision);
  }
  for (std::size_t i = 0; i < comparison.survivors.size(); ++i) {
    for (const auto& damage : comparison.survivors[i].damage) {
      Row(lines, "damage", "{}: {}", Letter(i), damage);
    }
  }
  List(lines, "DIVERGENCE", comparison.divergence);
  List(lines, "warning", comparison.warnings);
  Row(lines, "recommended", "{}",
      comparison.recommended ? comparison.survivors[*comparison.recommended].label : "none");
  List(lines, "because", comparison.reasons);
  return lines;
}

}  // namespace rescue::session
