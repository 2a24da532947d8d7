// Builds bbolt files for tests straight from FORMAT.md, so that page sizes, freelist forms and
// damage that no etcd writes can be tried. It shares the disk structs with the reader and no other
// code.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/checksum.h"
#include "rescue/base/file.h"
#include "rescue/bolt/format.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt::testing {

struct Item {
  std::string key;
  std::string value;
  bool is_bucket = false;
};

using Child = std::pair<std::string, std::uint64_t>;

class TestFile {
 public:
  explicit TestFile(std::uint64_t page_size = 4096)
      : page_size_(page_size), bytes_(2 * page_size) {}

  std::uint64_t page_size() const { return page_size_; }
  std::uint64_t pages() const { return bytes_.size() / page_size_; }
  std::uint64_t root() const { return root_; }
  const Bytes& bytes() const { return bytes_; }
  Bytes& bytes() { return bytes_; }

  // Each returns the number of the new page.
  std::uint64_t Leaf(const std::vector<Item>& items) { return Store(kLeafPage, LeafBody(items)); }
  std::uint64_t Branch(const std::vector<Child>& children) {
    std::string body(children.size() * sizeof(BranchElement), '\0');
    for (std::size_t i = 0; i < children.size(); ++i) {
      BranchElement element{};
      element.position = static_cast<std::uint32_t>(body.size() - i * sizeof(element));
      element.key_size = static_cast<std::uint32_t>(children[i].first.size());
      element.page = children[i].second;
      std::memcpy(body.data() + i * sizeof(element), &element, sizeof(element));
      body += children[i].first;
    }
    return Store(kBranchPage, {std::move(body), children.size()});
  }
  std::uint64_t Freelist(const std::vector<std::uint64_t>& pages, bool count_in_first_entry = false,
                         std::uint64_t claimed_count = ~std::uint64_t{0}) {
    std::string body;
    const auto add = [&](std::uint64_t number) {
      const ul64 entry(number);
      body.append(reinterpret_cast<const char*>(&entry), sizeof(entry));
    };
    const std::uint64_t count = claimed_count == ~std::uint64_t{0} ? pages.size() : claimed_count;
    if (count_in_first_entry) add(count);
    for (const std::uint64_t page : pages) add(page);
    return Store(kFreelistPage,
                 {std::move(body), count_in_first_entry ? kFreelistCountElsewhere : count});
  }
  // A page that is in no tree: looks like a leaf of long ago.
  std::uint64_t Unused() { return Leaf({{"old", "content"}}); }

  // A whole tree of sorted items, `fan` to a page.
  std::uint64_t Tree(const std::vector<Item>& items, std::size_t fan) {
    std::vector<Child> level;
    for (std::size_t at = 0; at < items.size() || level.empty(); at += fan) {
      const auto end = items.begin() + static_cast<long>(std::min(at + fan, items.size()));
      const std::vector<Item> some(items.begin() + static_cast<long>(at), end);
      level.emplace_back(some.empty() ? "" : some.front().key, Leaf(some));
    }
    while (level.size() > 1) {
      std::vector<Child> above;
      for (std::size_t at = 0; at < level.size(); at += fan) {
        const auto end = level.begin() + static_cast<long>(std::min(at + fan, level.size()));
        above.emplace_back(level[at].first, Branch({level.begin() + static_cast<long>(at), end}));
      }
      level = std::move(above);
    }
    return level.front().second;
  }

  static Item BucketAt(std::string name, std::uint64_t root_page) {
    return {std::move(name), BucketHead(root_page), true};
  }
  static Item InlineBucket(std::string name, const std::vector<Item>& items) {
    auto [body, count] = LeafBody(items);
    PageHeader header{};
    header.flags = kLeafPage;
    header.count = static_cast<std::uint16_t>(count);
    std::string value = BucketHead(0);
    value.append(reinterpret_cast<const char*>(&header), sizeof(header));
    return {std::move(name), value + body, true};
  }

  // Writes both meta pages: transaction 7 in slot 1 with this root, and transaction 6 in slot 0
  // with `older_root` (or the same).
  TestFile& Finish(std::uint64_t root, std::uint64_t freelist = ~std::uint64_t{0},
                   std::uint64_t older_root = 0) {
    root_ = root;
    WriteMeta(0, 6, older_root == 0 ? root : older_root, freelist);
    WriteMeta(1, 7, root, freelist);
    return *this;
  }

  // For damage. The views end with the next page that is added.
  std::byte* Page(std::uint64_t page) { return bytes_.data() + page * page_size_; }
  PageHeader Header(std::uint64_t page) { return Get<PageHeader>(Page(page)); }
  void SetHeader(std::uint64_t page, const PageHeader& header) { Put(Page(page), header); }
  LeafElement LeafAt(std::uint64_t page, std::size_t index) {
    return Get<LeafElement>(ElementPlace(page, index));
  }
  void SetLeaf(std::uint64_t page, std::size_t index, const LeafElement& element) {
    Put(ElementPlace(page, index), element);
  }
  void SetChild(std::uint64_t page, std::size_t index, std::uint64_t child) {
    auto element = Get<BranchElement>(ElementPlace(page, index));
    element.page = child;
    Put(ElementPlace(page, index), element);
  }
  // First byte of a leaf element's key.
  std::byte& KeyByte(std::uint64_t page, std::size_t index) {
    return *(ElementPlace(page, index) + LeafAt(page, index).position);
  }
  MetaBody GetMeta(int slot) { return Get<MetaBody>(MetaPlace(slot)); }
  void SetMeta(int slot, MetaBody body, bool fix_checksum = true) {
    if (fix_checksum) {
      body.checksum = Fnv1a64(std::as_bytes(std::span(&body, 1)).first(kMetaChecksummed));
    }
    Put(MetaPlace(slot), body);
  }

