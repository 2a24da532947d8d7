#include "rescue/raftlog/record.h"

#include "rescue/base/checksum.h"
#include "rescue/base/endian.h"
#include "rescue/raftlog/proto.h"

namespace rescue::raftlog {
namespace {

constexpr std::uint64_t kSizeMask = (std::uint64_t{1} << 56) - 1;
constexpr std::uint64_t kPaddingFlag = std::uint64_t{1} << 63;

}  // namespace

FrameSize DecodeLengthWord(std::uint64_t word) {
  return {word & kSizeMask, (word & kPaddingFlag) != 0 ? (word >> 56) & 7 : 0};
}

std::uint64_t EncodeLengthWord(std::uint64_t record_bytes) {
  const std::uint64_t padding = (8 - record_bytes % 8) % 8;
  return padding == 0 ? record_bytes : record_bytes | kPaddingFlag | (padding << 56);
}

Result<Record> DecodeRecord(ByteView bytes) {
  Record record;
  RETURN_IF_ERROR(ReadFields(bytes, "log record", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeUint64(field, record.type);
      case 2: {
        std::uint64_t crc = 0;
        if (!TakeUint64(field, crc)) return false;
        record.crc = static_cast<std::uint32_t>(crc);  // Go drops the high bits, too
        return true;
      }
      case 3:
        return TakeBytes(field, record.data);
      default:
        field.skip();
        return true;
    }
  }));
  record.data_offset = OffsetIn(bytes, record.data);
  return record;
}

void RecordWriter::WriteFrame(RecordType type, std::optional<ByteView> data) {
  std::string record;
  ProtoWriter writer(record);
  writer.add_uint64(1, static_cast<std::uint64_t>(type));
  writer.add_uint32(2, crc_);
  if (data) writer.add_bytes(3, ProtoView(*data));
  const ul64 word = EncodeLengthWord(record.size());
  Append(bytes_, std::as_bytes(std::span(&word, 1)));
  Append(bytes_, AsBytes(record));
  bytes_.resize((bytes_.size() + 7) / 8 * 8, std::byte{0});
}

void RecordWriter::Write(RecordType type, ByteView data) {
  crc_ = Crc32c(crc_, data);
  WriteFrame(type, data);
}

void RecordWriter::WriteCrc() { WriteFrame(RecordType::kCrc, std::nullopt); }

Bytes EncodeMetadata(const Metadata& metadata) {
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_uint64(1, metadata.node_id);
  writer.add_uint64(2, metadata.cluster_id);
  return EncodedBytes(encoded);
}

Result<Metadata> DecodeMetadata(ByteView bytes) {
  Metadata metadata;
  RETURN_IF_ERROR(ReadFields(bytes, "log metadata", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeUint64(field, metadata.node_id);
      case 2:
        return TakeUint64(field, metadata.cluster_id);
      default:
        field.skip();
        return true;
    }
  }));
  return metadata;
}

Bytes EncodeSnapshotMark(const SnapshotMark& mark) {
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_uint64(1, mark.index);
  writer.add_uint64(2, mark.term);
  if (mark.conf_state) {
    writer.add_message(3, std::string(AsText(EncodeConfState(*mark.conf_state))));
  }
  return EncodedBytes(encoded);
}

Result<SnapshotMark> DecodeSnapshotMark(ByteView bytes) {
  SnapshotMark mark;
  RETURN_IF_ERROR(ReadFields(bytes, "snapshot record", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeUint64(field, mark.index);
      case 2:
        return TakeUint64(field, mark.term);
      case 3: {
        ByteView conf_state;
        if (!TakeBytes(field, conf_state)) return false;
        auto decoded = DecodeConfState(conf_state);
        if (!decoded) return false;
        mark.conf_state = *std::move(decoded);
        return true;
      }
      default:
        field.skip();
        return true;
    }
  }));
  return mark;
}

}  // namespace rescue::raftlog
