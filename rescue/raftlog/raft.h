// The values of the raft protocol that etcd keeps in its log, and their protobuf encoding.
//
// Encoders give exactly the bytes that etcd writes: proto2, fields in ascending number, byte fields
// only when they hold something; see WireForm for the rest. Source of the messages:
// raft/raftpb/raft.proto. Decoders accept what etcd's own do: unknown fields are skipped, a known
// field of the wrong wire type is an error. Every decoder fails with "raft-message-malformed"
// (kDataDamaged) and never throws.
#pragma once

#include <cstdint>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"

namespace rescue::raftlog {

// Whether numbers that nobody set are written. Every version reads both forms as the same values.
enum class WireForm {
  kEtcd34,  // 3.4 to 3.6 (gogo protobuf): all numbers are always written, also when they are 0
  kEtcd37,  // 3.7 (raft 3.7, Go protobuf): no type in normal entries, no id in a ConfChange without
            // one
};

// raftpb.HardState. `vote` is a member ID, 0 = none; `commit` is an entry index.
struct HardState {
  std::uint64_t term = 0;
  std::uint64_t vote = 0;
  std::uint64_t commit = 0;
  bool operator==(const HardState&) const = default;
};

// raftpb.ConfState: the membership as raft sees it. The last three are empty or false in
// everything that etcd 3.4 to 3.7 writes; they matter when counting who could still vote.
struct ConfState {
  std::vector<std::uint64_t> voters;
  std::vector<std::uint64_t> learners;
  std::vector<std::uint64_t> voters_outgoing;
  std::vector<std::uint64_t> learners_next;
  bool auto_leave = false;
  bool operator==(const ConfState&) const = default;
};

// raftpb.ConfChangeType; the numbers are the ones on disk.
enum class ConfChangeType : std::uint8_t {
  kAddNode = 0,
  kRemoveNode = 1,
  kUpdateNode = 2,
  kAddLearnerNode = 3,
};

// raftpb.ConfChange: data of an entry of type kConfChange. `context` is etcd's member as JSON
// (member.h); empty for a removal. `id` only pairs a proposal with its waiting client.
struct ConfChange {
  std::uint64_t id = 0;
  ConfChangeType type = ConfChangeType::kAddNode;
  std::uint64_t node_id = 0;
  Bytes context;
  bool operator==(const ConfChange&) const = default;
};

// raftpb.ConfChangeTransition.
enum class ConfChangeTransition : std::uint8_t {
  kAuto = 0,
  kJointImplicit = 1,
  kJointExplicit = 2,
};

// raftpb.ConfChangeSingle.
struct ConfChangeSingle {
  ConfChangeType type = ConfChangeType::kAddNode;
  std::uint64_t node_id = 0;
  bool operator==(const ConfChangeSingle&) const = default;
};

// raftpb.ConfChangeV2: data of an entry of type kConfChangeV2. etcd 3.4 to 3.7 never writes one
// (its apply loop panics on it), but a decoder must not be surprised.
struct ConfChangeV2 {
  ConfChangeTransition transition = ConfChangeTransition::kAuto;
  std::vector<ConfChangeSingle> changes;
  Bytes context;
  bool operator==(const ConfChangeV2&) const = default;
};

// raftpb.EntryType; the numbers are the ones on disk.
enum class EntryType : std::uint8_t { kNormal = 0, kConfChange = 1, kConfChangeV2 = 2 };

// raftpb.Entry. Empty data in a normal entry is what a new leader writes first (no operation).
struct Entry {
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  EntryType type = EntryType::kNormal;
  Bytes data;
  bool operator==(const Entry&) const = default;
};

// raftpb.SnapshotMetadata, as a .snap file holds it.
struct SnapshotMetadata {
  ConfState conf_state;
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  bool operator==(const SnapshotMetadata&) const = default;
};

// raftpb.Snapshot: the content of a .snap file; `data` is etcd's v2 store as JSON.
struct Snapshot {
  Bytes data;
  SnapshotMetadata metadata;
  bool operator==(const Snapshot&) const = default;
};

Bytes EncodeHardState(const HardState& state);
Bytes EncodeConfState(const ConfState& state);
Bytes EncodeConfChange(const ConfChange& change, WireForm form = WireForm::kEtcd34);
Bytes EncodeConfChangeV2(const ConfChangeV2& change);
Bytes EncodeEntry(const Entry& entry, WireForm form = WireForm::kEtcd34);
Bytes EncodeSnapshot(const Snapshot& snapshot);

Result<HardState> DecodeHardState(ByteView bytes);
Result<ConfState> DecodeConfState(ByteView bytes);
Result<ConfChange> DecodeConfChange(ByteView bytes);
Result<ConfChangeV2> DecodeConfChangeV2(ByteView bytes);
Result<Entry> DecodeEntry(ByteView bytes);
Result<Snapshot> DecodeSnapshot(ByteView bytes);

// An entry without its data, and where the data lies in the encoded bytes; for readers that keep
// an index only.
struct EntryOutline {
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  EntryType type = EntryType::kNormal;
  WireForm form = WireForm::kEtcd37;  // kEtcd34 when the type is written
  std::uint64_t data_offset = 0;      // in the encoded entry; its end when there is no data
  std::uint64_t data_size = 0;        // bytes
};
Result<EntryOutline> DecodeEntryOutline(ByteView bytes);

}  // namespace rescue::raftlog
