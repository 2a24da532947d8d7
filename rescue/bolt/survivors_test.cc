// Every backend of the fixtures beside the repository: written by etcd 3.4 to 3.7, stopped by
// SIGKILL, none of them damaged.
#include <catch2/catch_test_macros.hpp>
#include <string>

#include "rescue/bolt/check.h"
#include "rescue/bolt/survivors_testing.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt {
namespace {
void CheckBackend(const FileView& files, const std::string& path) {
  const auto file = files.Open(path);
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

TEST_CASE("Every survivor's backend is clean and shows etcd's buckets") {
  CHECK(testing::ForEachBackend(rescue::testing::FixturePath("survivors"), CheckBackend) >= 9);
}

void CheckSharedSurvivors() {
  std::size_t checked = 0;
  for (const char* folder : {"survivors", "survivors-basic"}) {
    checked += testing::ForEachBackend(*rescue::testing::SharedFixturePath(folder), CheckBackend);
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
