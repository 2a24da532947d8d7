// The command run: a job from a file or a credential.
#pragma once

#include <cstdint>

#include "rescue/base/units.h"
#include "rescue/cli/console.h"
#include "rescue/session/job_run.h"

namespace rescue::cli {

struct JobOptions;

// In bytes. No job is near it; what is larger is something else.
inline constexpr std::uint64_t kLargestJob = kMiB;

// The whole command; the exit code.
int RunJob(const JobOptions& options);
// Says only whether the job is one.
int CheckJob(const JobOptions& options);

// What a person reads at the end of a job; the last line is "RESULT exit=<code> <text>".
void ShowEnd(Console& console, const session::JobEnd& end, bool report);

}  // namespace rescue::cli
