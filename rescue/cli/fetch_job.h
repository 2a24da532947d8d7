// A job that lies on the ESP, beside the image: put where systemd's conditions see it, before
// anything else runs. For the appliance only; nobody types it.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>

namespace rescue::cli {

struct FetchOptions {
  std::string to;  // the file that is made when there is a job; its folder exists
};

void DeclareFetchJob(CLI::App& app, FetchOptions& options, const std::function<void()>& chosen);

// The whole command; the exit code. 0, too, when there is no ESP, or no job on it.
int RunFetchJob(const FetchOptions& options);

}  // namespace rescue::cli
