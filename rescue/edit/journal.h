// The journal file: its content as values, and its reader. FORMAT.md describes the bytes.
// Used by the executor only; callers see JournalInfo (executor.h).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/checksum.h"
#include "rescue/base/endian.h"
#include "rescue/base/file.h"
#include "rescue/edit/edit.h"

namespace rescue::edit {

inline constexpr std::string_view kJournalMagic = "rescuejl";
inline constexpr std::uint32_t kJournalVersion = 1;
// The journal's directory was made for it and goes with it.
inline constexpr std::uint32_t kMadeDirectory = 1;
// Content is saved in pieces of at most this many bytes.
inline constexpr std::size_t kPieceBytes = std::size_t{64} * 1024;
// Bounds what a reader allocates; a plan is a few KiB, at most the log's tail (tens of MiB).
inline constexpr std::uint64_t kMaxPlanBytes = std::uint64_t{256} << 20;
// Steps times named paths; a plan has about ten of each.
inline constexpr std::uint64_t kMaxNameCells = 4'000'000;

struct DiskHeader {
  std::array<char, 8> magic;
  ul32 version;
  ul32 flags;
  ul32 crc;  // CRC-32C of the bytes before
};
static_assert(sizeof(DiskHeader) == 20);

struct DiskFrame {
  std::array<char, 4> kind;
  ul32 length;  // of the payload, bytes
  ul32 crc;     // CRC-32C of kind, length and payload
};
static_assert(sizeof(DiskFrame) == 12);

// Kinds of records, in the order in which they come.
inline constexpr std::string_view kPlanRecord = "PLAN";      // JSON
inline constexpr std::string_view kSaveRecord = "SAVE";      // DiskSave + content
inline constexpr std::string_view kZeroRecord = "ZERO";      // DiskZero
inline constexpr std::string_view kPreparedRecord = "PREP";  // SHA-256 of all bytes before it
inline constexpr std::string_view kStepRecord = "STEP";      // DiskStep
inline constexpr std::string_view kBuiltRecord = "BILT";     // JSON as DONE has it
inline constexpr std::string_view kDoneRecord = "DONE";      // JSON

struct DiskSave {
  ul32 former;  // index into the plan's list of former states
  ul64 offset;
};
struct DiskZero {
  ul32 former;
  ul64 offset;
  ul64 length;
};
struct DiskStep {
  ul32 step;     // name edits that are done
  ul32 undoing;  // 0 while applying, 1 while taking back
};

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool operator==(const Range&) const = default;
};
// Sorted, disjoint, not empty, not touching.
std::vector<Range> Merged(std::vector<Range> ranges);

// How an entry looked before the first edit, with what is needed to make it so again.
struct Former {
  std::string path;
  FileStatus status;
  // Sizes that a regular file can have while the edits are under way.
  std::uint64_t min_size = 0;
  std::uint64_t max_size = 0;
  std::vector<Range> saved;  // content in the journal: what is overwritten, cut off or removed
  bool operator==(const Former&) const = default;
};

// How a regular file looks after the last edit.
struct After {
  std::string path;
  std::uint64_t size = 0;
  TimeNs modified = 0;
  std::vector<Range> written;
  Sha256Digest digest{};  // of the written ranges, one after the other
  bool operator==(const After&) const = default;
};

struct JournalPlan {
  EditList edits;
  std::string fingerprint;
  std::string note;
  // What is at each named path (names.h) at each step: a letter each, '-' nothing, 'f' a file, 'd'
  // a directory. Neighbouring steps differ, so the files themselves tell which one was reached.
  std::vector<std::string> paths;
  std::vector<std::string> steps;
  std::vector<Former> former;  // sorted by path
  bool operator==(const JournalPlan&) const = default;
};

// One piece of saved content, in the order of Former and Former::saved.
struct SavedPiece {
  std::size_t former = 0;
  std::uint64_t offset = 0;  // in the file
  std::uint64_t length = 0;
  std::uint64_t position = 0;  // of the content in the journal; unused when zero
  bool zero = false;
};

struct Journal {
  bool complete = false;  // the fields below it are filled only then
  std::uint32_t flags = 0;

  JournalPlan plan;
  std::vector<SavedPiece> saved;
  std::uint64_t end = 0;  // where the next record goes
  std::uint32_t step = 0;
  bool undoing = false;
  // What the finished BuildDirectory edits have made, under the paths that it was built at.
  std::vector<After> built;
  std::optional<std::vector<After>> after;  // set when all edits are durable
};

// Errors: "journal-damaged" (kUnfinishedJournal) when it was complete once and is not readable now;
// "journal-version" when a newer program wrote it. A journal that never became complete is no
// error.
Result<Journal> ReadJournal(const ReadableFile& file);

Bytes EncodeHeader(std::uint32_t flags);
Bytes EncodeRecord(std::string_view kind, ByteView payload);

// The JSON of PLAN and DONE records. Decoding checks everything that can be checked without the
// data directory: paths are clean, ranges lie within their files, tables agree with the edits.
std::string EncodePlan(const JournalPlan& plan);
Result<JournalPlan> DecodePlan(std::string_view json);
std::string EncodeAfter(const std::vector<After>& after);
Result<std::vector<After>> DecodeAfter(std::string_view json);

}  // namespace rescue::edit
