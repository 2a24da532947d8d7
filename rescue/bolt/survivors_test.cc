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

TEST_CASE("Every survivor's backend is clean and shows etcd's buckets") {
  std::size_t checked = 0;
  for (const char* folder : {"survivors", "survivors-basic"}) {
    const auto shared = rescue::testing::SharedFixturePath(folder);
    if (!shared) {
      SKIP("the fixtures beside the repository are absent: only tests/fixtures/bolt was checked");
    }
    for (const fs::path& archive : Archives(*shared)) {
      CAPTURE(archive);
      const rescue::testing::TemporaryDirectory directory;
      UnpackBackends(archive, directory.path());
      const auto root = RealFileSystem::OpenRoot(directory.path().string());
      REQUIRE(root);
      for (const auto& entry : fs::recursive_directory_iterator(directory.path())) {
        if (entry.path().filename() != "db") continue;
        const auto file = (*root)->Open(entry.path().lexically_relative(directory.path()).string());
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
        ++checked;
      }
    }
  }
  CHECK(checked >= 30);
}

}  // namespace
}  // namespace rescue::bolt
