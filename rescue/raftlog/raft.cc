#include "rescue/raftlog/raft.h"

#include "rescue/raftlog/proto.h"

namespace rescue::raftlog {
namespace {

// Far beyond any cluster; keeps a hostile record from filling the memory.
constexpr std::size_t kMaxConfStateIds = 1000;

std::string EncodeConfStateText(const ConfState& state) {
  std::string encoded;
  ProtoWriter writer(encoded);
  // proto2: repeated numbers are not packed.
  for (const std::uint64_t id : state.voters) writer.add_uint64(1, id);
  for (const std::uint64_t id : state.learners) writer.add_uint64(2, id);
  for (const std::uint64_t id : state.voters_outgoing) writer.add_uint64(3, id);
  for (const std::uint64_t id : state.learners_next) writer.add_uint64(4, id);
  writer.add_bool(5, state.auto_leave);
  return encoded;
}

std::string EncodeSnapshotMetadataText(const SnapshotMetadata& metadata) {
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_message(1, EncodeConfStateText(metadata.conf_state));
  writer.add_uint64(2, metadata.index);
  writer.add_uint64(3, metadata.term);
  return encoded;
}

void AddOptionalBytes(ProtoWriter& writer, protozero::pbf_tag_type tag, ByteView bytes) {
  if (!bytes.empty()) writer.add_bytes(tag, ProtoView(bytes));
}

template <typename T>
bool TakeMessage(ProtoReader& field, Result<T> (*decode)(ByteView), T& into) {
  ByteView bytes;
  if (!TakeBytes(field, bytes)) return false;
  auto message = decode(bytes);
  if (!message) return false;
  into = *std::move(message);
  return true;
}

Result<ConfChangeSingle> DecodeConfChangeSingle(ByteView bytes) {
  ConfChangeSingle change;
  RETURN_IF_ERROR(ReadFields(bytes, "configuration change", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeEnum(field, ConfChangeType::kAddLearnerNode, change.type);
      case 2:
        return TakeUint64(field, change.node_id);
      default:
        field.skip();
        return true;
    }
  }));
  return change;
}

Result<SnapshotMetadata> DecodeSnapshotMetadata(ByteView bytes) {
  SnapshotMetadata metadata;
  RETURN_IF_ERROR(ReadFields(bytes, "snapshot metadata", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeMessage(field, DecodeConfState, metadata.conf_state);
      case 2:
        return TakeUint64(field, metadata.index);
      case 3:
        return TakeUint64(field, metadata.term);
      default:
        field.skip();
        return true;
    }
  }));
  return metadata;
}

}  // namespace

Bytes EncodeHardState(const HardState& state) {
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_uint64(1, state.term);
  writer.add_uint64(2, state.vote);
  writer.add_uint64(3, state.commit);
  return EncodedBytes(encoded);
}

Bytes EncodeConfState(const ConfState& state) { return EncodedBytes(EncodeConfStateText(state)); }

Bytes EncodeConfChange(const ConfChange& change, WireForm form) {
  std::string encoded;
  ProtoWriter writer(encoded);
  if (form == WireForm::kEtcd34 || change.id != 0) writer.add_uint64(1, change.id);
  writer.add_uint64(2, static_cast<std::uint64_t>(change.type));
  writer.add_uint64(3, change.node_id);
  AddOptionalBytes(writer, 4, change.context);
  return EncodedBytes(encoded);
}

Bytes EncodeConfChangeV2(const ConfChangeV2& change) {
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_uint64(1, static_cast<std::uint64_t>(change.transition));
  for (const ConfChangeSingle& single : change.changes) {
    std::string part;
    ProtoWriter part_writer(part);
    part_writer.add_uint64(1, static_cast<std::uint64_t>(single.type));
    part_writer.add_uint64(2, single.node_id);
    writer.add_message(2, part);
  }
  AddOptionalBytes(writer, 3, change.context);
  return EncodedBytes(encoded);
}

Bytes EncodeEntry(const Entry& entry, WireForm form) {
  std::string encoded;
  ProtoWriter writer(encoded);
  if (form == WireForm::kEtcd34 || entry.type != EntryType::kNormal) {
    writer.add_uint64(1, static_cast<std::uint64_t>(entry.type));
  }
  writer.add_uint64(2, entry.term);
  writer.add_uint64(3, entry.index);
  AddOptionalBytes(writer, 4, entry.data);
  return EncodedBytes(encoded);
}