 private:
  struct Body {
    std::string bytes;
    std::size_t count;
  };

  template <typename T>
  static T Get(const std::byte* at) {
    T value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }
  template <typename T>
  static void Put(std::byte* at, const T& value) {
    std::memcpy(at, &value, sizeof(value));
  }
  std::byte* ElementPlace(std::uint64_t page, std::size_t index) {
    return Page(page) + sizeof(PageHeader) + index * kElementSize;
  }
  std::byte* MetaPlace(int slot) {
    return Page(static_cast<std::uint64_t>(slot)) + sizeof(PageHeader);
  }

  static std::string BucketHead(std::uint64_t root_page) {
    BucketHeader header{};
    header.root_page = root_page;
    header.sequence = 5;
    return {reinterpret_cast<const char*>(&header), sizeof(header)};
  }

  static Body LeafBody(const std::vector<Item>& items) {
    std::string body(items.size() * sizeof(LeafElement), '\0');
    for (std::size_t i = 0; i < items.size(); ++i) {
      LeafElement element{};
      element.flags = items[i].is_bucket ? kBucketElement : 0;
      element.position = static_cast<std::uint32_t>(body.size() - i * sizeof(element));
      element.key_size = static_cast<std::uint32_t>(items[i].key.size());
      element.value_size = static_cast<std::uint32_t>(items[i].value.size());
      std::memcpy(body.data() + i * sizeof(element), &element, sizeof(element));
      body += items[i].key;
      body += items[i].value;
    }
    return {std::move(body), items.size()};
  }

  std::uint64_t Store(std::uint16_t type, const Body& body) {
    const std::uint64_t page = pages();
    const std::uint64_t needed =
        (sizeof(PageHeader) + body.bytes.size() + page_size_ - 1) / page_size_;
    bytes_.resize(bytes_.size() + needed * page_size_);
    PageHeader header{};
    header.id = page;
    header.flags = type;
    header.count = static_cast<std::uint16_t>(body.count);
    header.overflow = static_cast<std::uint32_t>(needed - 1);
    SetHeader(page, header);
    std::memcpy(Page(page) + sizeof(header), body.bytes.data(), body.bytes.size());
    return page;
  }

  void WriteMeta(int slot, std::uint64_t transaction, std::uint64_t root, std::uint64_t freelist) {
    PageHeader header{};
    header.id = static_cast<std::uint64_t>(slot);
    header.flags = kMetaPage;
    SetHeader(static_cast<std::uint64_t>(slot), header);
    MetaBody body{};
    body.magic = kMagic;
    body.version = kVersion;
    body.page_size = static_cast<std::uint32_t>(page_size_);
    body.root_page = root;
    body.freelist_page = freelist;
    body.high_water_mark = pages();
    body.transaction_id = transaction;
    SetMeta(slot, body);
  }

  std::uint64_t page_size_;
  std::uint64_t root_ = 0;
  Bytes bytes_;
};

// `count` keys in order, each `key_size` long (12 at least) and all alike but for their ends.
inline std::vector<Item> NumberedItems(std::size_t count, std::size_t key_size = 17,
                                       std::size_t value_size = 40) {
  std::vector<Item> items;
  for (std::size_t i = 0; i < count; ++i) {
    std::string number = std::to_string(100000000 + i);
    std::string key = "k" + std::string(key_size - number.size() - 1, '.') + number;
    items.push_back({std::move(key), std::string(value_size, static_cast<char>('a' + i % 26))});
  }
  return items;
}

// A file without a copy of its bytes, which must outlive it.
class ViewFile final : public ReadableFile {
 public:
  explicit ViewFile(ByteView bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const auto at = static_cast<std::size_t>(offset);
    const std::size_t count = std::min(into.size(), bytes_.size() - at);
    std::memcpy(into.data(), bytes_.data() + at, count);
    return count;
  }

 private:
  ByteView bytes_;
};

// What a real etcd wrote, see tests/fixtures/bolt/README.md.
inline Bytes RealBackend() {
  const rescue::testing::TemporaryDirectory directory;
  const auto packed = rescue::testing::FixturePath("bolt/etcd-3.5.db.xz");
  const auto to = directory.path() / "db";
  const std::string command = "xz -dc '" + packed.string() + "' > '" + to.string() + "'";
  // The names are the test's own.
  if (std::system(command.c_str()) != 0) {  // NOLINT(cert-env33-c)
    throw std::runtime_error("cannot unpack " + packed.string());
  }
  return rescue::testing::ReadFileBytes(to);
}

}  // namespace rescue::bolt::testing
