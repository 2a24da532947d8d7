// The command seal-secret, and a job that seals: both do the same.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "rescue/cli/supply_options.h"
#include "rescue/session/job_run.h"

namespace rescue::cli {

struct SealOptions {
  std::string secret;
  SupplyOptions supply;
  session::SealJob wishes;
  std::string out;  // a file; wishes.to is then not looked at
  bool remove_nv = false;
};

void DeclareSeal(CLI::App& app, SealOptions& options, const std::function<void()>& chosen);

using Sealed = session::JobHelp::Sealed;

// `read` supplies the secret; a PIN is asked for, or read, as `around` says.
Result<Sealed> Seal(const session::SealJob& wishes, const std::string& out,
                    const std::function<Result<secret::Secret>()>& read,
                    const secret::Surroundings& around);

// The whole command; the exit code.
int RunSeal(const SealOptions& options);

}  // namespace rescue::cli
