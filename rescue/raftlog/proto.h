// For this room and etcd/: protobuf fields without exceptions at the edge, on top of protozero.
#pragma once

#include <cstdint>
#include <limits>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"

namespace rescue::raftlog {

using ProtoReader = protozero::pbf_reader;
using ProtoWriter = protozero::pbf_writer;

inline Error MalformedMessage(std::string_view message_name) {
  return Error{ErrorKind::kDataDamaged, "raft-message-malformed",
               "decode " + std::string(message_name) + ": not a valid message",
               "the record is damaged"};
}

inline Bytes EncodedBytes(const std::string& encoded) { return ToBytes(AsBytes(encoded)); }
inline protozero::data_view ProtoView(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
inline ByteView FromProtoView(protozero::data_view view) {
  return AsBytes(std::string_view(view.data(), view.size()));
}

// protozero asserts, rather than checks, that a getter fits the wire type; hence these. Each
// returns false when the field does not fit, and may throw protozero::exception (see ReadFields).
inline bool TakeUint64(ProtoReader& field, std::uint64_t& into) {
  if (!field.has_wire_type(protozero::pbf_wire_type::varint)) return false;
  into = field.get_uint64();
  return true;
}

inline bool TakeBool(ProtoReader& field, bool& into) {
  std::uint64_t value = 0;
  if (!TakeUint64(field, value)) return false;
  into = value != 0;
  return true;
}

// An enumeration whose largest known value is `last`.
template <typename Enum>
bool TakeEnum(ProtoReader& field, Enum last, Enum& into) {
  std::uint64_t value = 0;
  if (!TakeUint64(field, value) || value > static_cast<std::uint64_t>(last)) return false;
  into = static_cast<Enum>(value);
  return true;
}

inline bool TakeBytes(ProtoReader& field, ByteView& into) {
  if (!field.has_wire_type(protozero::pbf_wire_type::length_delimited)) return false;
  into = FromProtoView(field.get_view());
  return true;
}

// Repeated, packed or not: Go's decoders take both.
inline bool TakeRepeatedUint64(ProtoReader& field, std::vector<std::uint64_t>& into) {
  if (field.has_wire_type(protozero::pbf_wire_type::length_delimited)) {
    for (const std::uint64_t value : field.get_packed_uint64()) into.push_back(value);
    return true;
  }
  std::uint64_t value = 0;
  if (!TakeUint64(field, value)) return false;
  into.push_back(value);
  return true;
}

// Calls `take(field)` for every field of the message; it consumes the field (field.skip() for an
// unknown one) and returns false to refuse it.
template <typename Take>
Status ReadFields(ByteView message, std::string_view message_name, Take take) {
  try {
    ProtoReader field(ProtoView(message));
    while (field.next()) {
      if (!take(field)) return Fail(MalformedMessage(message_name));
    }
  } catch (const protozero::exception&) {
    return Fail(MalformedMessage(message_name));
  }
  return {};
}

// Where `part`, a view into `whole`, starts.
inline std::size_t OffsetIn(ByteView whole, ByteView part) {
  return part.empty() ? whole.size() : static_cast<std::size_t>(part.data() - whole.data());
}

}  // namespace rescue::raftlog
