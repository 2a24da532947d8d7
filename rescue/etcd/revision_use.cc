// DecodeRevisionUse: what a put, a deletion or a transaction writes and compares.
//
// Source: rpc.proto (PutRequest, DeleteRangeRequest, TxnRequest, Compare, RequestOp), the same in
// etcd 3.4 to 3.7.
#include <algorithm>

#include "rescue/etcd/requests.h"
#include "rescue/raftlog/proto.h"

namespace rescue::etcd {
namespace {

using raftlog::ProtoReader;
using raftlog::ReadFields;
using raftlog::TakeBytes;
using raftlog::TakeUint64;

constexpr std::string_view kMessage = "log entry's request";
constexpr int kDeepestTransaction = 16;

bool Skip(ProtoReader& field) {
  field.skip();
  return true;
}

bool TakeCopy(ProtoReader& field, Bytes& into) {
  ByteView bytes;
  if (!TakeBytes(field, bytes)) return false;
  into = ToBytes(bytes);
  return true;
}

// PutRequest has no end; DeleteRangeRequest has the same first field.
Status ReadWrite(ByteView message, bool has_end, RevisionUse& use) {
  KeyRange range;
  RETURN_IF_ERROR(ReadFields(message, kMessage, [&](ProtoReader& field) {
    if (field.tag() == 1) return TakeCopy(field, range.key);
    if (field.tag() == 2 && has_end) return TakeCopy(field, range.end);
    return Skip(field);
  }));
  use.writes.push_back(std::move(range));
  return {};
}

Status ReadCompare(ByteView message, RevisionUse& use) {
  enum Target : std::uint64_t { kCreate = 1, kMod = 2 };
  std::uint64_t target = 0;
  std::uint64_t revision = 0;
  KeyRange range;
  RETURN_IF_ERROR(ReadFields(message, kMessage, [&](ProtoReader& field) {
    switch (field.tag()) {
      case 2:
        return TakeUint64(field, target);
      case 3:
        return TakeCopy(field, range.key);
      case 5:
      case 6:
        return TakeUint64(field, revision);
      case 64:
        return TakeCopy(field, range.end);
      default:
        return Skip(field);
    }
  }));
  // Compared with 0 it only asks whether the key exists.
  if ((target == kCreate || target == kMod) && revision != 0) {
    use.compares.push_back(std::move(range));
  }
  return {};
}

Status ReadTransaction(ByteView message, int depth, RevisionUse& use);

Status ReadOperation(ByteView message, int depth, RevisionUse& use) {
  Status inner;
  RETURN_IF_ERROR(ReadFields(message, kMessage, [&](ProtoReader& field) {
    const std::uint32_t tag = field.tag();
    if (tag < 2 || tag > 4) return Skip(field);
    ByteView body;
    if (!TakeBytes(field, body)) return false;
    inner = tag == 4 ? ReadTransaction(body, depth + 1, use)
                     : ReadWrite(body, /*has_end=*/tag == 3, use);
    return inner.has_value();
  }));
  return inner;
}

Status ReadTransaction(ByteView message, int depth, RevisionUse& use) {
  if (depth > kDeepestTransaction) {
    return Fail(ErrorKind::kDataDamaged, "bad-request",
                "decode a log entry: its transactions are nested too deeply");
  }
  Status inner;
  RETURN_IF_ERROR(ReadFields(message, kMessage, [&](ProtoReader& field) {
    const std::uint32_t tag = field.tag();
    if (tag < 1 || tag > 3) return Skip(field);
    ByteView body;
    if (!TakeBytes(field, body)) return false;
    inner = tag == 1 ? ReadCompare(body, use) : ReadOperation(body, depth, use);
    return inner.has_value();
  }));
  return inner;
}

// "\0" as an end means that there is none.
bool Unlimited(const KeyRange& range) {
  return range.end.size() == 1 && range.end.front() == std::byte{0};
}

bool StartsBelowEndOf(const KeyRange& a, const KeyRange& b) {
  if (Unlimited(b)) return true;
  if (b.end.empty()) return AsText(a.key) <= AsText(b.key);
  return AsText(a.key) < AsText(b.end);
}

}  // namespace

bool Overlap(const KeyRange& a, const KeyRange& b) {
  return StartsBelowEndOf(a, b) && StartsBelowEndOf(b, a);
}

Result<RevisionUse> DecodeRevisionUse(ByteView data) {
  enum Field : std::uint32_t { kPut = 4, kDeleteRange = 5, kTxn = 6 };
  RevisionUse use;
  Status inner;
  RETURN_IF_ERROR(ReadFields(data, kMessage, [&](ProtoReader& field) {
    const std::uint32_t tag = field.tag();
    if (tag < kPut || tag > kTxn) return Skip(field);
    ByteView body;
    if (!TakeBytes(field, body)) return false;
    inner = tag == kTxn ? ReadTransaction(body, 0, use)
                        : ReadWrite(body, /*has_end=*/tag == kDeleteRange, use);
    return inner.has_value();
  }));
  RETURN_IF_ERROR(inner);
  return use;
}

}  // namespace rescue::etcd
