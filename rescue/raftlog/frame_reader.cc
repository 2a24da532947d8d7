#include "rescue/raftlog/frame_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/endian.h"
#include "rescue/base/units.h"

namespace rescue::raftlog {
namespace {

constexpr std::uint64_t kWindowBytes = kMiB;
constexpr std::uint64_t kSectorBytes = 512;  // wal/decoder.go, minSectorSize

std::uint64_t LoadWord(ByteView bytes) {
  ul64 word;
  std::memcpy(&word, bytes.data(), sizeof(word));
  return word;
}

bool AllZero(ByteView bytes) {
  // Comparing a block with itself, shifted by one, runs at the speed of memory.
  return bytes.empty() || (bytes[0] == std::byte{0} &&
                           std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

// True when decoding and encoding again gives the same bytes.
template <typename T>
bool IsCanonical(ByteView data, Result<T> (*decode)(ByteView), Bytes (*encode)(const T&)) {
  const auto value = decode(data);
  return value && Equal(encode(*value), data);
}

// A cheap form of IsCanonical for entries, which may be large: the part before the data.
bool IsCanonicalEntry(ByteView data, const EntryOutline& outline) {
  const Entry bare{outline.term, outline.index, outline.type, {}};
  const Bytes head = EncodeEntry(bare, outline.form);
  if (data.size() < head.size() || !Equal(data.first(head.size()), head)) return false;
  if (outline.data_size == 0) return data.size() == head.size();
  if (outline.data_offset + outline.data_size != data.size()) return false;
  // Tag and length of the data, nothing else, lie in between.
  std::uint64_t length_bytes = 1;
  for (std::uint64_t rest = outline.data_size; rest >= 0x80; rest >>= 7) ++length_bytes;
  return outline.index != 0 && outline.data_offset == head.size() + 1 + length_bytes;
}

bool HasCanonicalHead(const Record& record, ByteView bytes) {
  RecordWriter writer(record.crc);
  writer.WriteCrc();
  Bytes head = writer.Take();
  head[kLengthWordBytes + 1] = static_cast<std::byte>(record.type);
  // 08 type 10 crc: without the length word, up to where the data's tag would be.
  std::size_t head_bytes = 4;
  for (std::uint32_t rest = record.crc; rest >= 0x80; rest >>= 7) ++head_bytes;
  return bytes.size() >= head_bytes &&
         Equal(bytes.first(head_bytes), ByteView(head).subspan(kLengthWordBytes, head_bytes)) &&
         record.data_offset + record.data.size() == bytes.size() &&
         (record.data.empty() ? bytes.size() == head_bytes : bytes[head_bytes] == std::byte{0x1a});
}

// Whether the frame is one that etcd writes; counts it when it is.
bool CountIfCanonical(const Frame& frame, RecordsBehind& behind) {
  const auto record = DecodeRecord(frame.record());
  if (!record || record->type < 1 || record->type > 5) return false;
  if (!HasCanonicalHead(*record, frame.record())) return false;
  if (!AllZero(frame.payload.subspan(static_cast<std::size_t>(frame.size.record)))) return false;
  switch (static_cast<RecordType>(record->type)) {
    case RecordType::kMetadata:
      if (!IsCanonical(record->data, DecodeMetadata, EncodeMetadata)) return false;
      break;
    case RecordType::kState:
      if (!IsCanonical(record->data, DecodeHardState, EncodeHardState)) return false;
      break;
    case RecordType::kSnapshot:
      if (!IsCanonical(record->data, DecodeSnapshotMark, EncodeSnapshotMark)) return false;
      break;
    case RecordType::kCrc:
      if (!record->data.empty()) return false;
      break;
    case RecordType::kEntry: {
      const auto outline = DecodeEntryOutline(record->data);
      if (!outline || !IsCanonicalEntry(record->data, *outline)) return false;
      if (behind.first_index == 0) behind.first_index = outline->index;
      behind.last_index = outline->index;
      break;
    }
  }
  ++behind.count;
  return true;
}

}  // namespace

Result<ByteView> FrameReader::Peek(std::uint64_t offset, std::uint64_t count) {
  if (offset >= file_.size()) return ByteView();
  count = std::min(count, file_.size() - offset);
  if (offset < buffer_offset_ || offset + count > buffer_offset_ + buffer_.size()) {
    const std::uint64_t want = std::min(std::max(count, kWindowBytes), file_.size() - offset);
    buffer_.resize(static_cast<std::size_t>(want));
    buffer_offset_ = offset;
    ASSIGN_OR_RETURN(const std::size_t got, file_.ReadAt(offset, buffer_));
    buffer_.resize(got);
    if (got < count) {
      return Fail(ErrorKind::kOther, "io",
                  fmt::format("read {} bytes at {}: only {} came", count, offset, got),
                  "the file changes while it is read; stop etcd first");
    }
  }
  return ByteView(buffer_).subspan(static_cast<std::size_t>(offset - buffer_offset_),
                                   static_cast<std::size_t>(count));
}

Result<Frame> FrameReader::Read(std::uint64_t offset, std::uint64_t max_record_bytes) {
  Frame frame;
  frame.offset = offset;
  ASSIGN_OR_RETURN(const ByteView word_bytes, Peek(offset, kLengthWordBytes));
  if (word_bytes.empty()) return frame;
  if (word_bytes.size() < kLengthWordBytes) {
    frame.kind = FrameKind::kCutShort;
    return frame;
  }
  const std::uint64_t word = LoadWord(word_bytes);
  if (word == 0) {
    frame.kind = FrameKind::kZeroWord;
    return frame;
  }
  frame.size = DecodeLengthWord(word);
  if (frame.size.payload() > file_.size() - offset - kLengthWordBytes) {
    frame.kind = FrameKind::kCutShort;
    return frame;
  }
  if (frame.size.record > max_record_bytes) {
    return Fail(ErrorKind::kRefused, "log-too-large",
                fmt::format("record of {} at {}: at most {} are read",
                            FormatSize(frame.size.record), offset, FormatSize(max_record_bytes)),
                "such a record does not come from etcd");
  }
  ASSIGN_OR_RETURN(frame.payload, Peek(offset + kLengthWordBytes, frame.size.payload()));
  frame.kind = FrameKind::kFrame;
  return frame;
}

Result<std::uint64_t> FindNonzeroEnd(const ReadableFile& file, std::uint64_t from) {
  std::uint64_t end = file.size();
  Bytes chunk;
  while (end > from) {
    const std::uint64_t count = std::min(kWindowBytes, end - from);
    chunk.resize(static_cast<std::size_t>(count));
    ASSIGN_OR_RETURN(const std::size_t got, file.ReadAt(end - count, chunk));
    if (got != chunk.size()) {
      return Fail(ErrorKind::kOther, "io",
                  fmt::format("read {} bytes at {}: only {} came", count, end - count, got));
    }
    if (!AllZero(chunk)) {
      const auto last = std::find_if(chunk.rbegin(), chunk.rend(),
                                     [](std::byte byte) { return byte != std::byte{0}; });
      return end - static_cast<std::uint64_t>(last - chunk.rbegin());
    }
    end -= count;
  }
  return from;
}

bool HasZeroSector(const Frame& frame) {
  std::uint64_t position = frame.offset + kLengthWordBytes;
  ByteView rest = frame.payload;
  while (!rest.empty()) {
    const std::size_t count = std::min<std::size_t>(
        rest.size(), static_cast<std::size_t>(kSectorBytes - position % kSectorBytes));
    if (AllZero(rest.first(count))) return true;
    rest = rest.subspan(count);
    position += count;
  }
  return false;
}

Result<RecordsBehind> FindRecordsBehind(FrameReader& reader, std::uint64_t from, std::uint64_t end,
                                        std::uint64_t max_record_bytes) {
  RecordsBehind behind;
  std::uint64_t offset = (from + 7) / 8 * 8;
  // Every frame that is one is looked at once. A hostile file can make frames of any length seem to
  // start at every place, and each would be fetched: that must not take the square of the size.
  std::uint64_t budget = 4 * (reader.file_size() - std::min(from, reader.file_size())) + 64 * kMiB;
  while (offset < end) {
    ASSIGN_OR_RETURN(const ByteView start, reader.Peek(offset, kLengthWordBytes + 2));
    if (start.size() < kLengthWordBytes + 2) break;
    const std::uint64_t word = LoadWord(start);
    const FrameSize size = DecodeLengthWord(word);
    // Looked at before the whole frame is fetched: most places fail here.
    const bool plausible = size.record >= 4 && EncodeLengthWord(size.record) == word &&
                           start[kLengthWordBytes] == std::byte{0x08} &&
                           size.record <= max_record_bytes &&
                           size.frame() <= reader.file_size() - offset;
    if (plausible) {
      if (size.frame() > budget) {
        behind.gave_up = true;
        break;
      }
      budget -= size.frame();
      ASSIGN_OR_RETURN(const Frame frame, reader.Read(offset, max_record_bytes));
      if (CountIfCanonical(frame, behind)) {
        offset += frame.size.frame();
        continue;
      }
    }
    offset += 8;
  }
  return behind;
}

}  // namespace rescue::raftlog
