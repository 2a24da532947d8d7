#include "rescue/bolt/check.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/bolt/freelist.h"
#include "rescue/bolt/meta.h"
#include "rescue/bolt/page_table.h"
#include "rescue/bolt/survey.h"
#include "rescue/bolt/tree_verifier.h"

namespace rescue::bolt {
namespace {

class CountingFile final : public ReadableFile {
 public:
  explicit CountingFile(const ReadableFile& file) : file_(file) {}
  std::uint64_t size() const override { return file_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    auto got = file_.ReadAt(offset, into);
    if (got) bytes_ += *got;
    return got;
  }
  std::uint64_t bytes() const { return bytes_; }

 private:
  const ReadableFile& file_;
  mutable std::uint64_t bytes_ = 0;
};

Status CheckMemory(const Meta& meta, const CheckOptions& options) {
  const std::uint64_t needed = PageTable::MemoryNeeded(meta.high_water_mark);
  if (needed <= options.max_memory) return {};
  return Fail(ErrorKind::kRefused, "bolt-too-large",
              fmt::format("check bbolt file: {} pages need {} bytes of memory, {} are allowed",
                          meta.high_water_mark, needed, options.max_memory),
              "use a machine with more memory and a higher limit");
}

// Counts used and free pages, and keeps the longest free runs.
void CountPages(const PageTable& table, const CheckOptions& options, CheckReport& report) {
  std::vector<PageRun>& runs = report.free_runs;
  const auto longer = [](const PageRun& a, const PageRun& b) {
    return a.count != b.count ? a.count > b.count : a.first < b.first;
  };
  const auto add = [&](const PageRun& run) {
    if (run.count == 0 || options.max_free_runs == 0) return;
    if (runs.size() == options.max_free_runs) {
      // The shortest is in front of the heap.
      if (!longer(run, runs.front())) return;
      std::pop_heap(runs.begin(), runs.end(), longer);
      runs.pop_back();
    }
    runs.push_back(run);
    std::push_heap(runs.begin(), runs.end(), longer);
  };
  PageRun run;
  for (std::uint64_t page = 0; page < table.pages(); ++page) {
    if ((table[page].flags & PageSummary::kUsed) != 0) {
      ++report.reachable;
      add(run);
      run.count = 0;
    } else if (run.count++ == 0) {
      run.first = page;
    }
  }
  add(run);
  std::sort(runs.begin(), runs.end(),
            [](const PageRun& a, const PageRun& b) { return a.first < b.first; });
  report.free = report.pages - report.reachable;
}

}  // namespace

Result<CheckReport> Check(const ReadableFile& file, const CheckOptions& options) {
  const CountingFile counted(file);
  ASSIGN_OR_RETURN(ChosenMeta chosen, ChooseMeta(counted, options.slot));
  const Meta& meta = chosen.meta;
  RETURN_IF_ERROR(CheckMemory(meta, options));

  CheckReport report;
  report.meta = meta;
  report.problem = std::move(chosen.problem);
  report.pages = meta.high_water_mark;

  PageTable table(meta.high_water_mark);
  RETURN_IF_ERROR(Survey(counted, meta, options, table));
  VerifyTree(counted, options, table, report);
  RETURN_IF_ERROR(VerifyFreelist(counted, options, table, report));
  CountPages(table, options, report);
  report.bytes_read = counted.bytes();
  return report;
}

}  // namespace rescue::bolt
