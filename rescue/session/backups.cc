#include "rescue/session/backups.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "rescue/backup/json.h"
#include "rescue/base/units.h"

namespace rescue::session {
namespace {

using nlohmann::json;
using TextLines = std::vector<std::string>;

template <typename... Args>
void Row(TextLines& lines, std::string_view label, fmt::format_string<Args...> format,
         Args&&... args) {
  lines.push_back(
      fmt::format("{:<12} {}", label, fmt::format(format, std::forward<Args>(args)...)));
}

Status ListFile(const OpenBackups& backups, bool read, const BackupProgress& progress,
                BackupListing& listing) {
  ASSIGN_OR_RETURN(const auto stored, backups.files().Open(backups.path()));
  listing.stored_size = stored->size();
  listing.compression = backup::CompressionOf(backups.path());
  const auto judge = [&]() -> Status {
    ASSIGN_OR_RETURN(const auto file, backup::OpenFull(*stored, backups.path()));
    backup::JudgeOptions options;
    options.digest = read;
    if (!read) options.walk = backup::JudgeOptions::Walk::kNever;
    options.progress = progress;
    ASSIGN_OR_RETURN(listing.snapshot, backup::JudgeSnapshot(*file, options));
    if (!read && listing.snapshot->verdict == backup::Verdict::kNoTrailer) return {};
    return backup::Accept(*listing.snapshot, {}, backups.label());
  };
  Status judged = judge();
  if (listing.snapshot && judged) listing.reachable = listing.snapshot->revision;
  if (!judged) listing.obstacle = std::move(judged).error();
  return {};
}

Status ListFolder(const OpenBackups& backups, bool read, const BackupProgress& progress,
                  BackupListing& listing) {
  ASSIGN_OR_RETURN(auto catalogue, backup::ListStore(backups.files(), backups.path()));
  ASSIGN_OR_RETURN(const auto store, backup::OnlyStore(catalogue));
  backup::SurveyOptions options;
  options.read = read;
  if (progress) {
    options.progress = [&](std::uint64_t done, std::uint64_t total, const std::string&) {
      progress(done, total);
    };
  }
  ASSIGN_OR_RETURN(listing.survey, backup::SurveyStore(backups.files(), store, options));
  listing.foreign = std::move(catalogue.foreign);
  listing.foreign_count = catalogue.foreign_count;
  listing.reachable = listing.survey->reachable;
  listing.obstacle = listing.survey->obstacle;
  return {};
}

std::string Facts(const backup::SurveyedObject& found) {
  if (found.problem) return fmt::format("DAMAGED: {}", found.problem->code);
  if (!found.read) return "not read";
  if (found.snapshot) {
    return found.snapshot->revision > found.object.name.last
               ? fmt::format("whole, holds {}", found.snapshot->revision)
               : "whole";
  }
  return fmt::format("whole, {} events", found.events);
}

std::string FileName(const std::string& path) { return path.substr(path.rfind('/') + 1); }

void ObjectLines(const backup::StoreSurvey& survey, TextLines& lines) {
  lines.emplace_back(fmt::format("{:<5} {:>17} {:<20} {:<4} {:>8}  {}", "KIND", "REVISIONS", "MADE",
                                 "AS", "SIZE", "CONTENT"));
  for (const auto& found : survey.objects) {
    const auto& name = found.object.name;
    lines.push_back(fmt::format("{:<5} {:>17} {:<20} {:<4} {:>8}  {}{}", Name(name.kind),
                                fmt::format("{}-{}", name.start, name.last),
                                backup::TimeText(name.created), Name(name.compression),
                                FormatSize(found.object.size), Facts(found),
                                name.final ? ", final" : ""));
    if (found.problem) lines.push_back(fmt::format("      {}", found.problem->message));
  }
}

void ChainLines(const backup::StoreSurvey& survey, TextLines& lines) {
  if (!survey.chain) return;
  const auto& chain = *survey.chain;
  Row(lines, "newest set", "{} and {} deltas", FileName(chain.full.path), chain.deltas.size());
  for (const auto& delta : chain.contained) {
    Row(lines, "not needed", "{}: the set has its revisions without it", FileName(delta.path));
  }
  if (chain.gap) {
    Row(lines, "hole", "revisions {} to {} are missing before {}", chain.gap->first,
        chain.gap->last, FileName(chain.gap->before));
  }
  for (const auto& warning : chain.warnings) Row(lines, "warning", "{}", warning);
}

void SnapshotLines(const BackupListing& listing, TextLines& lines) {
  Row(lines, "file", "{}, stored as {}", FormatSize(listing.stored_size),
      Name(listing.compression));
  if (!listing.snapshot) return;
  const auto& snapshot = *listing.snapshot;
  Row(lines, "verdict", "{}{}{}", Name(snapshot.verdict), snapshot.reason.empty() ? "" : ": ",
      snapshot.reason);
  if (snapshot.revision > 0) {
    Row(lines, "holds", "revision {}, compacted up to {}; backend of {}", snapshot.revision,
        snapshot.compacted, FormatSize(snapshot.backend_size));
  }
}

void SurvivorLines(const BackupListing& listing, TextLines& lines) {
  const auto& survivor = *listing.survivor;
  if (!survivor.has_backend) {
    Row(lines, "survivor", "its backend cannot be read");
  } else if (!survivor.log_known) {
    Row(lines, "survivor", "revision {} in its backend; its log cannot be read", survivor.backend);
  } else {
    Row(lines, "survivor", "revision {} in its backend, up to {} more in its log", survivor.backend,
        survivor.log_only);
  }
  const std::uint64_t most = survivor.backend + survivor.log_only;
  switch (Compare(listing.reachable, survivor)) {
    case WhoHasMore::kBackup:
      Row(lines, "more has", "the backup, by at least {} revisions", listing.reachable - most);
      break;
    case WhoHasMore::kSurvivor:
      Row(lines, "more has", "the survivor, by {} to {} revisions: restoring loses them",
          survivor.backend - listing.reachable, most - listing.reachable);
      break;
    case WhoHasMore::kSame:
      Row(lines, "more has", "neither: both end at revision {}", listing.reachable);
      break;
    case WhoHasMore::kUnclear:
      Row(lines, "more has", "unclear: not every entry of the log takes a revision");
      break;
  }
  Row(lines, "", "(counts only if both are of the same cluster's history)");
}

}  // namespace

SurvivorRevisions RevisionsOf(const etcd::Findings& findings) {
  SurvivorRevisions revisions;
  revisions.has_backend = findings.backend.has_value();
  if (findings.backend) {
    // An empty key space is at revision 1; the newest write may have been compacted away.
    revisions.backend =
        std::max({std::uint64_t{1}, findings.backend->latest.main, findings.backend->compacted});
  }
  revisions.log_known = findings.log.has_value();
  if (revisions.log_known) revisions.log_only = findings.tail.may_write;
  return revisions;
}

std::string_view Name(WhoHasMore who) {
  switch (who) {
    case WhoHasMore::kBackup:
      return "backup";
    case WhoHasMore::kSurvivor:
      return "survivor";
    case WhoHasMore::kSame:
      return "same";
    case WhoHasMore::kUnclear:
      return "unclear";
  }
  return "?";
}

WhoHasMore Compare(std::uint64_t reachable, const SurvivorRevisions& survivor) {
  const std::uint64_t most = survivor.backend + survivor.log_only;
  if (reachable > most)
    return survivor.log_known || !survivor.has_backend ? WhoHasMore::kBackup : WhoHasMore::kUnclear;
  if (reachable < survivor.backend) return WhoHasMore::kSurvivor;
  return survivor.log_only == 0 && survivor.log_known ? WhoHasMore::kSame : WhoHasMore::kUnclear;
}

Result<BackupListing> ListBackups(const OpenBackups& backups, bool read,
                                  const BackupProgress& progress) {
  BackupListing listing;
  listing.from = backups.label();
  RETURN_IF_ERROR(backups.is_file() ? ListFile(backups, read, progress, listing)
                                    : ListFolder(backups, read, progress, listing));
  return listing;
}

json ToJson(const BackupListing& listing) {
  json document = {{"from", listing.from},
                   {"kind", listing.survey ? "store" : "file"},
                   {"reachable_revision", listing.reachable}};
  if (listing.survey) {
    document["store"] = backup::ToJson(*listing.survey);
    document["foreign"] = json::array();
    for (const auto& foreign : listing.foreign) {
      document["foreign"].push_back(backup::ToJson(foreign));
    }
    document["foreign_count"] = listing.foreign_count;
  } else {
    document["size"] = listing.stored_size;
    document["compression"] = Name(listing.compression);
    if (listing.snapshot) document["snapshot"] = backup::ToJson(*listing.snapshot);
  }
  if (listing.survivor) {
    const auto& survivor = *listing.survivor;
    document["survivor"] = {{"has_backend", survivor.has_backend},
                            {"backend_revision", survivor.backend},
                            {"log_known", survivor.log_known},
                            {"log_only_writes", survivor.log_only}};
    document["more_has"] = Name(Compare(listing.reachable, survivor));
  }
  return document;
}

std::vector<std::string> ToText(const BackupListing& listing) {
  TextLines lines;
  Row(lines, "backups", "{}", Printable(listing.from, 200));
  if (listing.survey) {
    if (!listing.survey->store.prefix.empty()) {
      Row(lines, "store", "{}", Printable(listing.survey->store.prefix, 200));
    }
    ObjectLines(*listing.survey, lines);
    for (const auto& foreign : listing.foreign) {
      Row(lines, "foreign", "{}: {}", Printable(foreign.path, 200), foreign.reason);
    }
    if (listing.foreign_count > listing.foreign.size()) {
      Row(lines, "", "and {} more", listing.foreign_count - listing.foreign.size());
    }
    ChainLines(*listing.survey, lines);
  } else {
    SnapshotLines(listing, lines);
  }
  if (listing.reachable > 0) {
    Row(lines, "reachable", "revision {}", listing.reachable);
  } else {
    Row(lines, "reachable", "nothing");
  }
  if (listing.survivor) SurvivorLines(listing, lines);
  return lines;
}

}  // namespace rescue::session
