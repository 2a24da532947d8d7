#include "rescue/bolt/append.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "rescue/bolt/format.h"
#include "rescue/bolt/meta.h"
#include "rescue/bolt/page.h"
#include "rescue/bolt/transaction.h"

namespace rescue::bolt {
namespace {

// Large enough for a disk that counts requests, small enough to stay in the cache.
constexpr std::size_t kBufferBytes = std::size_t{1} << 20;
// The count of a page is 16 bits wide.
constexpr std::size_t kMaxElements = 0xFFFE;
// bbolt's minimum for a branch (node.go, minKeys).
constexpr std::size_t kMinChildren = 2;

template <typename Disk>
void Store(std::span<std::byte> page, std::uint64_t at, const Disk& disk) {
  std::memcpy(page.data() + at, &disk, sizeof(disk));
}

PageHeader HeaderFor(std::uint64_t page, std::uint16_t flags, std::size_t count,
                     std::uint64_t extent, std::uint64_t page_size) {
  PageHeader header;
  header.id = page;
  header.flags = flags;
  header.count = static_cast<std::uint16_t>(count);
  header.overflow = static_cast<std::uint32_t>(extent / page_size - 1);
  return header;
}

tl::unexpected<Error> Damaged(std::uint64_t page, std::string_view reason) {
  return Fail(ErrorKind::kDataDamaged, "bolt-page", fmt::format("page {}: {}", page, reason),
              "check the file (status); use another backup");
}

}  // namespace

Result<BucketAppender> BucketAppender::Open(const ReadableFile& file, std::string bucket,
                                            Sink sink) {
  ASSIGN_OR_RETURN(const ChosenMeta chosen, ChooseMeta(file, std::nullopt));
  ASSIGN_OR_RETURN(const Database database, Database::Open(file));
  ASSIGN_OR_RETURN(const auto found, database.FindBucket(AsBytes(bucket)));
  if (!found) {
    return Fail(ErrorKind::kDataDamaged, "bolt-no-bucket",
                fmt::format("append to bbolt bucket {}: there is none", Printable(bucket)),
                "this file is no backend of etcd");
  }
  BucketAppender appender(file, chosen.meta, std::move(bucket), std::move(sink));
  appender.next_page_ = chosen.meta.high_water_mark;
  auto loaded = appender.LoadRightEdge(*found);
  if (loaded) return appender;
  return Fail(std::move(loaded.error().Within("append to a bbolt bucket")));
}

Status BucketAppender::LoadRightEdge(const Bucket& bucket) {
  if (bucket.is_inline()) {
    Status added;
    RETURN_IF_ERROR(bucket.ForEach([&](ByteView key, ByteView value, bool is_bucket) {
      added = is_bucket ? Damaged(0, "a bucket among the keys") : AddToLeaf(key, value);
      return added.has_value();
    }));
    return added;
  }
  std::uint64_t page = bucket.root_page();
  for (int depth = 0; depth < kMaxTreeDepth; ++depth) {
    auto loaded = LoadedPage::Load(*file_, meta_, page);
    if (!loaded) return Fail(loaded.error().Within(fmt::format("page {}", page)));
    if (loaded->is_leaf()) {
      std::reverse(branches_.begin(), branches_.end());
      return LoadLeaf(page);
    }
    Branch branch;
    Bytes scratch;
    for (std::uint32_t i = 0; i + 1 < loaded->count(); ++i) {
      ASSIGN_OR_RETURN(const ByteView key, loaded->Key(i, scratch));
      branch.children.emplace_back(ToBytes(key), loaded->At(i).child);
      branch.key_bytes += key.size();
    }
    page = loaded->At(loaded->count() - 1).child;
    branches_.push_back(std::move(branch));
  }
  return Damaged(page, fmt::format("more than {} levels deep", kMaxTreeDepth));
}

Status BucketAppender::LoadLeaf(std::uint64_t page) {
  ASSIGN_OR_RETURN(const LoadedPage loaded, LoadedPage::Load(*file_, meta_, page));
  if (loaded.has_buckets()) return Damaged(page, "a bucket among the keys");
  if (loaded.count() == 0 && !branches_.empty()) return Damaged(page, "an empty leaf");
  Bytes key_scratch;
  Bytes value_scratch;
  for (std::uint32_t i = 0; i < loaded.count(); ++i) {
    ASSIGN_OR_RETURN(const ByteView key, loaded.Key(i, key_scratch));
    ASSIGN_OR_RETURN(const ByteView value, loaded.Value(i, value_scratch));
    RETURN_IF_ERROR(AddToLeaf(key, value));
  }
  return {};
}

Status BucketAppender::Append(ByteView key, ByteView value) {
  if (key.empty() || key.size() > kMaxKeySize || value.size() > kMaxValueSize) {
    return Fail(ErrorKind::kRefused, "bolt-limit",
                fmt::format("append to bbolt bucket {}: a key of {} bytes with a value of {}",
                            Printable(bucket_), key.size(), value.size()),
                fmt::format("bbolt takes keys of 1 to {} bytes and values up to {} bytes",
                            kMaxKeySize, kMaxValueSize));
  }
  if (!last_key_.empty() && !KeyLess(last_key_, key)) {
    return Fail(
        ErrorKind::kRefused, "bolt-order",
        fmt::format("append to bbolt bucket {}: key {} does not come after {}", Printable(bucket_),
                    ToHex(key.first(std::min<std::size_t>(40, key.size()))),
                    ToHex(ByteView(last_key_).first(std::min<std::size_t>(40, last_key_.size())))));
  }
  ++appended_;
  return AddToLeaf(key, value);
}

std::uint64_t BucketAppender::LeafSize() const {
  return sizeof(PageHeader) + leaf_.size() * sizeof(LeafElement) + leaf_bytes_.size();
}

Status BucketAppender::AddToLeaf(ByteView key, ByteView value) {
  const std::uint64_t more = sizeof(LeafElement) + key.size() + value.size();
  if (!leaf_.empty() && (LeafSize() + more > meta_.page_size || leaf_.size() >= kMaxElements)) {
    Bytes first(leaf_bytes_.begin(), leaf_bytes_.begin() + leaf_.front().key_size);
    ASSIGN_OR_RETURN(const std::uint64_t page, WriteLeaf());
    RETURN_IF_ERROR(AddChild(0, std::move(first), page));
  }
  leaf_.push_back(
      {static_cast<std::uint32_t>(key.size()), static_cast<std::uint32_t>(value.size())});
  rescue::Append(leaf_bytes_, key);
  rescue::Append(leaf_bytes_, value);
  last_key_.assign(key.begin(), key.end());
  return {};
}

Result<std::uint64_t> BucketAppender::WriteLeaf() {
  ASSIGN_OR_RETURN(auto taken, TakePage(LeafSize()));
  const auto [page, bytes] = taken;
  Store(bytes, 0, HeaderFor(page, kLeafPage, leaf_.size(), bytes.size(), meta_.page_size));
  std::uint64_t element_at = sizeof(PageHeader);
  std::uint64_t data_at = element_at + leaf_.size() * sizeof(LeafElement);
  std::memcpy(bytes.data() + data_at, leaf_bytes_.data(), leaf_bytes_.size());
  for (const LeafItem& item : leaf_) {
    LeafElement element;
    element.flags = 0;
    element.position = static_cast<std::uint32_t>(data_at - element_at);
    element.key_size = item.key_size;
    element.value_size = item.value_size;
    Store(bytes, element_at, element);
    element_at += sizeof(element);
    data_at += std::uint64_t{item.key_size} + item.value_size;
  }
  leaf_.clear();
  leaf_bytes_.clear();
  return page;
}

Status BucketAppender::AddChild(std::size_t level, Bytes key, std::uint64_t page) {
  if (level == branches_.size()) branches_.emplace_back();
  const auto size = [&] {
    const Branch& branch = branches_[level];
    return sizeof(PageHeader) + (branch.children.size() + 1) * sizeof(BranchElement) +
           branch.key_bytes + key.size();
  };
  const std::size_t present = branches_[level].children.size();
  const bool full = size() > meta_.page_size || present >= kMaxElements;
  // The last one stays, so that the page which comes after this one has enough.
  if (full && present > kMinChildren) {
    Bytes first = branches_[level].children.front().first;
    ASSIGN_OR_RETURN(const std::uint64_t above, WriteBranch(branches_[level], present - 1));
    RETURN_IF_ERROR(AddChild(level + 1, std::move(first), above));
  }
  branches_[level].key_bytes += key.size();
  branches_[level].children.emplace_back(std::move(key), page);
  return {};
}

// The first `count` children become a page and leave the branch.
Result<std::uint64_t> BucketAppender::WriteBranch(Branch& branch, std::size_t count) {
  std::uint64_t size = sizeof(PageHeader) + count * sizeof(BranchElement);
  for (std::size_t i = 0; i < count; ++i) size += branch.children[i].first.size();
  ASSIGN_OR_RETURN(auto taken, TakePage(size));
  const auto [page, bytes] = taken;
  Store(bytes, 0, HeaderFor(page, kBranchPage, count, bytes.size(), meta_.page_size));
  std::uint64_t element_at = sizeof(PageHeader);
  std::uint64_t key_at = element_at + count * sizeof(BranchElement);
  for (std::size_t i = 0; i < count; ++i) {
    const auto& [key, child] = branch.children[i];
    BranchElement element;
    element.position = static_cast<std::uint32_t>(key_at - element_at);
    element.key_size = static_cast<std::uint32_t>(key.size());
    element.page = child;
    Store(bytes, element_at, element);
    std::memcpy(bytes.data() + key_at, key.data(), key.size());
    element_at += sizeof(element);
    key_at += key.size();
    branch.key_bytes -= key.size();
  }
  branch.children.erase(branch.children.begin(),
                        branch.children.begin() + static_cast<std::ptrdiff_t>(count));
  return page;
}

// What is still in memory, the leaf first; gives the page of the root.
Result<std::uint64_t> BucketAppender::WriteRightEdge() {
  Bytes first(leaf_bytes_.begin(), leaf_bytes_.begin() + leaf_.front().key_size);
  ASSIGN_OR_RETURN(std::uint64_t page, WriteLeaf());
  // A level that grows while this runs is handled like the others.
  for (std::size_t level = 0; level < branches_.size(); ++level) {
    RETURN_IF_ERROR(AddChild(level, std::move(first), page));
    Branch& branch = branches_[level];
    if (level + 1 == branches_.size() && branch.children.size() == 1) {
      return branch.children.front().second;
    }
    first = branch.children.front().first;
    ASSIGN_OR_RETURN(page, WriteBranch(branch, branch.children.size()));
  }
  return page;
}

Result<std::pair<std::uint64_t, std::span<std::byte>>> BucketAppender::TakePage(
    std::uint64_t bytes) {
  if (bytes > std::numeric_limits<std::uint32_t>::max()) {
    return Fail(ErrorKind::kRefused, "bolt-limit", "write bbolt page: more than 4 GiB");
  }
  if (buffer_.size() >= kBufferBytes) RETURN_IF_ERROR(FlushBuffer());
  const std::uint64_t pages = (bytes + meta_.page_size - 1) / meta_.page_size;
  const std::size_t at = buffer_.size();
  buffer_.resize(at + pages * meta_.page_size);
  const std::uint64_t page = next_page_;
  next_page_ += pages;
  return std::pair{page, std::span<std::byte>(buffer_).subspan(at)};
}

Status BucketAppender::FlushBuffer() {
  if (buffer_.empty()) return {};
  RETURN_IF_ERROR(sink_(next_page_ * meta_.page_size - buffer_.size(), buffer_));
  bytes_written_ += buffer_.size();
  buffer_.clear();
  return {};
}

Status BucketAppender::Finish() {
  if (appended_ == 0) return {};
  TransactionRequest request;
  ASSIGN_OR_RETURN(const std::uint64_t root, WriteRightEdge());
  RETURN_IF_ERROR(FlushBuffer());
  request.roots.push_back({bucket_, root});
  request.high_water_mark = next_page_;
  ASSIGN_OR_RETURN(const CommitPlan commit, PlanCommit(*file_, bucket_, request));
  for (const edit::Edit& edit : commit.edits) {
    const auto& write = std::get<edit::WriteRange>(edit);
    RETURN_IF_ERROR(sink_(write.offset, write.bytes));
    bytes_written_ += write.bytes.size();
  }
  return {};
}

}  // namespace rescue::bolt
