// Private to the room: walks through the frames of one segment file with a bounded buffer.
#pragma once

#include <cstdint>
#include <memory>

#include "rescue/base/file.h"
#include "rescue/raftlog/record.h"

namespace rescue::raftlog {

enum class FrameKind {
  kFrame,      // a whole frame; what is in it is not checked yet
  kZeroWord,   // preallocated space: the end of the segment
  kEndOfFile,  // the end of the segment, too
  kCutShort,   // a length word that is cut, or reaches past the end of the file
};

struct Frame {
  FrameKind kind = FrameKind::kEndOfFile;
  std::uint64_t offset = 0;  // of the length word
  FrameSize size;            // kFrame and a whole kCutShort only
  ByteView payload;          // record and padding; valid until the next call
  ByteView record() const { return payload.first(static_cast<std::size_t>(size.record)); }
};

class FrameReader {
 public:
  explicit FrameReader(const ReadableFile& file) : file_(file) {}

  // The frame at `offset`. Fails with "log-too-large" for a record that lies in the file but is
  // larger than `max_record_bytes`.
  Result<Frame> Read(std::uint64_t offset, std::uint64_t max_record_bytes);
  // Up to `count` bytes at `offset`, fewer only at the end of the file; valid until the next call.
  Result<ByteView> Peek(std::uint64_t offset, std::uint64_t count);

  std::uint64_t file_size() const { return file_.size(); }

 private:
  const ReadableFile& file_;
  Bytes buffer_;
  std::uint64_t buffer_offset_ = 0;
};

// Behind the last byte of the file that is not zero, but not less than `from`.
Result<std::uint64_t> FindNonzeroEnd(const ReadableFile& file, std::uint64_t from);

// What etcd takes for a torn write: a part of the payload that lies in one 512-byte sector of the
// file is all zeros. etcd: wal/decoder.go, isTornEntry.
bool HasZeroSector(const Frame& frame);

// Records behind the end of a log.
struct RecordsBehind {
  std::uint64_t count = 0;
  std::uint64_t first_index = 0;  // of the entries among them, 0 = none
  std::uint64_t last_index = 0;
  bool gave_up = false;  // too many places that only look like frames: no file of etcd's
};
// Looks for frames between `from` and `end` that are exactly what etcd writes: length word,
// padding, record fields and payload all canonical. Such frames start at multiples of 8, because
// every frame is one. Nothing random looks like that, so no checksum is needed to tell that
// records were lost.
Result<RecordsBehind> FindRecordsBehind(FrameReader& reader, std::uint64_t from, std::uint64_t end,
                                        std::uint64_t max_record_bytes);

}  // namespace rescue::raftlog
