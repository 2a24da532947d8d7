// A job carried out from its first check to its report, the same for every face.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "rescue/session/job.h"
#include "rescue/session/pipeline.h"

namespace rescue::session {

// What a face lends to a job.
struct JobHelp {
  // The secret, from where the job says.
  std::function<Result<secret::Secret>()> secret;
  UnlockCache* unlocked = nullptr;        // as in Request
  std::chrono::seconds wait_for_disk{0};  // the same
  std::function<bool()> cancelled;        // the same
  // Seals the secret; gives one line, and the blob as lines when it goes to the console.
  struct Sealed {
    std::string text;
    std::vector<std::string> blob_lines;
  };
  std::function<Result<Sealed>(const SealJob&)> seal;
  // The pipeline; tests put another in its place.
  std::function<Status(const Request&, Observer&, Outcome&)> run = Run;
};

// What a job ends with.
struct JobEnd {
  Status status;
  Outcome outcome;
  std::string text;                     // one line: what was done; the error's when it failed
  std::vector<std::string> blob_lines;  // of a job that seals to the console
  std::vector<std::string> warnings;    // what went wrong beside the job itself

  int exit_code() const { return status ? 0 : static_cast<int>(status.error().kind); }
};

// The disk for the report is looked for before anything else, so that a misspelt one costs nothing.
// Errors of that: kUsage "bad-report-disk".
JobEnd RunJob(const Job& job, const JobHelp& help, Observer& observer);

// One line: what a good run did.
std::string ResultText(const Outcome& outcome);

// What an appliance does after this job, when `standard` is what it does by itself after success.
AtEnd ActionAfter(const Job& job, bool ok, AtEnd standard);

// Asks PID 1, as systemctl would, to power the machine off or to reboot it. kWait: nothing.
void CarryOut(AtEnd at_end);

}  // namespace rescue::session
