#include "rescue/bolt/transaction.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "rescue/bolt/check.h"
#include "rescue/bolt/format.h"
#include "rescue/bolt/meta.h"
#include "rescue/bolt/page_table.h"
#include "rescue/bolt/survey.h"
#include "rescue/bolt/tree_changer.h"
#include "rescue/bolt/tree_verifier.h"
#include "rescue/bolt/tree_writer.h"

namespace rescue::bolt {
namespace {

tl::unexpected<Error> BeyondLimit(std::string reason) {
  return Fail(ErrorKind::kRefused, "bolt-limit", std::move(reason),
              fmt::format("bbolt takes keys of 1 to {} bytes and values up to {} bytes",
                          kMaxKeySize, kMaxValueSize));
}

Status CheckLimits(ByteView key, std::uint64_t value_size) {
  if (key.empty() || key.size() > kMaxKeySize) {
    return BeyondLimit(fmt::format("a key of {} bytes: {}", key.size(), Printable(key, 40)));
  }
  if (value_size > kMaxValueSize) {
    return BeyondLimit(
        fmt::format("a value of {} bytes for key {}", value_size, Printable(key, 40)));
  }
  return {};
}

struct ViewLess {
  bool operator()(ByteView a, ByteView b) const { return AsText(a) < AsText(b); }
};

// The request in order, each bucket and each key once. Holds views of the request.
class SortedRequest {
 public:
  static Result<SortedRequest> Make(const TransactionRequest& request) {
    std::map<ByteView, std::map<ByteView, KeyEdit, ViewLess>, ViewLess> keys;
    SortedRequest sorted;
    for (const BucketChanges& bucket : request.buckets) {
      const ByteView name = AsBytes(bucket.bucket);
      RETURN_IF_ERROR(CheckLimits(name, 0));
      auto& here = keys[name];
      if (bucket.clear) {
        here.clear();
        sorted.edits_[name].clear = true;
      }
      for (const KeyChange& change : bucket.keys) {
        RETURN_IF_ERROR(CheckLimits(change.key, change.value ? change.value->size() : 0));
        KeyEdit edit{change.key, std::nullopt, nullptr};
        if (change.value) edit.value = ByteView(*change.value);
        here.insert_or_assign(change.key, edit);
      }
    }
    for (const BucketRoot& root : request.roots) {
      const ByteView name = AsBytes(root.bucket);
      RETURN_IF_ERROR(CheckLimits(name, 0));
      keys[name];
      sorted.edits_[name].root_page = root.root_page;
    }
    for (const auto& [name, here] : keys) {
      BucketEdit& edit = sorted.edits_[name];
      for (const auto& [key, key_edit] : here) edit.keys.push_back(key_edit);
      sorted.buckets_.push_back({name, std::nullopt, &edit});
    }
    return sorted;
  }

  std::span<const KeyEdit> buckets() const { return buckets_; }

