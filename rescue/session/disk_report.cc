#include "rescue/session/disk_report.h"

#include <fmt/format.h>

#include "rescue/base/units.h"

namespace rescue::session {
namespace {

using nlohmann::json;

json CopyJson(const disk::HeaderCopy& copy) {
  if (copy.state == disk::CopyState::kDamaged) {
    return {{"state", "damaged"}, {"damage", copy.damage}};
  }
  return {{"state", "valid"},    {"sequence", copy.sequence},   {"uuid", copy.uuid},
          {"label", copy.label}, {"subsystem", copy.subsystem}, {"checksum", copy.checksum}};
}

json FindingsJson(const std::vector<disk::HeaderFinding>& findings) {
  json list = json::array();
  for (const auto& finding : findings) {
    list.push_back({{"code", finding.code}, {"text", finding.text}});
  }
  return list;
}

json SlotsJson(const disk::Header& header) {
  json list = json::array();
  for (const auto& slot : header.key_slots) {
    list.push_back({{"number", slot.number},
                    {"key_size", slot.key_size},
                    {"kdf", slot.derivation.type},
                    {"iterations", slot.derivation.iterations},
                    {"memory_kib", slot.derivation.memory_kib},
                    {"threads", slot.derivation.threads}});
  }
  return list;
}

json TokensJson(const disk::Header& header) {
  json list = json::array();
  for (const auto& token : header.tokens) {
    json object = {{"number", token.number}, {"type", Printable(token.type, 60)}};
    if (token.initialized) object["initialised"] = *token.initialized;
    list.push_back(std::move(object));
  }
  return list;
}

json HeaderJson(const disk::Header& header) {
  json document = {{"uses", header.uses_secondary ? "second" : "first"},
                   {"first", CopyJson(header.primary)},
                   {"second", CopyJson(header.secondary)},
                   {"key_slots", SlotsJson(header)},
                   {"tokens", TokensJson(header)},
                   {"findings", FindingsJson(header.findings)},
                   {"security_sha256", ToHex(disk::SecurityDigest(header))}};
  if (header.segments.size() == 1) {
    const disk::Segment& segment = header.segments.front();
    document["cipher"] = Printable(segment.cipher, 60);
    document["sector_size"] = segment.sector_size;
    document["integrity"] = Printable(segment.integrity, 60);
  }
  return document;
}

std::string_view KindName(disk::ContentKind kind) {
  switch (kind) {
    case disk::ContentKind::kUnknown:
      return "unknown";
    case disk::ContentKind::kLuks2:
      return "luks2";
    case disk::ContentKind::kFileSystem:
      return "file-system";
    case disk::ContentKind::kContainer:
      return "container";
    case disk::ContentKind::kPartitioned:
      return "partitioned";
    case disk::ContentKind::kOther:
      return "other";
  }
  return "unknown";
}

std::string Joined(const std::vector<std::string>& lines) {
  return fmt::format("{}", fmt::join(lines, "; "));
}

std::string_view BasisText(BootSafety::Basis basis) {
  switch (basis) {
    case BootSafety::Basis::kNothing:
    case BootSafety::Basis::kHeader:
      return "as far as the LUKS header goes";
    case BootSafety::Basis::kVolume:
      return "header, token, file system and node state are what the node demands";
    case BootSafety::Basis::kSealedDisk:
      return "looked at again after closing: header, token, file system and node state are what "
             "the node demands";
  }
  return "";
}

}  // namespace

json ToJson(const disk::FoundDisk& found) {
  json document = {{"path", found.path},
                   {"size", found.size},
                   {"model", found.model},
                   {"serial", found.serial},
                   {"names", found.names},
                   {"read_only", found.read_only},
                   {"kind", KindName(found.inside.kind)},
                   {"content", found.inside.word},
                   {"uuid", found.inside.uuid},
                   {"luks_uuid", found.luks_uuid},
                   {"label", found.inside.label},
                   {"candidate", found.is_candidate},
                   {"state_token", found.has_state_token},
                   {"why", found.why}};
  if (found.inside.header) document["header"] = HeaderJson(*found.inside.header);
  return document;
}

json ToJson(const DiskFacts& facts) {
  json document = ToJson(facts.found);
  document["profile"] = Name(facts.profile);
  document["findings"] = FindingsJson(facts.findings);
  document["boot"] = {{"safe", Name(facts.boot.answer)},
                      {"because", facts.boot.because},
                      {"basis", Name(facts.boot.basis)}};
  document["boot_safe"] = facts.boot_safe;
  document["boot_unsafe_reason"] = facts.boot_unsafe_reason;
  document["warnings"] = facts.warnings;
  if (facts.cost) {
    document["unlock"] = {{"key_slots", facts.cost->key_slots},
                          {"memory", facts.cost->memory},
                          {"seconds", facts.cost->seconds}};
  }
  if (facts.key_slot >= 0) document["key_slot"] = facts.key_slot;
  if (facts.token >= 0) document["token"] = facts.token;
  if (!facts.file_system.empty()) document["file_system"] = facts.file_system;
  return document;
}

std::vector<ReportLine> DescribeDisk(const DiskFacts& facts) {
  std::vector<ReportLine> lines;
  lines.push_back({"state disk", disk::Describe(facts.found)});
  switch (facts.boot.answer) {
    case BootSafety::Answer::kYes:
      lines.push_back({"boot", fmt::format("safe to boot: yes, {}", BasisText(facts.boot.basis))});
      break;
    case BootSafety::Answer::kNo: {
      std::string label = "WARNING";
      for (const auto& reason : facts.boot.because) {
        lines.push_back({std::exchange(label, ""), "NOT SAFE TO BOOT: " + reason});
      }
      break;
    }
    case BootSafety::Answer::kNotJudged:
      if (!facts.boot.because.empty()) {
        lines.push_back({"boot", "safe to boot: not judged, " + Joined(facts.boot.because)});
      }
      break;
  }
  std::string label = "header";
  for (const auto& finding : facts.findings) {
    lines.push_back({std::exchange(label, ""), fmt::format("{}: {}", finding.code, finding.text)});
  }
  label = "warning";
  for (const auto& warning : facts.warnings) lines.push_back({std::exchange(label, ""), warning});
  return lines;
}

std::vector<std::string> DescribeHeaderFindings(const disk::FoundDisk& found) {
  std::vector<std::string> lines;
  if (!found.inside.header) return lines;
  for (const auto& finding : found.inside.header->findings) {
    lines.push_back(fmt::format("  header: {}: {}", finding.code, finding.text));
  }
  return lines;
}

std::string Describe(const disk::UnlockCost& cost) {
  return fmt::format("unlocking needs {} of memory and about {:.1f} s for {} key slot{}",
                     FormatSize(cost.memory), cost.seconds, cost.key_slots,
                     cost.key_slots == 1 ? "" : "s");
}

}  // namespace rescue::session
