#include "rescue/bolt/node.h"

#include <algorithm>
#include <cstring>

#include "rescue/bolt/format.h"

namespace rescue::bolt {
namespace {

// bbolt: DefaultFillPercent (bucket.go) and MinKeysPerPage (internal/common/page.go).
constexpr std::uint64_t kFillPercent = 50;
constexpr std::size_t kMinKeys = 2;
// The count of a page header has 16 bits; bbolt panics at 65535 (node.go, Node.write).
constexpr std::size_t kMaxItems = 0xFFFE;

std::uint64_t ItemSize(const Item& item) {
  return kElementSize + item.key.size() + item.value.size();
}

// Stops counting as soon as the answer is known, so that splitting a long list stays linear.
bool FitsPage(std::span<const Item> items, std::uint64_t page_size) {
  if (items.size() > kMaxItems) return false;
  std::uint64_t size = sizeof(PageHeader);
  for (const Item& item : items) {
    size += ItemSize(item);
    if (size >= page_size) return false;
  }
  return true;
}

// How many items the first page takes: at least two, and leaves two for the next one.
std::size_t FirstLength(std::span<const Item> items, std::uint64_t page_size) {
  const std::uint64_t threshold = page_size * kFillPercent / 100;
  std::uint64_t size = sizeof(PageHeader);
  std::size_t length = 0;
  for (; length + kMinKeys + 1 < items.size() && length < kMaxItems; ++length) {
    const std::uint64_t more = ItemSize(items[length]);
    if (length >= kMinKeys && size + more > threshold) break;
    size += more;
  }
  return length;
}

template <typename T>
void Put(std::span<std::byte> into, std::uint64_t at, const T& value) {
  std::memcpy(into.subspan(static_cast<std::size_t>(at)).first(sizeof(T)).data(), &value,
              sizeof(T));
}

void PutBytes(std::span<std::byte> into, std::uint64_t at, ByteView bytes) {
  if (bytes.empty()) return;
  std::memcpy(into.subspan(static_cast<std::size_t>(at)).first(bytes.size()).data(), bytes.data(),
              bytes.size());
}

void EncodeInto(std::span<std::byte> into, std::span<const Item> items, bool is_leaf,
                std::uint64_t id, std::uint64_t overflow) {
  PageHeader header;
  header.id = id;
  header.flags = is_leaf ? kLeafPage : kBranchPage;
  header.count = static_cast<std::uint16_t>(items.size());
  header.overflow = static_cast<std::uint32_t>(overflow);
  Put(into, 0, header);

  std::uint64_t element_at = sizeof(PageHeader);
  std::uint64_t key_at = sizeof(PageHeader) + items.size() * kElementSize;
  for (const Item& item : items) {
    const auto position = static_cast<std::uint32_t>(key_at - element_at);
    const auto key_size = static_cast<std::uint32_t>(item.key.size());
    if (is_leaf) {
      const auto value_size = static_cast<std::uint32_t>(item.value.size());
      const std::uint32_t flags = item.is_bucket ? kBucketElement : 0;
      Put(into, element_at, LeafElement{flags, position, key_size, value_size});
    } else {
      Put(into, element_at, BranchElement{position, key_size, item.page});
    }
    PutBytes(into, key_at, item.key);
    PutBytes(into, key_at + item.key.size(), item.value);
    key_at += item.key.size() + item.value.size();
    element_at += kElementSize;
  }
}

}  // namespace

std::uint64_t ImageSize(std::span<const Item> items) {
  std::uint64_t size = sizeof(PageHeader);
  for (const Item& item : items) size += ItemSize(item);
  return size;
}

bool FitsInline(const Node& node, std::uint64_t page_size) {
  if (!node.is_leaf) return false;
  const auto is_bucket = [](const Item& item) { return item.is_bucket; };
  if (std::any_of(node.items.begin(), node.items.end(), is_bucket)) return false;
  return ImageSize(node.items) <= page_size / 4;
}

std::vector<std::size_t> SplitLengths(std::span<const Item> items, std::uint64_t page_size) {
  std::vector<std::size_t> lengths;
  while (items.size() > 2 * kMinKeys && !FitsPage(items, page_size)) {
    lengths.push_back(FirstLength(items, page_size));
    items = items.subspan(lengths.back());
  }
  lengths.push_back(items.size());
  return lengths;
}

Bytes EncodePage(std::span<const Item> items, bool is_leaf, std::uint64_t id, std::uint64_t pages,
                 std::uint64_t page_size) {
  Bytes page(static_cast<std::size_t>(pages * page_size));
  EncodeInto(page, items, is_leaf, id, pages - 1);
  return page;
}

Bytes EncodeBucket(std::uint64_t root_page, std::uint64_t sequence) {
  Bytes value(sizeof(BucketHeader));
  Put(std::span(value), 0, BucketHeader{root_page, sequence});
  return value;
}

Bytes EncodeInlineBucket(const Node& leaf, std::uint64_t sequence) {
  Bytes value = EncodeBucket(0, sequence);
  value.resize(static_cast<std::size_t>(sizeof(BucketHeader) + ImageSize(leaf.items)));
  EncodeInto(std::span(value).subspan(sizeof(BucketHeader)), leaf.items, /*is_leaf=*/true, 0, 0);
  return value;
}

}  // namespace rescue::bolt
