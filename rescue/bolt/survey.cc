#include "rescue/bolt/survey.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/bolt/page.h"

namespace rescue::bolt {
namespace {

// Pages that continue for longer than one window are read by themselves later: a mebibyte is long
// enough for etcd's largest usual value to lie in the stream, and for a disk to read it at full
// speed.
constexpr std::uint64_t kWindow = std::uint64_t{1} << 20;

// Bytes that are read at a time: what is copied out of the page cache should still be in the
// processor's second-level cache when it is scanned (1 MiB on common servers).
constexpr std::uint64_t kPiece = std::uint64_t{1} << 18;

// Old and hostile pages may claim continuations that overlap others. What is scanned twice in this
// way is bounded by this multiple of the bytes passed; beyond it pages are deferred to the tree,
// which takes each of them once at most.
constexpr std::uint64_t kRescan = 2;

class Surveyor {
 public:
  Surveyor(const ReadableFile& file, const Meta& meta, const CheckOptions& options,
           PageTable& table)
      : file_(file),
        meta_(meta),
        options_(options),
        table_(table),
        page_size_(meta.page_size),
        window_(std::max(kWindow, page_size_)),
        piece_(std::max(kPiece, page_size_)),
        end_(meta.high_water_mark * page_size_),
        buffer_(static_cast<std::size_t>(std::min(window_ + piece_, end_))) {}

  Status Run() {
    std::uint64_t page = 2;  // behind the meta pages
    start_ = filled_to_ = page * page_size_;
    for (; page < meta_.high_water_mark; ++page) {
      const std::uint64_t at = page * page_size_;
      if (at + page_size_ > filled_to_) RETURN_IF_ERROR(Slide(at, page_size_));
      if (table_[page].kind == PageKind::kUnreadable) continue;
      RETURN_IF_ERROR(Summarize(page, at));
    }
    return Report(end_);
  }

 private:
  // Forgets what lies before `at` and reads on until `needed` bytes from there are in memory, at
  // most one window.
  Status Slide(std::uint64_t at, std::uint64_t needed) {
    const auto keep = static_cast<std::size_t>(filled_to_ - at);
    std::memmove(buffer_.data(), buffer_.data() + (at - start_), keep);
    start_ = at;
    while (at + needed > filled_to_) RETURN_IF_ERROR(ReadPiece());
    return {};
  }

  Status ReadPiece() {
    const auto wanted = static_cast<std::size_t>(std::min(end_ - filled_to_, piece_));
    const std::span<std::byte> into(buffer_.data() + (filled_to_ - start_), wanted);
    const auto got = file_.ReadAt(filled_to_, into);
    if (got && *got != wanted) return Shorter();
    if (!got) RETURN_IF_ERROR(ReadPageByPage(into));
    filled_to_ += wanted;
    if (filled_to_ - reported_ < kWindow) return {};
    reported_ = filled_to_;
    return Report(filled_to_);
  }

  // A piece that cannot be read as a whole: finds the pages that can.
  Status ReadPageByPage(std::span<std::byte> into) {
    for (std::size_t at = 0; at < into.size(); at += page_size_) {
      const std::span<std::byte> piece = into.subspan(at, static_cast<std::size_t>(page_size_));
      const auto got = file_.ReadAt(filled_to_ + at, piece);
      if (got && *got != piece.size()) return Shorter();
      if (got) continue;
      table_[(filled_to_ + at) / page_size_].kind = PageKind::kUnreadable;
      std::fill(piece.begin(), piece.end(), std::byte{0});
    }
    return {};
  }

  Status Shorter() const {
    return Fail(ErrorKind::kDataDamaged, "bolt-page",
                fmt::format("check bbolt file: it became shorter than {} bytes meanwhile", end_),
                "make sure that nothing else uses the file");
  }

  Status Report(std::uint64_t done) const {
    if (!options_.progress || options_.progress(done, end_)) return {};
    return Fail(ErrorKind::kOther, "cancelled", "check bbolt file: cancelled");
  }

  ByteView Buffered(std::uint64_t at, std::uint64_t size) const {
    return {buffer_.data() + (at - start_), static_cast<std::size_t>(size)};
  }

  Status Summarize(std::uint64_t page, std::uint64_t at) {
    PageHeader header;
    std::memcpy(&header, buffer_.data() + (at - start_), sizeof(header));
    if (header.id != page) return {};  // the middle of a value, most likely
    const PageInfo info = DecodeHeader(header, page_size_);
    if (CheckHeader(info, page, meta_.high_water_mark) != PageDamage::kNone) return {};
    PageSummary& summary = table_[page];
    summary.overflow = info.overflow;
    summary.count = info.count;
    if (!MayScanHere(info, at)) {
      summary.kind = PageKind::kDeferred;
      return {};
    }
    if (at + info.extent() > filled_to_) RETURN_IF_ERROR(Slide(at, info.extent()));
    if (ContinuesUnreadable(page, info)) {
      summary.kind = PageKind::kDeferred;
      return {};
    }
    Scan(info, Buffered(at, info.extent()), summary);
    return {};
  }

  bool MayScanHere(const PageInfo& info, std::uint64_t at) {
    if (info.is_branch() && !table_.HasRoomFor(info.count)) return false;
    if (info.overflow == 0) return true;
    if (info.extent() > window_) return false;
    const std::uint64_t cost = info.element_table_end();
    if (rescanned_ + cost > kRescan * at + kWindow) return false;
    rescanned_ += cost;
    return true;
  }

  bool ContinuesUnreadable(std::uint64_t page, const PageInfo& info) const {
    for (std::uint64_t next = page + 1; next <= page + info.overflow; ++next) {
      if (table_[next].kind == PageKind::kUnreadable) return true;
    }
    return false;
  }

  void Scan(const PageInfo& info, ByteView bytes, PageSummary& summary) {
    const ByteView elements = bytes.subspan(sizeof(PageHeader));
    const ElementScan scan = ScanElements(
        info, elements, bytes.size(),
        [&](std::uint64_t at, std::uint32_t size) { return ByteView(bytes.data() + at, size); });
    if (scan.damage != PageDamage::kNone) return;
    if (scan.has_buckets) summary.flags |= PageSummary::kHasBuckets;
    if (info.is_leaf()) {
      summary.kind = PageKind::kLeaf;
      if (info.count == 0) return;
      summary.SetWord(HashKey(scan.first));
      summary.last = PackedKey(scan.last);
      return;
    }
    summary.kind = PageKind::kBranch;
    summary.SetWord(table_.children());
    for (std::uint32_t i = 0; i < info.count; ++i) {
      const Element element = DecodeElement(elements, i, /*is_leaf=*/false);
      table_.AddChild(element.child, PackedKey({bytes.data() + element.key_at, element.key_size}));
    }
  }

  const ReadableFile& file_;
  const Meta& meta_;
  const CheckOptions& options_;
  PageTable& table_;
  const std::uint64_t page_size_;
  const std::uint64_t window_;
  const std::uint64_t piece_;
  const std::uint64_t end_;
  Bytes buffer_;  // a window and a piece (or the whole file): a page of one window always fits
  std::uint64_t start_ = 0;      // file offset of the buffer's first byte
  std::uint64_t filled_to_ = 0;  // file offset behind its last valid byte
  std::uint64_t reported_ = 0;   // file offset of the last report
  std::uint64_t rescanned_ = 0;
};

}  // namespace

Status Survey(const ReadableFile& file, const Meta& meta, const CheckOptions& options,
              PageTable& table) {
  return Surveyor(file, meta, options, table).Run();
}

}  // namespace rescue::bolt
