// Private to the room: the frames and records of a segment file (FORMAT.md, "Frames").
//
// etcd: wal/encoder.go (encodeFrameSize), wal/decoder.go (decodeFrameSize), walpb/record.proto.
#pragma once

#include <cstdint>
#include <optional>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"
#include "rescue/raftlog/log.h"

namespace rescue::raftlog {

inline constexpr std::uint64_t kLengthWordBytes = 8;

// wal/wal.go; the numbers are the ones on disk.
enum class RecordType : std::uint8_t {
  kMetadata = 1,
  kEntry = 2,
  kState = 3,
  kCrc = 4,
  kSnapshot = 5,
};

// What a length word says.
struct FrameSize {
  std::uint64_t record = 0;   // bytes of the record
  std::uint64_t padding = 0;  // 0 to 7 bytes behind it
  std::uint64_t payload() const { return record + padding; }
  std::uint64_t frame() const { return kLengthWordBytes + payload(); }
};
// As etcd reads it: the low 56 bits are the record's size; the padding counts only when the highest
// bit is set.
FrameSize DecodeLengthWord(std::uint64_t word);
// As etcd writes it: the padding makes the frame a multiple of 8.
std::uint64_t EncodeLengthWord(std::uint64_t record_bytes);

struct Record {
  std::uint64_t type = 0;  // a RecordType, or something unknown
  std::uint32_t crc = 0;
  ByteView data;                  // into the decoded bytes
  std::uint64_t data_offset = 0;  // in them
};
Result<Record> DecodeRecord(ByteView bytes);

// Writes frames one behind the other, with the running checksum.
class RecordWriter {
 public:
  explicit RecordWriter(std::uint32_t crc) : crc_(crc) {}

  void Write(RecordType type, ByteView data);
  // The record that carries the running checksum into a new segment.
  void WriteCrc();

  std::uint32_t crc() const { return crc_; }
  const Bytes& bytes() const { return bytes_; }
  Bytes Take() { return std::move(bytes_); }

 private:
  void WriteFrame(RecordType type, std::optional<ByteView> data);

  std::uint32_t crc_;
  Bytes bytes_;
};

Bytes EncodeMetadata(const Metadata& metadata);
Result<Metadata> DecodeMetadata(ByteView bytes);
// walpb.Snapshot; segment and offset are not part of it.
Bytes EncodeSnapshotMark(const SnapshotMark& mark);
Result<SnapshotMark> DecodeSnapshotMark(ByteView bytes);

}  // namespace rescue::raftlog
