#include "rescue/disk/holders.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <fstream>

#include "rescue/base/unique_fd.h"

namespace rescue::disk {
namespace {

using Catch::Matchers::ContainsSubstring;

// A process that works in `directory` until the object goes.
class Worker {
 public:
  explicit Worker(const char* directory) {
    std::array<int, 2> ready{};
    std::array<int, 2> stay{};
    REQUIRE(::pipe(ready.data()) == 0);
    REQUIRE(::pipe(stay.data()) == 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::close(stay[1]);
      char byte = ::chdir(directory) == 0 ? 'y' : 'n';
      (void)!::write(ready[1], &byte, 1);
      (void)!::read(stay[0], &byte, 1);
      ::_exit(0);
    }
    ::close(ready[1]);
    ::close(stay[0]);
    end_ = UniqueFd(stay[1]);
    const UniqueFd told(ready[0]);
    char byte = 0;
    REQUIRE(::read(told.get(), &byte, 1) == 1);
    REQUIRE(byte == 'y');
  }
  ~Worker() {
    end_ = UniqueFd();
    (void)::waitpid(pid_, nullptr, 0);
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  int pid() const { return pid_; }

 private:
  int pid_ = -1;
  UniqueFd end_;
};

TEST_CASE("ProcessesThatKeepAMountBusyAreNamed") {
  // /proc is a mount of its own everywhere, and nobody else works in it.
  const Worker worker("/proc");
  const auto holders = HoldersOfMount("/proc");
  const std::string wanted = "process " + std::to_string(worker.pid());
  // More than a few are cut off; the machine's others may be among them.
  CHECK((std::any_of(holders.begin(), holders.end(),
                     [&](const std::string& line) {
                       return line.starts_with(wanted) &&
                              line.find("works in /proc") != std::string::npos;
                     }) ||
         holders.size() == 9));
  CHECK(HoldersOfMount("/no/such/place").empty());
}

TEST_CASE("ADeviceThatNobodyUsesHasNoHolders") {
  // A number that no block device has.
  CHECK(HoldersOfDevice(static_cast<dev_t>(0xfffff)).empty());
  CHECK(HoldersText({}) == "nobody that could be found");
  CHECK_THAT(HoldersText({"a", "b"}), ContainsSubstring("a; b"));
}

}  // namespace
}  // namespace rescue::disk