 private:
  std::map<ByteView, BucketEdit, ViewLess> edits_;  // its nodes stay where they are
  std::vector<KeyEdit> buckets_;
};

std::uint64_t EndOf(const PageRun& run) { return run.first + run.count; }

tl::unexpected<Error> BadRun(const PageRun& run, std::string_view reason) {
  return Fail(
      ErrorKind::kRefused, "bolt-free-run",
      fmt::format("{} pages from page {} cannot be used as free: {}", run.count, run.first, reason),
      "run the full check again: it names the free pages");
}

// In ascending order, joined where they touch.
Result<std::vector<PageRun>> SortRuns(std::vector<PageRun> runs, const Meta& meta) {
  std::erase_if(runs, [](const PageRun& run) { return run.count == 0; });
  std::sort(runs.begin(), runs.end(),
            [](const PageRun& a, const PageRun& b) { return a.first < b.first; });
  std::vector<PageRun> joined;
  for (const PageRun& run : runs) {
    if (run.first < 2 || run.first >= meta.high_water_mark ||
        run.count > meta.high_water_mark - run.first) {
      return BadRun(run, fmt::format("pages are 2 to {}", meta.high_water_mark - 1));
    }
    if (!joined.empty() && run.first <= EndOf(joined.back())) {
      joined.back().count = std::max(EndOf(joined.back()), EndOf(run)) - joined.back().first;
    } else {
      joined.push_back(run);
    }
  }
  return joined;
}

// The runs are sorted.
Status RefuseOverlap(const std::vector<PageRun>& runs, const std::vector<PageRun>& used) {
  for (const PageRun& page : used) {
    const auto starts_above = [&](const PageRun& run) { return run.first < EndOf(page); };
    const auto after = std::partition_point(runs.begin(), runs.end(), starts_above);
    if (after == runs.begin()) continue;
    const PageRun& before = *std::prev(after);
    if (EndOf(before) > page.first) {
      return BadRun(before, fmt::format("page {} is in use", page.first));
    }
  }
  return {};
}

// Where a stored freelist lies, sound or not: at least its first page.
PageRun FreelistPages(const ReadableFile& file, const Meta& meta) {
  const std::uint64_t page = meta.freelist_page;
  if (page < 2 || page >= meta.high_water_mark) return {};
  PageRun pages{page, 1};
  const auto bytes = ReadExactly(file, page * meta.page_size, sizeof(PageHeader));
  if (!bytes) return pages;
  const auto header = *ByteReader(*bytes).Read<PageHeader>();
  if (header.id == page && header.flags == kFreelistPage) {
    pages.count += std::min<std::uint64_t>(header.overflow, meta.high_water_mark - page - 1);
  }
  return pages;
}

// A stored freelist stays readable until the new meta page counts.
std::vector<PageRun> Without(const std::vector<PageRun>& runs, const PageRun& kept) {
  std::vector<PageRun> rest;
  const auto add = [&](std::uint64_t first, std::uint64_t end) {
    if (first < end) rest.push_back({first, end - first});
  };
  for (const PageRun& run : runs) {
    add(run.first, std::min(EndOf(run), std::max(run.first, kept.first)));
    add(std::max(run.first, std::min(EndOf(run), EndOf(kept))), EndOf(run));
  }
  return rest;
}

// Where the tree must be cut, from a check of its own.
Result<CutPlan> FindCuts(const ReadableFile& file, const Meta& meta,
                         const std::vector<std::uint64_t>& drop_pages,
                         const std::vector<PageRun>& free_runs) {
  CutFinder finder;
  finder.wanted.insert(drop_pages.begin(), drop_pages.end());
  CheckOptions options;
  options.max_problems = 0;
  options.max_buckets = 0;
  const std::uint64_t needed = PageTable::MemoryNeeded(meta.high_water_mark);
  if (needed > options.max_memory) {
    return Fail(ErrorKind::kRefused, "bolt-too-large",
                fmt::format("{} pages need {} bytes of memory, {} are allowed",
                            meta.high_water_mark, needed, options.max_memory),
                "use a machine with more memory");
  }
  PageTable table(meta.high_water_mark);
  CheckReport report;
  report.meta = meta;
  RETURN_IF_ERROR(Survey(file, meta, options, table));
  VerifyTree(file, options, table, report, &finder);
  if (finder.cuts_root) {
    return Fail(ErrorKind::kDataDamaged, "bolt-drop-root",
                "drop damaged pages: the root of all buckets is one of them",
                "try the older meta page, or restore from a backup");
  }
  for (const std::uint64_t page : finder.wanted) {
    // 0 stands for a problem that every commit solves.
    if (page == 0 || finder.found.contains(page)) continue;
    return Fail(ErrorKind::kRefused, "bolt-drop-sound",
                fmt::format("drop damaged pages: page {} has no problem", page),
                "run the full check again: it names the pages that can be dropped");
  }
  for (const PageRun& run : free_runs) {
    for (std::uint64_t page = run.first; page < EndOf(run); ++page) {
      if ((table[page].flags & PageSummary::kUsed) == 0) continue;
      return BadRun(run, fmt::format("page {} is in use", page));
    }
  }
  return std::move(finder.plan);
}

// Transaction N lies in slot N % 2, and the new one must not lie over the one that counts: one
// further, in every file that bbolt wrote.
Result<Meta> NextMeta(const Meta& meta) {
  Meta next = meta;
  next.slot = 1 - meta.slot;
  next.freelist_page = kNoFreelist;
  next.transaction_id += 1;
  if (next.transaction_id % 2 != static_cast<std::uint64_t>(next.slot)) next.transaction_id += 1;
  if (next.transaction_id > meta.transaction_id) return next;
  return Fail(ErrorKind::kDataDamaged, "bolt-meta-bounds",
              fmt::format("no transaction comes after number {}", meta.transaction_id),
              "restore from a backup");
}

Bytes EncodeMeta(const Meta& meta) {
  PageHeader header;
  header.id = static_cast<std::uint64_t>(meta.slot);
  header.flags = kMetaPage;
  MetaBody body;
  body.magic = kMagic;
  body.version = kVersion;
  body.page_size = static_cast<std::uint32_t>(meta.page_size);
  body.root_page = meta.root_page;
  body.root_sequence = meta.root_sequence;
  body.freelist_page = meta.freelist_page;
  body.high_water_mark = meta.high_water_mark;
  body.transaction_id = meta.transaction_id;
  body.checksum = MetaChecksum(body);
  Bytes bytes;
  Append(bytes, std::as_bytes(std::span(&header, 1)));
  Append(bytes, std::as_bytes(std::span(&body, 1)));
  return bytes;
}

CommitPlan NothingToDo(const Meta& meta) {
  CommitPlan plan;
  plan.transaction_id = meta.transaction_id;
  plan.slot = meta.slot;
  plan.high_water_mark = meta.high_water_mark;
  return plan;
}

// 1. The new pages, in ascending order: nothing that the current meta page shows.
// 2. When they are durable, the meta page over the one that does not count.
CommitPlan MakePlan(const std::string& path, const Meta& meta,
                    std::map<std::uint64_t, Bytes>& pages) {
  CommitPlan plan;
  plan.transaction_id = meta.transaction_id;
  plan.slot = meta.slot;
  plan.high_water_mark = meta.high_water_mark;
  const auto add = [&](std::uint64_t offset, Bytes bytes) {
    plan.bytes_written += bytes.size();
    plan.edits.emplace_back(edit::WriteRange{path, offset, std::move(bytes)});
  };
  for (auto& [page, bytes] : pages) add(page * meta.page_size, std::move(bytes));
  plan.pages_written = plan.bytes_written / meta.page_size;
  add(static_cast<std::uint64_t>(meta.slot) * meta.page_size, EncodeMeta(meta));
  return plan;
}

// What writes the new pages: behind those that are there already.
TreeWriter WriterFor(Meta meta, std::vector<PageRun> free_runs, std::uint64_t high_water_mark) {
  meta.high_water_mark = std::max(meta.high_water_mark, high_water_mark);
  return {meta, std::move(free_runs)};
}

Result<CommitPlan> Plan(const ReadableFile& file, const std::string& path, const Meta& meta,
                        const TransactionRequest& request) {
  ASSIGN_OR_RETURN(const SortedRequest sorted, SortedRequest::Make(request));
  ASSIGN_OR_RETURN(const std::vector<PageRun> free_runs, SortRuns(request.free_runs, meta));
  const bool drops = !request.drop_pages.empty();
  CutPlan cuts;
  if (drops) {
    ASSIGN_OR_RETURN(cuts, FindCuts(file, meta, request.drop_pages, free_runs));
  }
  TreeChanger changer(file, meta);
  Tree root;
  root.root_page = meta.root_page;
  RETURN_IF_ERROR(changer.Cut(root, cuts));
  ASSIGN_OR_RETURN(const bool changed, changer.Change(root, sorted.buckets()));
  if (!changed && !drops) return NothingToDo(meta);

  RETURN_IF_ERROR(RefuseOverlap(free_runs, changer.pages_read()));

  ASSIGN_OR_RETURN(Meta next, NextMeta(meta));
  const PageRun freelist = FreelistPages(file, meta);
  TreeWriter writer =
      WriterFor(meta, freelist.count == 0 ? free_runs : Without(free_runs, freelist),
                request.high_water_mark);
  ASSIGN_OR_RETURN(next.root_page, writer.Write(root));
  next.high_water_mark = writer.high_water_mark();
  return MakePlan(path, next, writer.pages());
}

}  // namespace

Result<CommitPlan> PlanCommit(const ReadableFile& file, const std::string& path,
                              const TransactionRequest& request) {
  ASSIGN_OR_RETURN(const ChosenMeta chosen, ChooseMeta(file, std::nullopt));
  auto plan = Plan(file, path, chosen.meta, request);
  if (plan) return plan;
  Error error = std::move(plan).error();
  return Fail(std::move(error.Within("plan a commit to " + Printable(path))));
}

}  // namespace rescue::bolt
