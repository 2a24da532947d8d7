// For tests: the same buckets, keys and values in a backend of another shape. etcd only ever makes
// pages of its machine's page size (os.Getpagesize), so files with others are made here.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "rescue/bolt/database.h"
#include "rescue/bolt/test_file.h"

namespace rescue::session::testing {

namespace reshape {

using bolt::testing::Child;
using bolt::testing::Item;
using bolt::testing::TestFile;

// A bucket's tree, each leaf filled as far as a page goes.
inline std::uint64_t StoreTree(TestFile& file, const std::vector<Item>& items) {
  constexpr std::size_t kFan = 16;
  std::vector<Child> level;
  for (std::size_t at = 0; at < items.size() || level.empty();) {
    std::vector<Item> leaf;
    for (std::uint64_t used = 64; at < items.size(); ++at) {
      used += 16 + items[at].key.size() + items[at].value.size();
      if (!leaf.empty() && used > file.page_size()) break;
      leaf.push_back(items[at]);
    }
    level.emplace_back(leaf.empty() ? "" : leaf.front().key, file.Leaf(leaf));
  }
  while (level.size() > 1) {
    std::vector<Child> above;
    for (std::size_t at = 0; at < level.size(); at += kFan) {
      const auto end = level.begin() + static_cast<long>(std::min(at + kFan, level.size()));
      above.emplace_back(level[at].first,
                         file.Branch({level.begin() + static_cast<long>(at), end}));
    }
    level = std::move(above);
  }
  return level.front().second;
}

inline std::vector<Item> ItemsOf(const bolt::Bucket& bucket) {
  std::vector<Item> items;
  const auto walked = bucket.ForEach([&](ByteView key, ByteView value, bool is_bucket) {
    if (is_bucket) throw std::logic_error("etcd's buckets hold no buckets");
    items.push_back({std::string(AsText(key)), std::string(AsText(value))});
    return true;
  });
  if (!walked) throw std::runtime_error(walked.error().message);
  return items;
}

}  // namespace reshape

inline bolt::testing::TestFile WithPageSize(const ReadableFile& backend, std::uint64_t page_size) {
  bolt::testing::TestFile file(page_size);
  const auto database = bolt::Database::Open(backend).value();
  std::vector<bolt::testing::Item> buckets;
  const auto names = database.Buckets().value();
  for (const auto& name : names) {
    const auto bucket = database.FindBucket(AsBytes(name)).value().value();
    const auto items = reshape::ItemsOf(bucket);
    buckets.push_back(bolt::testing::TestFile::BucketAt(name, reshape::StoreTree(file, items)));
  }
  const std::uint64_t root = file.Leaf(buckets);
  file.Finish(root);
  return file;
}

// Renumbers every page but the two meta pages as if they began at page `first`; the bytes must then
// be written there.
inline void MoveTrees(bolt::testing::TestFile& file, std::uint64_t first) {
  const std::uint64_t shift = first - 2;
  const std::uint64_t root = file.root();
  for (std::size_t i = 0; i < file.Header(root).count; ++i) {
    std::byte* head = &file.KeyByte(root, i) + file.LeafAt(root, i).key_size;
    ul64 tree;
    std::memcpy(&tree, head, sizeof(tree));
    tree = tree + shift;
    std::memcpy(head, &tree, sizeof(tree));
  }
  for (std::uint64_t page = 2; page < file.pages();) {
    auto header = file.Header(page);
    header.id = page + shift;
    file.SetHeader(page, header);
    for (std::size_t i = 0; header.flags == bolt::kBranchPage && i < header.count; ++i) {
      bolt::BranchElement element;
      std::memcpy(&element, file.Page(page) + sizeof(header) + i * sizeof(element),
                  sizeof(element));
      file.SetChild(page, i, element.page + shift);
    }
    page += header.overflow + 1;
  }
  for (const int slot : {0, 1}) {
    auto meta = file.GetMeta(slot);
    meta.root_page = meta.root_page + shift;
    meta.high_water_mark = meta.high_water_mark + shift;
    file.SetMeta(slot, meta);
  }
}

}  // namespace rescue::session::testing
