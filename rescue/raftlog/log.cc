#include "rescue/raftlog/log.h"

#include <fmt/format.h>

#include <charconv>

#include "rescue/base/units.h"
#include "rescue/raftlog/frame_reader.h"

namespace rescue::raftlog {
namespace {

constexpr std::size_t kHexDigits = 16;
constexpr std::string_view kSuffix = ".wal";

std::optional<std::uint64_t> ParseHex16(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

tl::unexpected<Error> LogChanged(std::string_view path, const EntryRef& ref) {
  return Fail(ErrorKind::kDataDamaged, "log-changed",
              fmt::format("read entry {} at {} of {}: something else is there", ref.index,
                          ref.record_offset, Printable(path)),
              "the file changed since it was inspected; stop etcd and inspect again");
}

}  // namespace

std::string FormatSegmentName(const SegmentName& name) {
  return fmt::format("{:016x}-{:016x}{}", name.sequence, name.first_index, kSuffix);
}

std::optional<SegmentName> ParseSegmentName(std::string_view file_name) {
  if (file_name.size() != 2 * kHexDigits + 1 + kSuffix.size()) return std::nullopt;
  if (file_name[kHexDigits] != '-' || !file_name.ends_with(kSuffix)) return std::nullopt;
  const auto sequence = ParseHex16(file_name.substr(0, kHexDigits));
  const auto first_index = ParseHex16(file_name.substr(kHexDigits + 1, kHexDigits));
  if (!sequence || !first_index) return std::nullopt;
  const SegmentName name{*sequence, *first_index};
  if (FormatSegmentName(name) != file_name) return std::nullopt;
  return name;
}

const SnapshotMark* Log::newest_mark() const {
  const std::uint64_t commit = hard_state ? hard_state->commit : 0;
  const SnapshotMark* newest = nullptr;
  for (const SnapshotMark& mark : marks) {
    if (mark.index <= commit && (newest == nullptr || mark.index >= newest->index)) newest = &mark;
  }
  return newest;
}

std::uint64_t Log::last_index() const {
  const std::uint64_t last = entries.empty() ? 0 : entries.back().index;
  const SnapshotMark* mark = newest_mark();
  return mark != nullptr && mark->index > last ? mark->index : last;
}

std::uint64_t Log::last_term() const {
  const SnapshotMark* mark = newest_mark();
  if (!entries.empty() && (mark == nullptr || mark->index <= entries.back().index)) {
    return entries.back().term;
  }
  return mark == nullptr ? 0 : mark->term;
}

bool Log::CanReplayAfter(std::uint64_t index) const {
  if (index > last_index()) return false;
  return index == last_index() || Find(index + 1) != nullptr;
}

const EntryRef* Log::Find(std::uint64_t index) const {
  if (entries.empty() || index < entries.front().index || index > entries.back().index) {
    return nullptr;
  }
  return &entries[static_cast<std::size_t>(index - entries.front().index)];
}

struct EntryReader::OpenSegment {
  OpenSegment(std::uint32_t number_in_log, std::unique_ptr<ReadableFile> opened)
      : number(number_in_log), file(std::move(opened)), frames(*file) {}
  std::uint32_t number;
  std::unique_ptr<ReadableFile> file;
  FrameReader frames;
};

EntryReader::EntryReader(const FileView& view, const Log& log) : view_(view), log_(log) {}
EntryReader::~EntryReader() = default;

Result<Entry> EntryReader::Read(const EntryRef& ref) {
  if (ref.segment >= log_.segments.size()) return LogChanged("the log", ref);
  const std::string& path = log_.segments[ref.segment].path;
  if (!open_ || open_->number != ref.segment) {
    ASSIGN_OR_RETURN(auto file, view_.Open(path));
    open_ = std::make_unique<OpenSegment>(ref.segment, std::move(file));
  }
  // Sized when the log was read, so a file that changed since cannot ask for more memory.
  const std::uint64_t limit = ref.data_offset + ref.data_size - ref.record_offset + kMiB;
  ASSIGN_OR_RETURN(const Frame frame, open_->frames.Read(ref.record_offset, limit));
  if (frame.kind != FrameKind::kFrame) return LogChanged(path, ref);
  const auto record = DecodeRecord(frame.record());
  if (!record || record->type != static_cast<std::uint64_t>(RecordType::kEntry)) {
    return LogChanged(path, ref);
  }
  auto entry = DecodeEntry(record->data);
  if (!entry || entry->index != ref.index || entry->term != ref.term || entry->type != ref.type ||
      entry->data.size() != ref.data_size) {
    return LogChanged(path, ref);
  }
  return entry;
}

Result<Entry> ReadEntry(const FileView& view, const Log& log, const EntryRef& ref) {
  return EntryReader(view, log).Read(ref);
}

Result<std::vector<Entry>> ReadConfChangeEntries(const FileView& view, const Log& log,
                                                 std::uint64_t after, std::uint64_t through) {
  EntryReader reader(view, log);
  std::vector<Entry> changes;
  for (const EntryRef& ref : log.entries) {
    if (ref.type == EntryType::kNormal || ref.index <= after || ref.index > through) continue;
    ASSIGN_OR_RETURN(Entry entry, reader.Read(ref));
    changes.push_back(std::move(entry));
  }
  return changes;
}

}  // namespace rescue::raftlog