Bytes EncodeSnapshot(const Snapshot& snapshot) {
  std::string encoded;
  ProtoWriter writer(encoded);
  AddOptionalBytes(writer, 1, snapshot.data);
  writer.add_message(2, EncodeSnapshotMetadataText(snapshot.metadata));
  return EncodedBytes(encoded);
}

Result<HardState> DecodeHardState(ByteView bytes) {
  HardState state;
  RETURN_IF_ERROR(ReadFields(bytes, "hard state", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeUint64(field, state.term);
      case 2:
        return TakeUint64(field, state.vote);
      case 3:
        return TakeUint64(field, state.commit);
      default:
        field.skip();
        return true;
    }
  }));
  return state;
}

Result<ConfState> DecodeConfState(ByteView bytes) {
  ConfState state;
  RETURN_IF_ERROR(ReadFields(bytes, "membership (ConfState)", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeRepeatedUint64(field, state.voters);
      case 2:
        return TakeRepeatedUint64(field, state.learners);
      case 3:
        return TakeRepeatedUint64(field, state.voters_outgoing);
      case 4:
        return TakeRepeatedUint64(field, state.learners_next);
      case 5:
        return TakeBool(field, state.auto_leave);
      default:
        field.skip();
        return true;
    }
  }));
  const std::size_t ids = state.voters.size() + state.learners.size() +
                          state.voters_outgoing.size() + state.learners_next.size();
  if (ids > kMaxConfStateIds) return Fail(MalformedMessage("membership (ConfState)"));
  return state;
}

Result<ConfChange> DecodeConfChange(ByteView bytes) {
  ConfChange change;
  ByteView context;
  RETURN_IF_ERROR(ReadFields(bytes, "configuration change", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeUint64(field, change.id);
      case 2:
        return TakeEnum(field, ConfChangeType::kAddLearnerNode, change.type);
      case 3:
        return TakeUint64(field, change.node_id);
      case 4:
        return TakeBytes(field, context);
      default:
        field.skip();
        return true;
    }
  }));
  change.context = ToBytes(context);
  return change;
}

Result<ConfChangeV2> DecodeConfChangeV2(ByteView bytes) {
  ConfChangeV2 change;
  ByteView context;
  RETURN_IF_ERROR(ReadFields(bytes, "configuration change (V2)", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeEnum(field, ConfChangeTransition::kJointExplicit, change.transition);
      case 2:
        return TakeMessage(field, DecodeConfChangeSingle, change.changes.emplace_back());
      case 3:
        return TakeBytes(field, context);
      default:
        field.skip();
        return true;
    }
  }));
  change.context = ToBytes(context);
  return change;
}

Result<EntryOutline> DecodeEntryOutline(ByteView bytes) {
  EntryOutline outline;
  ByteView data;
  RETURN_IF_ERROR(ReadFields(bytes, "entry", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        outline.form = WireForm::kEtcd34;
        return TakeEnum(field, EntryType::kConfChangeV2, outline.type);
      case 2:
        return TakeUint64(field, outline.term);
      case 3:
        return TakeUint64(field, outline.index);
      case 4:
        return TakeBytes(field, data);
      default:
        field.skip();
        return true;
    }
  }));
  outline.data_offset = OffsetIn(bytes, data);
  outline.data_size = data.size();
  return outline;
}

Result<Entry> DecodeEntry(ByteView bytes) {
  ASSIGN_OR_RETURN(const EntryOutline outline, DecodeEntryOutline(bytes));
  const ByteView data = bytes.subspan(outline.data_offset, outline.data_size);
  return Entry{outline.term, outline.index, outline.type, ToBytes(data)};
}

Result<Snapshot> DecodeSnapshot(ByteView bytes) {
  Snapshot snapshot;
  ByteView data;
  RETURN_IF_ERROR(ReadFields(bytes, "raft snapshot", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeBytes(field, data);
      case 2:
        return TakeMessage(field, DecodeSnapshotMetadata, snapshot.metadata);
      default:
        field.skip();
        return true;
    }
  }));
  snapshot.data = ToBytes(data);
  return snapshot;
}

}  // namespace rescue::raftlog
