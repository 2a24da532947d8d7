#include "rescue/cli/fetch_job.h"

#include <fcntl.h>
#include <unistd.h>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/buttons.h"
#include "rescue/cli/console.h"
#include "rescue/cli/job_command.h"
#include "rescue/secret/esp.h"
#include "rescue/session/report.h"

namespace rescue::cli {
namespace {

// Whole or not at all: whoever sees the name sees a whole job.
Status Put(const std::string& path, ByteView content) {
  const std::string fresh = path + ".new";
  const UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return FailErrno("write", fresh, errno);
  if (::write(fd.get(), content.data(), content.size()) != static_cast<ssize_t>(content.size()) ||
      ::rename(fresh.c_str(), path.c_str()) != 0) {
    return FailErrno("write", path, errno);
  }
  return {};
}

Status Fetch(const FetchOptions& options) {
  RETURN_IF_ERROR(CheckIsAppliance());
  const auto esp = secret::FindEsp();
  if (!esp) return {};
  ASSIGN_OR_RETURN(const auto job, secret::ReadFromEsp(*esp, secret::kJobOnEsp, kLargestJob));
  if (!job) return {};
  return Put(options.to, *job);
}

}  // namespace

void DeclareFetchJob(CLI::App& app, FetchOptions& options, const std::function<void()>& chosen) {
  auto* fetch = app.add_subcommand("fetch-job", "copy the job from the ESP, if there is one");
  fetch->group("");
  fetch->add_option("--to", options.to, "where to")->required();
  fetch->callback(chosen);
}

int RunFetchJob(const FetchOptions& options) {
  const Status done = Fetch(options);
  if (done) return 0;
  Console(STDERR_FILENO).Lines(session::ToText(done.error()));
  return static_cast<int>(done.error().kind);
}

}  // namespace rescue::cli
