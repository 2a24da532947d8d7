// For this room's tests: the whole program in this process, with what it prints.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "rescue/base/unique_fd.h"
#include "rescue/cli/cli.h"
#include "tests/support/fixtures.h"

namespace rescue::cli::testing {

// Standard output and standard error go to a file while it lives.
class Captured {
 public:
  explicit Captured(const std::filesystem::path& path)
      : file_(::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC, 0600)),
        out_(::dup(STDOUT_FILENO)),
        error_(::dup(STDERR_FILENO)),
        null_(::open("/dev/null", O_WRONLY)) {
    (void)std::fflush(stdout);
    (void)::dup2(file_.get(), STDOUT_FILENO);
    (void)::dup2(null_.get(), STDERR_FILENO);
  }
  ~Captured() {
    (void)std::fflush(stdout);
    (void)::dup2(out_.get(), STDOUT_FILENO);
    (void)::dup2(error_.get(), STDERR_FILENO);
  }
  Captured(const Captured&) = delete;
  Captured& operator=(const Captured&) = delete;

 private:
  UniqueFd file_;
  UniqueFd out_;
  UniqueFd error_;
  UniqueFd null_;
};

struct Ran {
  int status = 0;
  std::string output;
};

inline Ran RunProgram(const std::vector<std::string>& words) {
  const rescue::testing::TemporaryDirectory directory;
  std::vector<const char*> argv = {"etcd-rescue"};
  for (const auto& word : words) argv.push_back(word.c_str());
  Ran ran;
  {
    const Captured captured(directory.path() / "out");
    ran.status = Main(static_cast<int>(argv.size()), argv.data());
  }
  ran.output = AsText(rescue::testing::ReadFileBytes(directory.path() / "out"));
  return ran;
}

}  // namespace rescue::cli::testing
