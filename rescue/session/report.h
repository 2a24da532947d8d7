// The outcome of a run as JSON and as text: one function each, used by every face, and kept beside
// the journal after an apply.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rescue/session/pipeline.h"

namespace rescue::session {

std::string_view Name(Command command);

// Keys are stable; identifiers are 16-digit hexadecimal strings, sizes bytes, times milliseconds.
nlohmann::json ToJson(const Command& command, const Outcome& outcome, const Status& status);

nlohmann::json ToJson(const disk::FoundDisk& found);

// Lines without line ends; blank ones between sections.
std::vector<std::string> ToText(const Outcome& outcome);
// "error: ...", and the hint below.
std::vector<std::string> ToText(const Error& error);

// Writes NNNN.report.json and .txt (0600) beside journal NNNN. A report that cannot be written
// (no space) is a warning in the outcome's plan, not a failure: the rescue itself is done.
void WriteReport(const Request& request, Outcome& outcome, const Target& target);
// Takes the reports of an undone journal away, and the journal directory when nothing is left.
void RemoveReport(const Target& target, const std::string& journal_name);

}  // namespace rescue::session
