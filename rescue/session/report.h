// The outcome of a run as JSON and as text: one function each, used by every face, and kept beside
// the journal after an apply.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rescue/session/disk_report.h"
#include "rescue/session/pipeline.h"

namespace rescue::session {

std::string_view Name(Command command);

// What every JSON answer begins with: "version", "command", "ok", "exit_code" and, of a failure,
// "error" with "code", "message" and "hint".
nlohmann::json FrameJson(std::string_view command, const Status& status);

// Keys are stable; identifiers are 16-digit hexadecimal strings, sizes bytes, times milliseconds.
nlohmann::json ToJson(const Command& command, const Outcome& outcome, const Status& status);

// The parts of the text, for faces that show them one at a time. A line is a label, padded to
// kLabelWidth, a blank and the text; lines without label continue the one before.
inline constexpr std::size_t kLabelWidth = 12;
enum class Section {
  kDisk,      // what the header says, safe to boot?
  kNode,      // layout and node files
  kFindings,  // members, backend, log, what they mean, journals
  kAdvice,    // the possible ways side by side
  kPlan,      // edits, kept, lost, warnings
  kResult,    // verdict, what was written, what to do next
};
std::vector<std::string> ToText(const Outcome& outcome, Section section);

// All of it. Lines without line ends; blank ones between sections.
std::vector<std::string> ToText(const Outcome& outcome);
// "error: ...", and the hint below.
std::vector<std::string> ToText(const Error& error);

// Writes NNNN.report.json and .txt (0600) beside journal NNNN. A report that cannot be written
// (no space) is a warning in the outcome's plan, not a failure: the rescue itself is done. Nothing
// when the request wants no report there.
void WriteReport(const Request& request, Outcome& outcome, const Target& target);
// PATH.txt and PATH.json (0600) on this machine; older ones of that name are replaced. Errors:
// kUsage "bad-path", "not-found".
Status SaveReport(const std::string& path, const std::string& text, const std::string& json);
// The same inside an open folder; `path` is below it.
Status SaveReportIn(RealFileSystem& files, const std::string& path, const std::string& text,
                    const std::string& json);
// Takes the reports of an undone journal away, and the journal directory when nothing is left.
void RemoveReport(const Target& target, const std::string& journal_name);

}  // namespace rescue::session
