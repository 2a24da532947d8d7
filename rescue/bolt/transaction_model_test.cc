// Hundreds of random transactions, one after the other on the same file, against a map.
#include <catch2/catch_test_macros.hpp>
#include <random>

#include "rescue/bolt/commit_testing.h"

namespace rescue::bolt {
namespace {

using testing::ApplyTo;
using testing::CarryOut;
using testing::CheckOf;
using testing::Content;
using testing::ContentOf;
using testing::Delete;
using testing::MustPlan;
using testing::Set;
using testing::TestFile;
using testing::ViewFile;

enum class Placement { kBehind, kFreeRuns, kMixed };

class Model {
 public:
  Model(std::uint64_t page_size, std::uint32_t seed) : random_(seed) {
    TestFile file(page_size);
    file.Finish(file.Leaf({}));
    bytes_ = file.bytes();
    content_ = ContentOf(ViewFile(bytes_));
  }

  void Transact(Placement placement) {
    const ViewFile before(bytes_);
    TransactionRequest request = RandomRequest();
    const bool free_runs =
        placement == Placement::kFreeRuns || (placement == Placement::kMixed && Below(2) == 0);
    if (free_runs) request.free_runs = CheckOf(before).free_runs;
    const CommitPlan plan = MustPlan(before, request);
    REQUIRE(MustPlan(before, request).edits == plan.edits);
    const Content former = content_;
    ApplyTo(content_, request);
    CarryOut(plan, bytes_);

    const ViewFile after(bytes_);
    const CheckReport report = CheckOf(after);
    REQUIRE(report.clean());
    REQUIRE((ContentOf(after) == content_));
    REQUIRE((ContentOf(after, plan.edits.empty() ? plan.slot : 1 - plan.slot) == former));
    REQUIRE(bytes_.size() == report.meta.high_water_mark * report.meta.page_size);
    REQUIRE(plan.edits.empty() == (former == content_ && plan.pages_written == 0));
    depth_ = std::max(depth_, DeepestOf(report));
  }

  std::uint64_t depth() const { return depth_; }
  std::uint64_t size() const { return bytes_.size(); }

 private:
  static std::uint64_t DeepestOf(const CheckReport& report) {
    std::uint64_t depth = 0;
    for (const auto& bucket : report.buckets) depth = std::max(depth, bucket.depth);
    return depth;
  }

  std::size_t Below(std::size_t bound) { return random_() % bound; }

  std::string RandomValue() {
    static constexpr std::size_t kSizes[] = {0, 1, 30, 300, 1000, 4000, 4096, 20000};
    // Mostly short.
    const std::size_t most = kSizes[std::min(Below(8), Below(8))];
    return std::string(most == 0 ? 0 : Below(most + 1), static_cast<char>('a' + Below(26)));
  }

  std::string RandomKey() {
    // A small space, so that keys meet; every now and then a long one.
    std::string key = "k" + std::to_string(Below(3000));
    if (Below(20) == 0) key += std::string(Below(1500), 'l');
    return key;
  }

  BucketChanges RandomChanges() {
    // Bucket 0 becomes large, the others come and go.
    const std::size_t which = Below(3) == 0 ? Below(60) : 0;
    BucketChanges changes{"bucket" + std::to_string(which), false, {}};
    changes.clear = Below(which == 0 ? 60 : 6) == 0;
    const std::size_t count = Below(which == 0 ? 200 : 12);
    static const std::map<std::string, std::string> kNone;
    const auto known = content_.find(changes.bucket);
    const auto& here = known == content_.end() ? kNone : known->second.keys;
    const bool shrinks = Below(3) == 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (shrinks || Below(4) == 0) {
        const auto near = here.lower_bound(RandomKey());
        changes.keys.push_back(Delete(near == here.end() ? RandomKey() : near->first));
      } else {
        changes.keys.push_back(Set(RandomKey(), RandomValue()));
      }
    }
    return changes;
  }

  TransactionRequest RandomRequest() {
    TransactionRequest request;
    for (std::size_t i = Below(4); i > 0; --i) request.buckets.push_back(RandomChanges());
    return request;
  }

  std::mt19937 random_;
  Bytes bytes_;
  Content content_;
  std::uint64_t depth_ = 0;
};

TEST_CASE("Hundreds of random transactions give what a map gives") {
  for (const std::uint64_t page_size : {1024U, 4096U, 16384U, 65536U}) {
    CAPTURE(page_size);
    const int count = page_size <= 4096 ? 120 : 40;
    Model behind(page_size, 11);
    for (int i = 0; i < count; ++i) behind.Transact(Placement::kBehind);
    Model in_runs(page_size, 11);
    for (int i = 0; i < count; ++i) in_runs.Transact(Placement::kFreeRuns);
    Model mixed(page_size, 12);
    for (int i = 0; i < count; ++i) mixed.Transact(Placement::kMixed);
    // Both kinds of placement must have been at work, and trees of several levels.
    CHECK(in_runs.size() < behind.size() / 2);
    if (page_size <= 4096) CHECK(behind.depth() >= 3);
  }
}

}  // namespace
}  // namespace rescue::bolt
