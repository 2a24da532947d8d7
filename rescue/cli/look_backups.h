// The commands around backups: backups and snapshot save, which change nothing on the survivor;
// initialize, which may restore it; and status of a delta.
#pragma once

#include "rescue/cli/look_parts.h"

namespace rescue::cli {

void DeclareBackups(CLI::App& app, LookOptions& options, const std::function<void()>& chosen);

// options.verb is one of theirs. What was found is in `found` also when it ends with an error.
bool IsAboutBackups(LookVerb verb);
Status LookAtBackups(const LookOptions& options, session::Observer& observer,
                     session::Outcome& outcome, LookFound& found);

// The name of a delta object of a backup store.
bool IsDelta(const std::string& path);
Status LookAtDelta(const std::string& path, LookFound& found);

}  // namespace rescue::cli
