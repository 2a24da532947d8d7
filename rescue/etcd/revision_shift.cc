// ShiftRevisions: a request rewritten field by field; what holds no revision is copied as it is.
//
// Source: raft_internal.proto and rpc.proto (TxnRequest, Compare, RequestOp, RangeRequest,
// CompactionRequest), the same in etcd 3.4 to 3.7.
#include "rescue/etcd/requests.h"
#include "rescue/raftlog/proto.h"

namespace rescue::etcd {
namespace {

using raftlog::ProtoReader;
using raftlog::ProtoWriter;
using raftlog::ReadFields;

constexpr std::string_view kMessage = "log entry's request";
constexpr int kDeepestTransaction = 16;

enum class Message { kInternal, kTransaction, kCompare, kOperation, kRange, kCompaction, kOther };

// What a field of this message is: another message to look into, or kOther.
Message Inside(Message message, std::uint32_t tag) {
  switch (message) {
    case Message::kInternal:
      if (tag == 6) return Message::kTransaction;
      return tag == 7 ? Message::kCompaction : Message::kOther;
    case Message::kTransaction:
      if (tag == 1) return Message::kCompare;
      return tag == 2 || tag == 3 ? Message::kOperation : Message::kOther;
    case Message::kOperation:
      if (tag == 1) return Message::kRange;
      return tag == 4 ? Message::kTransaction : Message::kOther;
    default:
      return Message::kOther;
  }
}

// Compare.create_revision and mod_revision; RangeRequest.revision and its four limits;
// CompactionRequest.revision.
bool IsRevision(Message message, std::uint32_t tag) {
  switch (message) {
    case Message::kCompare:
      return tag == 5 || tag == 6;
    case Message::kRange:
      return tag == 4 || (tag >= 10 && tag <= 13);
    case Message::kCompaction:
      return tag == 1;
    default:
      return false;
  }
}

class Shifter {
 public:
  Shifter(std::uint64_t above, std::uint64_t by) : above_(above), by_(by) {}
  bool changed() const { return changed_; }

  Result<std::string> Rewrite(Message message, ByteView data, int depth) {
    if (depth > 4 * kDeepestTransaction) {
      return Fail(ErrorKind::kDataDamaged, "bad-request",
                  "rewrite a log entry: its transactions are nested too deeply");
    }
    std::string rewritten;
    ProtoWriter writer(rewritten);
    Status inner;
    RETURN_IF_ERROR(ReadFields(data, kMessage, [&](ProtoReader& field) {
      return CopyField(message, field, depth, writer, inner);
    }));
    RETURN_IF_ERROR(inner);
    return rewritten;
  }

 private:
  // Revisions are signed; a negative one is never reached and stays.
  std::uint64_t Shift(std::uint64_t revision) {
    constexpr std::uint64_t kLargest = ~std::uint64_t{0} >> 1;
    if (revision <= above_ || revision > kLargest - by_) return revision;
    changed_ = true;
    return revision + by_;
  }

  bool CopyField(Message message, ProtoReader& field, int depth, ProtoWriter& writer,
                 Status& inner) {
    const std::uint32_t tag = field.tag();
    switch (field.wire_type()) {
      case protozero::pbf_wire_type::varint: {
        const std::uint64_t value = field.get_uint64();
        writer.add_uint64(tag, IsRevision(message, tag) ? Shift(value) : value);
        return true;
      }
      case protozero::pbf_wire_type::length_delimited: {
        const Message child = Inside(message, tag);
        const auto view = field.get_view();
        if (child == Message::kOther) {
          writer.add_bytes(tag, view);
          return true;
        }
        auto body = Rewrite(child, raftlog::FromProtoView(view), depth + 1);
        if (!body) {
          inner = Fail(std::move(body.error()));
          return false;
        }
        writer.add_message(tag, *body);
        return true;
      }
      case protozero::pbf_wire_type::fixed64:
        writer.add_fixed64(tag, field.get_fixed64());
        return true;
      case protozero::pbf_wire_type::fixed32:
        writer.add_fixed32(tag, field.get_fixed32());
        return true;
      default:
        return false;
    }
  }

  const std::uint64_t above_;
  const std::uint64_t by_;
  bool changed_ = false;
};

}  // namespace

Result<std::optional<Bytes>> ShiftRevisions(ByteView data, std::uint64_t above, std::uint64_t by) {
  Shifter shifter(above, by);
  ASSIGN_OR_RETURN(const std::string rewritten, shifter.Rewrite(Message::kInternal, data, 0));
  if (!shifter.changed()) return std::optional<Bytes>();
  return std::optional<Bytes>(raftlog::EncodedBytes(rewritten));
}

}  // namespace rescue::etcd
