#include "rescue/edit/draft.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>
#include <optional>

#include "rescue/base/units.h"
#include "rescue/edit/names.h"
#include "rescue/edit/overlay.h"

namespace rescue::edit {
namespace {

constexpr std::uint64_t kBlock = 4096;  // ext4's block; what one more byte can cost
constexpr std::size_t kHashPiece = 1 << 20;
// Room for what BILT and DONE say about the files of a directory that is built: a few files.
constexpr std::uint64_t kBuiltBytes = std::uint64_t{16} << 10;

std::uint64_t RoundUp(std::uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

tl::unexpected<Error> TooLarge(std::string_view what) {
  return Fail(ErrorKind::kRefused, "plan-too-large", fmt::format("prepare the journal: {}", what));
}

// Walks over the edits once and notes, under their former names, the entries that they touch.
class FormerCollector {
 public:
  FormerCollector(const FileView& data, const EditList& edits)
      : data_(data), edits_(edits), names_(NameEdits(edits)) {}

  Status Collect() {
    for (const Edit& edit : edits_) {
      RETURN_IF_ERROR(std::visit([this](const auto& e) { return Visit(e); }, edit));
      if (ChangesNames(edit)) ++step_;
    }
    return {};
  }

  std::vector<Former> TakeFormer() {
    std::vector<Former> list;
    for (auto& [path, entry] : touched_) {
      entry.former.saved = Merged(std::move(entry.former.saved));
      list.push_back(std::move(entry.former));
    }
    return list;
  }

  std::vector<Growth> growth() const {
    std::vector<Growth> list;
    for (const auto& [storage, balance] : balances_) {
      list.push_back({storage, balance.path, balance.most});
    }
    return list;
  }

 private:
  struct Balance {
    std::string path;
    std::uint64_t grown = 0;
    std::uint64_t freed = 0;
    std::uint64_t most = 0;
  };

  struct Touched {
    Former former;
    std::uint64_t size = 0;   // at this point of the walk
    std::uint64_t freed = 0;  // bytes of storage that cuts gave back
    bool emptied = false;
  };

  // The entry that is at `path` now; nothing when an edit made it.
  Result<Touched*> Touch(std::string_view path) {
    const auto former = FormerPath(names_, step_, path);
    if (!former) return nullptr;
    const auto known = touched_.find(*former);
    if (known != touched_.end()) return &known->second;
    Touched entry;
    entry.former.path = *former;
    ASSIGN_OR_RETURN(entry.former.status, data_.Stat(*former));
    entry.size = entry.former.status.size;
    entry.former.min_size = entry.former.max_size = entry.size;
    return &(touched_[*former] = std::move(entry));
  }

  static void Save(Touched& entry, std::uint64_t offset, std::uint64_t length) {
    const std::uint64_t size = entry.former.status.size;
    if (offset >= size) return;
    entry.former.saved.push_back({offset, std::min(length, size - offset)});
  }

  static void Resize(Touched& entry, std::uint64_t size) {
    entry.size = size;
    entry.former.min_size = std::min(entry.former.min_size, size);
    entry.former.max_size = std::max(entry.former.max_size, size);
  }

  Status Visit(const WriteRange& e) {
    ASSIGN_OR_RETURN(Touched * entry, Touch(e.path));
    if (entry == nullptr) {
      Grow(e.path, RoundUp(e.bytes.size()));
      return {};
    }
    if (e.bytes.empty()) return {};
    Save(*entry, e.offset, e.bytes.size());
    RETURN_IF_ERROR(FillHoles(*entry, e));
    const std::uint64_t end = e.offset + e.bytes.size();
    if (end > entry->size) {
      Grow(e.path, RoundUp(std::min<std::uint64_t>(end - entry->size, e.bytes.size())));
      Resize(*entry, end);
    }
    return {};
  }

  Status Visit(const Truncate& e) {
    ASSIGN_OR_RETURN(Touched * entry, Touch(e.path));
    if (entry == nullptr) return {};
    Save(*entry, e.size, std::numeric_limits<std::uint64_t>::max());
    Resize(*entry, e.size);
    if (e.size == 0) entry->emptied = true;
    ASSIGN_OR_RETURN(const auto file, data_.Open(entry->former.path));
    // What is left has all the storage that it can have; the rest is given back.
    const std::uint64_t left = RoundUp(e.size);
    const std::uint64_t freed = file->allocated() > left ? file->allocated() - left : 0;
    if (freed <= entry->freed) return {};
    BalanceAt(e.path).freed += freed - entry->freed;
    entry->freed = freed;
    return {};
  }

  Status Visit(const CreateFile& e) {
    Grow(e.path, RoundUp(e.content.size()) + kBlock);  // the name may need a block, too
    return Status(TouchOnly(ParentPath(e.path)));
  }

  Status Visit(const MakeDirectory& e) {
    Grow(e.path, 2 * kBlock);
    return TouchOnly(ParentPath(e.path));
  }

  Status Visit(const BuildDirectory& e) {
    Grow(e.path, RoundUp(e.bytes) + 2 * kBlock);
    return TouchOnly(ParentPath(e.path));
  }

  Status Visit(const Exchange& e) {
    for (const std::string& path : {e.first, e.second}) {
      RETURN_IF_ERROR(TouchOnly(path));
      RETURN_IF_ERROR(TouchOnly(ParentPath(path)));
    }
    return {};
  }

  Status Visit(const Rename& e) {
    Grow(e.to, kBlock);
    RETURN_IF_ERROR(TouchOnly(e.from));
    RETURN_IF_ERROR(TouchOnly(ParentPath(e.from)));
    return TouchOnly(ParentPath(e.to));
  }

  Status Visit(const Remove& e) {
    ASSIGN_OR_RETURN(Touched * entry, Touch(e.path));
    if (entry != nullptr && entry->former.status.type == FileType::kRegular) {
      Save(*entry, 0, std::numeric_limits<std::uint64_t>::max());
      entry->former.min_size = 0;
    }
    return TouchOnly(ParentPath(e.path));
  }

  Status Visit(const SetAttributes& e) { return TouchOnly(e.path); }

  // Blocks that a write needs although it stays within the file's former end.
  Status FillHoles(const Touched& entry, const WriteRange& e) {
    if (entry.emptied || e.offset >= entry.former.status.size) return {};
    ASSIGN_OR_RETURN(const auto file, data_.Open(entry.former.path));
    const std::uint64_t length =
        std::min<std::uint64_t>(e.bytes.size(), entry.former.status.size - e.offset);
    const std::uint64_t missing = file->unallocated(e.offset, length);
    if (missing > 0) Grow(e.path, RoundUp(missing));
    return {};
  }

  Balance& BalanceAt(const std::string& path) {
    const auto [at, is_new] = balances_.try_emplace(data_.StorageOf(path));
    if (is_new) at->second.path = path;
    return at->second;
  }

  void Grow(const std::string& path, std::uint64_t bytes) {
    Balance& balance = BalanceAt(path);
    balance.grown += bytes;
    if (balance.grown <= balance.freed) return;
    balance.most = std::max(balance.most, balance.grown - balance.freed);
  }

  Status TouchOnly(std::string_view path) {
    ASSIGN_OR_RETURN([[maybe_unused]] const Touched* entry, Touch(path));
    return {};
  }

  const FileView& data_;
  const EditList& edits_;
  const std::vector<const Edit*> names_;
  std::size_t step_ = 0;
  std::map<std::string, Touched> touched_;
  std::map<std::uint64_t, Balance> balances_;  // by storage
};

// Which ranges of which final file the edits have written.
std::map<std::string, std::vector<Range>> WrittenRanges(const EditList& edits) {
  const auto names = NameEdits(edits);
  std::map<std::string, std::vector<Range>> written;
  std::size_t step = 0;
  for (const Edit& edit : edits) {
    if (ChangesNames(edit)) ++step;
    std::string path;
    Range range;
    if (const auto* write = std::get_if<WriteRange>(&edit)) {
      path = write->path;
      range = {write->offset, write->bytes.size()};
    } else if (const auto* create = std::get_if<CreateFile>(&edit)) {
      path = create->path;
      range = {0, create->content.size()};
    } else if (const auto* truncate = std::get_if<Truncate>(&edit)) {
      path = truncate->path;
    } else if (const auto* rename = std::get_if<Rename>(&edit)) {
      path = rename->to;
    } else {
      continue;
    }
    if (const auto final_path = LaterPath(names, step, names.size(), path)) {
      written[*final_path].push_back(range);
    }
  }
  return written;
}

Result<std::vector<After>> ExpectedAfter(const FileView& result, const EditList& edits) {
  std::vector<After> list;
  for (auto& [path, ranges] : WrittenRanges(edits)) {
    ASSIGN_OR_RETURN(const FileStatus status, result.Stat(path));
    if (status.type != FileType::kRegular) continue;
    After after;
    after.path = path;
    after.size = status.size;
    for (const Range& range : Merged(ranges)) {
      if (range.offset >= status.size) continue;
      after.written.push_back({range.offset, std::min(range.length, status.size - range.offset)});
    }
    ASSIGN_OR_RETURN(after.digest, DigestOf(result, path, after.written));
    list.push_back(std::move(after));
  }
  return list;
}

// The first byte is zero and every byte equals the next one: memcmp is far quicker than a loop over
// the 64 MB of a log segment.
bool IsZero(ByteView bytes) {
  if (bytes.empty()) return true;
  return bytes[0] == std::byte{0} &&
         std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0;
}

Status PiecesOfRange(const ReadableFile& file, std::size_t former, const Range& range,
                     const TakePiece& take) {
  SavedPiece zeros{former, range.offset, 0, 0, true};
  const std::uint64_t end = range.offset + range.length;
  for (std::uint64_t at = range.offset; at < end; at += kPieceBytes) {
    const std::uint64_t length = std::min<std::uint64_t>(kPieceBytes, end - at);
    ASSIGN_OR_RETURN(const Bytes bytes, ReadExactly(file, at, length));
    if (IsZero(bytes)) {
      if (zeros.length == 0) zeros.offset = at;
      zeros.length += length;
      continue;
    }
    if (zeros.length > 0) RETURN_IF_ERROR(take(zeros, {}));
    zeros.length = 0;
    RETURN_IF_ERROR(take(SavedPiece{former, at, length, 0, false}, bytes));
  }
  if (zeros.length > 0) RETURN_IF_ERROR(take(zeros, {}));
  return {};
}

}  // namespace

Result<std::string> NamesNow(const FileView& view, const std::vector<std::string>& paths) {
  std::string letters;
  letters.reserve(paths.size());
  for (const std::string& path : paths) {
    const auto status = view.Stat(path);
    if (status) {
      letters.push_back(status->type == FileType::kRegular     ? 'f'
                        : status->type == FileType::kDirectory ? 'd'
                                                               : '?');
    } else if (IsNotFound(status.error())) {
      letters.push_back('-');
    } else {
      return Fail(status.error());
    }
  }
  return letters;
}

Result<Sha256Digest> DigestOf(const FileView& view, std::string_view path,
                              const std::vector<Range>& ranges) {
  ASSIGN_OR_RETURN(const auto file, view.Open(path));
  Sha256Hasher hasher;
  for (const Range& range : ranges) {
    const std::uint64_t end = range.offset + range.length;
    for (std::uint64_t at = range.offset; at < end; at += kHashPiece) {
      ASSIGN_OR_RETURN(const Bytes bytes,
                       ReadExactly(*file, at, std::min<std::uint64_t>(kHashPiece, end - at)));
      hasher.Update(bytes);
    }
  }
  return hasher.Finish();
}

Result<Draft> MakeDraft(const FileView& data, const EditList& edits, std::string_view note) {
  Draft draft;
  JournalPlan& plan = draft.plan;
  plan.edits = edits;
  plan.fingerprint = Fingerprint(edits);
  plan.note = std::string(note);
  plan.paths = NamedPaths(edits);
  const std::size_t steps = NameEdits(edits).size() + 1;
  if (std::uint64_t{plan.paths.size()} * steps > kMaxNameCells) {
    return TooLarge(fmt::format("{} names in {} steps", plan.paths.size(), steps));
  }

  ASSIGN_OR_RETURN(std::string names, NamesNow(data, plan.paths));
  plan.steps.push_back(std::move(names));
  const auto observe = [&](const Overlay& overlay, std::size_t index) -> Status {
    if (!ChangesNames(edits[index])) return {};
    ASSIGN_OR_RETURN(std::string now, NamesNow(overlay, plan.paths));
    if (now == plan.steps.back()) {
      return Fail(ErrorKind::kRefused, "plan-stale",
                  Describe(edits[index]) + ": nothing would tell whether it was done");
    }
    plan.steps.push_back(std::move(now));
    return {};
  };
  ASSIGN_OR_RETURN(const auto result, Overlay::Make(data, edits, observe));

  FormerCollector collector(data, edits);
  RETURN_IF_ERROR(collector.Collect());
  plan.former = collector.TakeFormer();
  draft.growth = collector.growth();
  ASSIGN_OR_RETURN(draft.after, ExpectedAfter(*result, edits));
  return draft;
}

Status ForEachPiece(const FileView& data, const JournalPlan& plan, const TakePiece& take) {
  for (std::size_t i = 0; i < plan.former.size(); ++i) {
    const Former& former = plan.former[i];
    if (former.saved.empty()) continue;
    ASSIGN_OR_RETURN(const auto file, data.Open(former.path));
    for (const Range& range : former.saved) {
      RETURN_IF_ERROR(PiecesOfRange(*file, i, range, take));
    }
  }
  return {};
}

std::uint64_t TailBytes(const Draft& draft) {
  // Each step is recorded once on the way there and once on the way back; the last record's times
  // are at their longest here.
  const std::uint64_t steps = 2 * draft.plan.steps.size() * (sizeof(DiskFrame) + sizeof(DiskStep));
  std::vector<After> longest = draft.after;
  for (After& after : longest) after.modified = std::numeric_limits<TimeNs>::min();
  const auto builds =
      std::count_if(draft.plan.edits.begin(), draft.plan.edits.end(),
                    [](const Edit& edit) { return std::holds_alternative<BuildDirectory>(edit); });
  return steps + sizeof(DiskFrame) + EncodeAfter(longest).size() +
         2 * static_cast<std::uint64_t>(builds) * kBuiltBytes;
}

Result<std::uint64_t> JournalBytes(const FileView& data, const Draft& draft) {
  const std::uint64_t plan_bytes = EncodePlan(draft.plan).size();
  if (plan_bytes > kMaxPlanBytes) {
    return TooLarge(fmt::format("the plan takes {}, at most {} are possible",
                                FormatSize(plan_bytes), FormatSize(kMaxPlanBytes)));
  }
  std::uint64_t bytes = sizeof(DiskHeader) + sizeof(DiskFrame) + plan_bytes;
  bytes += sizeof(DiskFrame) + sizeof(Sha256Digest) + TailBytes(draft);
  RETURN_IF_ERROR(ForEachPiece(data, draft.plan, [&](const SavedPiece& piece, ByteView) -> Status {
    bytes += sizeof(DiskFrame) + (piece.zero ? sizeof(DiskZero) : sizeof(DiskSave) + piece.length);
    return {};
  }));
  return bytes;
}

}  // namespace rescue::edit
