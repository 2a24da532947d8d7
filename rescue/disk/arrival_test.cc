#include "rescue/disk/arrival.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <fstream>
#include <thread>

#include "tests/support/fixtures.h"

using rescue::disk::DiskArrivals;
using rescue::disk::WaitForFile;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

namespace {

// As udevd does it.
void Record(const std::filesystem::path& data, const std::string& device) {
  const auto temporary = data / (".#" + device);
  std::ofstream(temporary) << "I:1\n";
  std::filesystem::rename(temporary, data / device);
}

}  // namespace

TEST_CASE("A disk that udev has finished with ends the wait", "[disk][arrival]") {
  const rescue::testing::TemporaryDirectory data;
  DiskArrivals arrivals(data.path().string());
  const auto start = steady_clock::now();
  std::thread udev([&] { Record(data.path(), "b254:16"); });
  CHECK(arrivals.WaitUntil(start + std::chrono::seconds(30)));
  udev.join();
  CHECK_FALSE(arrivals.WaitUntil(steady_clock::now()));
}

TEST_CASE("A disk that arrived between looking and waiting is not missed", "[disk][arrival]") {
  const rescue::testing::TemporaryDirectory data;
  DiskArrivals arrivals(data.path().string());
  Record(data.path(), "b8:0");
  CHECK(arrivals.WaitUntil(steady_clock::now()));
}

TEST_CASE("Other devices do not end the wait", "[disk][arrival]") {
  const rescue::testing::TemporaryDirectory data;
  DiskArrivals arrivals(data.path().string());
  Record(data.path(), "c4:64");
  Record(data.path(), "+input:input3");
  const auto start = steady_clock::now();
  CHECK_FALSE(arrivals.WaitUntil(start + milliseconds(50)));
  CHECK(steady_clock::now() >= start + milliseconds(50));
}

TEST_CASE("Without udev nobody waits", "[disk][arrival]") {
  DiskArrivals arrivals("/nonexistent/udev/data");
  const auto start = steady_clock::now();
  CHECK_FALSE(arrivals.WaitUntil(start + std::chrono::hours(1)));
  CHECK(steady_clock::now() < start + std::chrono::minutes(1));
}

TEST_CASE("A file that is there, or comes, ends the wait for it", "[disk][arrival]") {
  const rescue::testing::TemporaryDirectory data;
  const auto file = data.path() / "closed";
  const auto start = steady_clock::now();
  CHECK_FALSE(WaitForFile(file.string(), start + milliseconds(50)));
  CHECK(steady_clock::now() >= start + milliseconds(50));
  std::thread other([&] {
    const std::ofstream another(data.path() / "another");
    const std::ofstream closed(file);
  });
  CHECK(WaitForFile(file.string(), start + std::chrono::seconds(30)));
  other.join();
  CHECK(WaitForFile(file.string(), start));
}

TEST_CASE("A file in a directory that is not there is not waited for", "[disk][arrival]") {
  CHECK_FALSE(WaitForFile("/nonexistent/closed", steady_clock::now() + std::chrono::hours(1)));
}
