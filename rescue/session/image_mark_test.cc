#include "rescue/session/image_mark.h"

#include <catch2/catch_test_macros.hpp>
#include <fstream>

#include "tests/support/fixtures.h"

namespace rescue::session {
namespace {

TEST_CASE("OnlyTheDebugVariantOfTheApplianceIsMarked") {
  const rescue::testing::TemporaryDirectory directory;
  const auto release = (directory.path() / "os-release").string();
  CHECK(ImageMark("/no/such/os-release").empty());
  std::ofstream(release) << "ID=debian\nVARIANT_ID=debug\n";
  CHECK(ImageMark(release).empty());
  std::ofstream(release) << "ID=debian\nIMAGE_ID=etcd-rescue\n";
  CHECK(ImageMark(release).empty());
  std::ofstream(release) << "ID=debian\nIMAGE_ID=etcd-rescue\nVARIANT_ID=debug\n";
  CHECK(ImageMark(release) == "DEBUG IMAGE WITH A SHELL");
}

}  // namespace
}  // namespace rescue::session
