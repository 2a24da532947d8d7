#include "rescue/bolt/freelist.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/bolt/page.h"

namespace rescue::bolt {
namespace {

constexpr std::uint64_t kEntrySize = sizeof(ul64);
// Entries read at a time: 64 KiB.
constexpr std::uint64_t kBatch = 8192;

class FreelistVerifier {
 public:
  FreelistVerifier(const ReadableFile& file, const CheckOptions& options, PageTable& table,
                   CheckReport& report)
      : file_(file), options_(options), table_(table), report_(report), meta_(report.meta) {}

  Status Run() {
    const std::uint64_t page = meta_.freelist_page;
    if (page < 2 || page >= meta_.high_water_mark) {
      Problem(page, fmt::format("the freelist cannot lie here: pages are 2 to {}",
                                meta_.high_water_mark - 1));
      return {};
    }
    const std::uint64_t at = page * meta_.page_size;
    const auto bytes = ReadExactly(file_, at, sizeof(PageHeader) + kEntrySize);
    if (!bytes) {
      Problem(page, "the freelist cannot be read: " + bytes.error().message);
      return {};
    }
    ByteReader reader(*bytes);
    const PageInfo info = DecodeHeader(*reader.Read<PageHeader>(), meta_.page_size);
    if (!HeaderIsSound(info, page)) return {};
    if (!ClaimPages(info, page)) return {};

    // The count has 16 bits; a longer list has it in the first entry (bbolt freelist.go, read).
    const bool elsewhere = info.count == kFreelistCountElsewhere;
    const std::uint64_t count = elsewhere ? reader.Read<ul64>()->Get() : info.count;
    const std::uint64_t first = sizeof(PageHeader) + (elsewhere ? kEntrySize : 0);
    if (count > (info.extent() - first) / kEntrySize) {
      Problem(page, fmt::format("the freelist counts {} pages, more than its {} bytes hold", count,
                                info.extent()));
      return {};
    }
    if (const auto marked = MarkEntries(page, at + first, count); !marked) {
      Problem(page, "the freelist cannot be read: " + marked.error().message);
      return {};
    }
    FindLeaks();
    return {};
  }

 private:
  void Problem(std::uint64_t page, std::string reason) {
    ++report_.problem_count;
    if (report_.problems.size() >= options_.max_problems) return;
    report_.problems.push_back({page, "", std::move(reason), ProblemKind::kFreelist, {}, {}, 0});
  }

  bool HeaderIsSound(const PageInfo& info, std::uint64_t page) {
    if (info.id != page) {
      Problem(page, fmt::format("the freelist's page identifies itself as page {}", info.id));
    } else if (info.flags != kFreelistPage) {
      Problem(page, fmt::format("the freelist's page has type 0x{:x} instead of 0x{:x}", info.flags,
                                kFreelistPage));
    } else if (info.overflow >= meta_.high_water_mark - page) {
      Problem(page, fmt::format("the freelist continues for {} pages, beyond the last used page",
                                info.overflow));
    } else {
      return true;
    }
    return false;
  }

  bool ClaimPages(const PageInfo& info, std::uint64_t page) {
    const std::uint64_t end = page + info.overflow + 1;
    for (std::uint64_t next = page; next < end; ++next) {
      if ((table_[next].flags & PageSummary::kUsed) != 0) {
        Problem(page, fmt::format("the freelist lies over page {}, which the tree uses", next));
        return false;
      }
    }
    for (std::uint64_t next = page; next < end; ++next) table_[next].flags |= PageSummary::kUsed;
    return true;
  }

  Status MarkEntries(std::uint64_t list, std::uint64_t at, std::uint64_t count) {
    for (std::uint64_t done = 0; done < count; done += kBatch) {
      const std::uint64_t now = std::min(kBatch, count - done);
      ASSIGN_OR_RETURN(const Bytes bytes,
                       ReadExactly(file_, at + done * kEntrySize, now * kEntrySize));
      ByteReader reader(bytes);
      for (std::uint64_t i = 0; i < now; ++i) MarkEntry(list, reader.Read<ul64>()->Get());
    }
    return {};
  }

  void MarkEntry(std::uint64_t list, std::uint64_t page) {
    if (page < 2 || page >= meta_.high_water_mark) {
      Problem(list, fmt::format("the freelist names page {}, but pages are 2 to {}", page,
                                meta_.high_water_mark - 1));
      return;
    }
    PageSummary& summary = table_[page];
    if ((summary.flags & PageSummary::kListedFree) != 0) {
      Problem(page, "is in the freelist twice");
    } else if ((summary.flags & PageSummary::kUsed) != 0) {
      Problem(page, "is in the freelist, but in use");
    }
    summary.flags |= PageSummary::kListedFree;
  }

  // Only space is lost, so one problem for all of them.
  void FindLeaks() {
    std::uint64_t count = 0;
    std::uint64_t first = 0;
    for (std::uint64_t page = 2; page < table_.pages(); ++page) {
      if ((table_[page].flags & (PageSummary::kUsed | PageSummary::kListedFree)) != 0) continue;
      if (count++ == 0) first = page;
    }
    if (count > 0) {
      Problem(first, fmt::format("is neither in use nor in the freelist, {} pages in all", count));
    }
  }

  const ReadableFile& file_;
  const CheckOptions& options_;
  PageTable& table_;
  CheckReport& report_;
  const Meta& meta_;
};

}  // namespace

Status VerifyFreelist(const ReadableFile& file, const CheckOptions& options, PageTable& table,
                      CheckReport& report) {
  if (report.meta.freelist_page == kNoFreelist) return {};
  return FreelistVerifier(file, options, table, report).Run();
}

}  // namespace rescue::bolt
