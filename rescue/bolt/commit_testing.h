// What the tests of commits share: the whole content of a file as one value, and commits carried
// out on bytes in memory.
#pragma once

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <variant>

#include "rescue/bolt/check.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/test_file.h"
#include "rescue/bolt/transaction.h"

namespace rescue::bolt::testing {

struct BucketContent {
  std::uint64_t sequence = 0;
  std::map<std::string, std::string> keys;
  bool operator==(const BucketContent&) const = default;
};
// By path, levels joined by '/'; "" is the root.
using Content = std::map<std::string, BucketContent>;

inline bool ReadBucket(const Bucket& bucket, const std::string& path, Content& content) {
  BucketContent& here = content[path];
  here.sequence = bucket.sequence();
  std::vector<std::string> inner;
  const auto status = bucket.ForEach([&](ByteView key, ByteView value, bool is_bucket) {
    if (is_bucket) {
      inner.emplace_back(AsText(key));
    } else {
      here.keys.emplace(AsText(key), AsText(value));
    }
    return true;
  });
  if (!status) return false;
  for (const std::string& name : inner) {
    const auto found = bucket.FindBucket(AsBytes(name));
    if (!found || !*found) return false;
    std::string below = path.empty() ? "" : path + "/";
    below += name;
    if (!ReadBucket(**found, below, content)) return false;
  }
  return true;
}

// What the newest meta page (or a forced one) shows; nothing when that cannot be read.
inline std::optional<Content> TryContentOf(const ReadableFile& file,
                                           std::optional<int> slot = std::nullopt) {
  const auto database = slot ? Database::OpenAt(file, *slot) : Database::Open(file);
  Content content;
  if (!database || !ReadBucket(database->Root(), "", content)) return std::nullopt;
  return content;
}

inline Content ContentOf(const ReadableFile& file, std::optional<int> slot = std::nullopt) {
  auto content = TryContentOf(file, slot);
  REQUIRE(content);
  return *std::move(content);
}

inline CheckReport CheckOf(const ReadableFile& file, const CheckOptions& options = {}) {
  auto report = Check(file, options);
  REQUIRE(report);
  for (const PageProblem& problem : report->problems) {
    UNSCOPED_INFO("page " << problem.page << " in '" << problem.bucket << "': " << problem.reason);
  }
  return *std::move(report);
}

inline void WriteInto(Bytes& bytes, std::uint64_t offset, ByteView more) {
  const auto at = static_cast<std::size_t>(offset);
  if (bytes.size() < at + more.size()) bytes.resize(at + more.size());
  std::copy(more.begin(), more.end(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
}

inline const edit::WriteRange& AsWrite(const edit::Edit& edit) {
  return std::get<edit::WriteRange>(edit);
}

inline void CarryOut(const CommitPlan& plan, Bytes& bytes) {
  for (const edit::Edit& edit : plan.edits) {
    WriteInto(bytes, AsWrite(edit).offset, AsWrite(edit).bytes);
  }
}

inline CommitPlan MustPlan(const ReadableFile& file, const TransactionRequest& request) {
  auto plan = PlanCommit(file, "db", request);
  if (!plan) UNSCOPED_INFO(plan.error().message);
  REQUIRE(plan);
  return *std::move(plan);
}

inline KeyChange Set(std::string_view key, std::string_view value) {
  return {ToBytes(AsBytes(key)), ToBytes(AsBytes(value))};
}
inline KeyChange Delete(std::string_view key) { return {ToBytes(AsBytes(key)), std::nullopt}; }

// What the request makes of the content.
inline void ApplyTo(Content& content, const TransactionRequest& request) {
  for (const BucketChanges& bucket : request.buckets) {
    BucketContent& here = content[bucket.bucket];
    if (bucket.clear) {
      here.keys.clear();
      std::erase_if(
          content, [&](const auto& other) { return other.first.starts_with(bucket.bucket + "/"); });
    }
    for (const KeyChange& change : bucket.keys) {
      const std::string key(AsText(change.key));
      if (change.value) {
        here.keys[key] = AsText(*change.value);
      } else {
        here.keys.erase(key);
      }
    }
  }
}

// The request gives exactly what it says, the result is sound, and what was there before can still
// be seen through the other meta page.
inline CommitPlan CommitAndVerify(Bytes& bytes, const TransactionRequest& request) {
  const ViewFile before(bytes);
  Content expected = ContentOf(before);
  const Content former = expected;
  ApplyTo(expected, request);
  CommitPlan plan = MustPlan(before, request);
  CHECK(MustPlan(before, request).edits == plan.edits);
  CarryOut(plan, bytes);
  const ViewFile after(bytes);
  const CheckReport report = CheckOf(after);
  CHECK(report.clean());
  CHECK(report.meta.transaction_id == plan.transaction_id);
  CHECK(report.meta.slot == plan.slot);
  CHECK(report.meta.high_water_mark == plan.high_water_mark);
  CHECK((ContentOf(after) == expected));
  if (!plan.edits.empty()) CHECK((ContentOf(after, 1 - plan.slot) == former));
  return plan;
}

// Bucket "t" with 400 keys on three levels, "in" inline, "nested" with a bucket inside.
inline Bytes SmallFile(std::uint64_t page_size = 4096) {
  TestFile file(page_size);
  const auto tree = file.Tree(NumberedItems(400), 10);
  const auto inner =
      file.Leaf({TestFile::BucketAt("deep", file.Tree(NumberedItems(20), 5)), {"plain", "value"}});
  file.Finish(file.Leaf({TestFile::InlineBucket("in", NumberedItems(3)),
                         TestFile::BucketAt("nested", inner), TestFile::BucketAt("t", tree)}));
  return file.bytes();
}

inline std::string CodeOf(const Bytes& bytes, const TransactionRequest& request) {
  const ViewFile file(bytes);
  const auto plan = PlanCommit(file, "db", request);
  REQUIRE_FALSE(plan);
  CHECK(plan.error().message.starts_with("plan a commit to db: "));
  CHECK_FALSE(plan.error().hint.empty());
  return plan.error().code;
}

}  // namespace rescue::bolt::testing
