#include "rescue/node/node_state.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <string>

#include "rescue/base/real_file_system.h"
#include "tests/support/fixtures.h"

namespace rescue::node {
namespace {

namespace fs = std::filesystem;

// As nodestate.ToFile writes it; the salt is the base64 of 32 bytes.
constexpr std::string_view kSound =
    "{\n\t\"Role\": \"ControlPlane\",\n"
    "\t\"MeasurementSalt\": \"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=\"\n}";

struct Disk {
  rescue::testing::TemporaryDirectory directory;
  Layout layout;

  Disk() { layout.kind = LayoutKind::kConstellation; }
  void Write(ByteView content) {
    fs::create_directories(directory.path() / "constellation");
    rescue::testing::WriteFileBytes(directory.path() / "constellation/node_state.json", content);
    layout.node_state = "constellation/node_state.json";
  }
  NodeState Read() const {
    const auto view = RealFileSystem::OpenRoot(directory.path().string());
    REQUIRE(view);
    const auto state = ReadNodeState(**view, layout);
    REQUIRE(state);
    return *state;
  }
  std::string Problem(std::string_view content) {
    Write(AsBytes(content));
    const NodeState state = Read();
    CHECK(state.present);
    REQUIRE(state.problems.size() == 1);
    return state.problems.front();
  }
};

bool Has(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("A sound node state has no problems") {
  Disk disk;
  disk.Write(AsBytes(kSound));
  const NodeState state = disk.Read();
  CHECK(state.present);
  CHECK(state.role == "ControlPlane");
  CHECK(state.problems.empty());
  // Go reads field names in any case.
  disk.Write(AsBytes(
      R"({"role":"control-plane","measurementSalt":"QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="})"));
  CHECK(disk.Read().problems.empty());
}

TEST_CASE("A missing node state is said loudly") {
  const Disk disk;
  const NodeState state = disk.Read();
  CHECK_FALSE(state.present);
  REQUIRE(state.problems.size() == 1);
  CHECK(Has(state.problems.front(), "constellation/node_state.json is missing"));
  CHECK(Has(state.problems.front(), "will not rejoin"));
}

TEST_CASE("Each reason why the node would stop is named") {
  Disk disk;
  CHECK(Has(disk.Problem(""), "not a JSON object"));
  CHECK(Has(disk.Problem("[]"), "not a JSON object"));
  CHECK(Has(disk.Problem(std::string(kSound) + "x"), "not a JSON object"));
  CHECK(Has(disk.Problem(std::string(1000, '[')), "not a JSON object"));
  CHECK(Has(disk.Problem("{}"), "no measurement salt"));
  CHECK(Has(disk.Problem(R"({"MeasurementSalt":null})"), "no measurement salt"));
  CHECK(Has(disk.Problem(R"({"MeasurementSalt":"U2FsdA=="})"), "4 bytes, 32 are needed"));
  CHECK(Has(disk.Problem(R"({"MeasurementSalt":"!"})"), "not base64"));
  CHECK(Has(disk.Problem(R"({"MeasurementSalt":7})"), "not base64"));
  CHECK(Has(disk.Problem(std::string(100'000, ' ')), "not a small regular file"));
  std::string worker(kSound);
  worker.replace(worker.find("ControlPlane"), 12, "Worker");
  CHECK(Has(disk.Problem(worker), "is this the right disk"));
}

TEST_CASE("The salt itself is never repeated") {
  Disk disk;
  const std::string problem = disk.Problem(R"({"MeasurementSalt":"c2VjcmV0LXNhbHQ="})");
  CHECK_FALSE(Has(problem, "c2VjcmV0"));
  CHECK_FALSE(Has(problem, "secret-salt"));
}

TEST_CASE("Other layouts have no node state and no complaint") {
  Disk disk;
  disk.layout.kind = LayoutKind::kKubeadm;
  CHECK(disk.Read() == NodeState{});
}

TEST_CASE("A node state cut at any length or damaged is a problem, never worse") {
  Disk disk;
  rescue::testing::ForEveryTruncation(AsBytes(kSound), [&](ByteView content) {
    disk.Write(content);
    CHECK(disk.Read().problems.empty() == (content.size() == kSound.size()));
  });
  int problems = 0;
  rescue::testing::ForRandomMutations(AsBytes(kSound), 3, 10'000, [&](ByteView content) {
    disk.Write(content);
    problems += disk.Read().problems.empty() ? 0 : 1;
  });
  CHECK(problems > 1000);
}

}  // namespace rescue::node
