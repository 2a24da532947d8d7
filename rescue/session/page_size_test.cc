// Backends that no machine of ours would write: other page sizes, and more than 4 GiB.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <ctime>

#include "rescue/etcd/keyspace.h"
#include "rescue/session/pipeline.h"
#include "rescue/session/reshaped_backend.h"
#include "rescue/session/survivor_damage.h"

namespace rescue::session {
namespace {

using testing::TreeOf;
using testing::Unpacked;

struct Silent final : Observer {};

Result<Outcome> RunOn(const Unpacked& survivor, Command command, etcd::Strategy strategy) {
  Request request;
  request.command = command;
  request.data_directory = survivor.data();
  request.wishes.strategy = strategy;
  Silent silent;
  Outcome outcome;
  RETURN_IF_ERROR(Run(request, silent, outcome));
  return outcome;
}

Outcome MustRun(const Unpacked& survivor, Command command, etcd::Strategy strategy) {
  auto ran = RunOn(survivor, command, strategy);
  if (!ran) FAIL(ran.error().message);
  return *std::move(ran);
}

// Replaces the backend by the same in pages of another size, its trees beginning at byte `at`.
void Reshape(FileSystem& data, std::uint64_t page_size, std::uint64_t at = 0) {
  const auto old = data.Open(etcd::kBackendPath).value();
  auto file = testing::WithPageSize(*old, page_size);
  const std::uint64_t first = at == 0 ? 2 : at / page_size;
  testing::MoveTrees(file, first);
  const ByteView bytes = file.bytes();
  REQUIRE(data.Truncate(etcd::kBackendPath, 0));
  REQUIRE(data.WriteAt(etcd::kBackendPath, 0, bytes.first(2 * page_size)));
  REQUIRE(data.WriteAt(etcd::kBackendPath, first * page_size, bytes.subspan(2 * page_size)));
}

std::vector<etcd::ListedKey> KeysOf(const FileView& data) {
  const auto file = data.Open(etcd::kBackendPath).value();
  const auto database = bolt::Database::Open(*file).value();
  etcd::RangeRequest all;
  all.limit = 0;
  return etcd::ListKeys(database, all).value().keys;
}

// What every strategy must do on a healthy survivor.
void RescueAndUndo(const Unpacked& survivor, etcd::Strategy strategy, std::uint64_t page_size) {
  const auto files = survivor.Files();
  const auto before = TreeOf(*files);
  const auto keys = KeysOf(*files);
  REQUIRE_FALSE(keys.empty());

  const auto planned = MustRun(survivor, Command::kPlan, strategy);
  REQUIRE(planned.findings);
  REQUIRE(planned.findings->backend);
  CHECK(planned.findings->backend->meta.page_size == page_size);
  REQUIRE(planned.findings->check);
  CHECK(planned.findings->check->clean());
  CHECK(TreeOf(*files) == before);

  const auto applied = MustRun(survivor, Command::kApply, strategy);
  REQUIRE(applied.applied);
  CHECK((KeysOf(*files) == keys));
  const auto verified = MustRun(survivor, Command::kVerify, strategy);
  REQUIRE(verified.verdict);
  CHECK(verified.verdict->leads_alone);
  const auto found = etcd::Inspect(*files).value();
  CHECK(found.backend->meta.page_size == page_size);
  CHECK(found.check->clean());

  MustRun(survivor, Command::kUndo, strategy);
  CHECK(TreeOf(*files) == before);
}

TEST_CASE("PagesOfEverySizeAreRescued") {
  const auto page_size = GENERATE(std::uint64_t{4096}, std::uint64_t{16384}, std::uint64_t{65536});
  const auto strategy = GENERATE(etcd::Strategy::kForceNewCluster, etcd::Strategy::kRestore);
  const std::string name = GENERATE("3423-leader-snap", "3516-leader", "3614-snap", "371-learner");
  INFO(name << ", pages of " << page_size << ", " << etcd::Name(strategy));
  const Unpacked survivor(name);
  Reshape(*survivor.Files(), page_size);
  RescueAndUndo(survivor, strategy, page_size);
}

TEST_CASE("ABackendBeyond4GiBIsRescuedAndReadOnlyWhereItHasContent") {
  const auto strategy = GENERATE(etcd::Strategy::kForceNewCluster, etcd::Strategy::kRestore);
  constexpr std::uint64_t kPageSize = 16384;
  constexpr std::uint64_t kFar = (std::uint64_t{4} << 30) + (64 << 20);
  const Unpacked survivor("3516-leader");
  const auto files = survivor.Files();
  Reshape(*files, kPageSize, kFar);
  REQUIRE(files->Stat(etcd::kBackendPath)->size > kFar);
  const auto keys = KeysOf(*files);
  const std::clock_t began = std::clock();

  const auto applied = MustRun(survivor, Command::kApply, strategy);
  REQUIRE(applied.applied);
  REQUIRE(applied.findings->check);
  CHECK(applied.findings->check->clean());
  CHECK(applied.applied->data_bytes < 4 * kPageSize * 16);
  CHECK((KeysOf(*files) == keys));
  MustRun(survivor, Command::kUndo, strategy);
  CHECK((KeysOf(*files) == keys));
  // The hole is still one: what is read must not be written back.
  CHECK(files->Open(etcd::kBackendPath).value()->allocated() < 64 << 20);
  // The check reads everything once, and after a restore once more. Processor time: others may be
  // busy, too.
  CHECK((std::clock() - began) / CLOCKS_PER_SEC < 60);
}

}  // namespace
}  // namespace rescue::session
