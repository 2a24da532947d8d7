// Shared by the files of the commands that only look: what they found, and the places they take.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "rescue/cli/look.h"
#include "rescue/session/pipeline.h"

namespace rescue::cli {

// What one of the commands found, in both forms.
struct LookFound {
  nlohmann::json document = nlohmann::json::object();
  std::vector<std::string> lines;
};

// --data-dir, --disk and how it is unlocked, --wal-dir, --json; with_file: or a file.
void AddLookPlaces(CLI::App& command, LookOptions& options, bool with_file);
// A subcommand of `app` that sets `options.verb` when it is met.
CLI::App* AddLook(CLI::App& app, LookOptions& options, const std::function<void()>& chosen,
                  LookVerb verb, const char* name, const char* description);
// One request a place, directories first.
Result<std::vector<session::Request>> MakeLookRequests(const LookOptions& options);

}  // namespace rescue::cli
