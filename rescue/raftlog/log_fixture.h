// For this room's tests: real logs from tests/fixtures/raftlog, in memory and taken apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "rescue/base/endian.h"
#include "rescue/edit/edit.h"
#include "rescue/edit/memory_file_system.h"
#include "rescue/raftlog/log.h"
#include "rescue/raftlog/record.h"
#include "tests/support/fixtures.h"

namespace rescue::raftlog::testing {

using rescue::testing::MemoryFileSystem;

// A real member's `wal` or `snap` folder holds one file in each fixture.
inline Bytes ReadOnlyFileIn(const std::string& folder) {
  namespace fs = std::filesystem;
  const fs::path path = rescue::testing::FixturePath("raftlog/" + folder);
  return rescue::testing::ReadFileBytes(fs::directory_iterator(path)->path());
}
inline Bytes SegmentOf(const std::string& fixture) { return ReadOnlyFileIn(fixture + "/wal"); }
inline Bytes SnapOf(const std::string& fixture) { return ReadOnlyFileIn(fixture + "/snap"); }

using SegmentContents = std::vector<std::pair<SegmentName, Bytes>>;

inline std::unique_ptr<MemoryFileSystem> ViewOf(const SegmentContents& segments) {
  auto view = std::make_unique<MemoryFileSystem>();
  for (const auto& [name, content] : segments) {
    view->AddFile("wal/" + FormatSegmentName(name), content);
  }
  return view;
}

inline Result<Log> ReadSegments(const SegmentContents& segments, const ReadOptions& options = {}) {
  return ReadLog(*ViewOf(segments), "wal", options);
}
inline Result<Log> ReadSegment(ByteView content) {
  return ReadSegments({{SegmentName{}, ToBytes(content)}});
}

// One record of a segment, as it lies there.
struct RawRecord {
  std::size_t offset = 0;
  std::size_t frame_size = 0;
  RecordType type = RecordType::kEntry;
  std::uint32_t crc = 0;
  Bytes data;
};

// The frames up to the first that is none, checksums unseen.
inline std::vector<RawRecord> SplitRecords(ByteView segment) {
  std::vector<RawRecord> records;
  std::size_t offset = 0;
  while (segment.size() - offset >= kLengthWordBytes) {
    ul64 word;
    std::memcpy(&word, segment.data() + offset, sizeof(word));
    const FrameSize size = DecodeLengthWord(word);
    if (word == 0 || size.payload() > segment.size() - offset - kLengthWordBytes) break;
    const auto record = DecodeRecord(
        segment.subspan(offset + kLengthWordBytes, static_cast<std::size_t>(size.record)));
    if (!record) break;
    const auto frame_size = static_cast<std::size_t>(size.frame());
    records.push_back({offset, frame_size, static_cast<RecordType>(record->type), record->crc,
                       ToBytes(record->data)});
    offset += frame_size;
  }
  return records;
}

inline std::size_t EndOf(const std::vector<RawRecord>& records) {
  return records.empty() ? 0 : records.back().offset + records.back().frame_size;
}

// Writes all records anew so that every checksum is right; what follows them stays.
inline void RecomputeChecksums(Bytes& segment) {
  const auto records = SplitRecords(segment);
  RecordWriter writer(0);
  for (const RawRecord& record : records) {
    if (record.type == RecordType::kCrc) {
      writer.WriteCrc();
    } else {
      writer.Write(record.type, record.data);
    }
  }
  Bytes repaired = writer.Take();
  Append(repaired, ByteView(segment).subspan(EndOf(records)));
  segment = std::move(repaired);
}

// `content` after a WriteRange edit.
inline Bytes Overwritten(Bytes content, const edit::EditList& edits) {
  for (const edit::Edit& edit : edits) {
    const auto& write = std::get<edit::WriteRange>(edit);
    content.resize(
        std::max(content.size(), static_cast<std::size_t>(write.offset) + write.bytes.size()));
    std::copy(write.bytes.begin(), write.bytes.end(),
              content.begin() + static_cast<std::ptrdiff_t>(write.offset));
  }
  return content;
}

}  // namespace rescue::raftlog::testing
