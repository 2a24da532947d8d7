// Every backend of the fixtures beside the repository: written by etcd 3.4 to 3.7, stopped by
// SIGKILL, none of them damaged.
#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <string>
#include <vector>

#include "rescue/base/real_file_system.h"
#include "rescue/bolt/check.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt {
namespace {
namespace fs = std::filesystem;

bool IsArchive(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(".tar.xz") || name.ends_with(".tar.gz");
}

std::vector<fs::path> Archives(const fs::path& folder) {
  std::vector<fs::path> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file() && IsArchive(entry.path())) found.push_back(entry.path());
  }
  return found;
}

// Only the backends: the log segments beside them are large.
void UnpackBackends(const fs::path& archive, const fs::path& into) {
  const std::string command = "tar --sparse --wildcards -xf '" + archive.string() + "' -C '" +
                              into.string() + "' '*/snap/db'";
  REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(cert-env33-c)
}

void CheckBackend(const RealFileSystem& root, const std::string& path) {
  const auto file = root.Open(path);
  REQUIRE(file);
  const auto report = Check(**file);
  REQUIRE(report);
  for (const PageProblem& problem : report->problems) {
    UNSCOPED_INFO(problem.bucket << " page " << problem.page << ": " << problem.reason);
  }
  CHECK(report->clean());
  CHECK_FALSE(report->problem);
  CHECK(report->meta.freelist_page == kNoFreelist);
  CHECK(report->buckets.size() >= 9);
  // Reads little beyond one look at every page: etcd's keys need no second one.
  CHECK(report->bytes_read < report->pages * report->meta.page_size + 65536);
}

// How many backends the folder's archives hold; each is checked.
std::size_t CheckArchives(const fs::path& folder) {
  std::size_t checked = 0;
  for (const fs::path& archive : Archives(folder)) {
    CAPTURE(archive);
    const rescue::testing::TemporaryDirectory directory;
    UnpackBackends(archive, directory.path());
    const auto root = RealFileSystem::OpenRoot(directory.path().string());
    REQUIRE(root);
    for (const auto& entry : fs::recursive_directory_iterator(directory.path())) {
      if (entry.path().filename() != "db") continue;
      CheckBackend(**root, entry.path().lexically_relative(directory.path()).string());
      ++checked;
    }
  }
  return checked;
}

TEST_CASE("Every survivor's backend is clean and shows etcd's buckets") {
  CHECK(CheckArchives(rescue::testing::FixturePath("survivors")) >= 9);
}

void CheckSharedSurvivors() {
  std::size_t checked = 0;
  for (const char* folder : {"survivors", "survivors-basic"}) {
    checked += CheckArchives(*rescue::testing::SharedFixturePath(folder));
  }
  CHECK(checked >= 30);
}

// The larger fixtures lie beside the repository, or they do not: then there is no such test.
const bool registered = [] {
  if (rescue::testing::SharedFixturePath("survivors-basic")) {
    REGISTER_TEST_CASE(CheckSharedSurvivors, "The larger survivors' backends are clean, too");
  }
  return true;
}();

}  // namespace
}  // namespace rescue::bolt
