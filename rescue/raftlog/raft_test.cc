#include "rescue/raftlog/raft.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/raftlog/log_fixture.h"

namespace rescue::raftlog {
namespace {

using rescue::testing::ForEveryTruncation;
using rescue::testing::ForRandomMutations;

constexpr std::uint64_t kBigId = 0xf41fa83c3fdee6a1;

ConfChangeV2 SampleV2() {
  return {ConfChangeTransition::kJointExplicit,
          {{ConfChangeType::kRemoveNode, kBigId}, {ConfChangeType::kAddLearnerNode, 7}},
          ToBytes(AsBytes("context"))};
}

TEST_CASE("HardStateKeepsZerosOnTheWire") {
  CHECK(ToHex(EncodeHardState({})) == "080010001800");
  CHECK(ToHex(EncodeHardState({2, 1, 300})) == "0802100118ac02");
  CHECK(DecodeHardState(EncodeHardState({2, kBigId, 300})) == HardState{2, kBigId, 300});
}

TEST_CASE("ConfStateIsNotPackedAndAlwaysSaysAutoLeave") {
  CHECK(ToHex(EncodeConfState({{1, 300}, {5}, {}, {}, false})) == "080108ac0210052800");
  const ConfState full{{1, kBigId}, {2}, {3, 4}, {5}, true};
  CHECK(DecodeConfState(EncodeConfState(full)) == full);
}

TEST_CASE("ConfStateIsReadPackedToo") {
  const auto packed = ParseHex("0a0301ac022800");
  CHECK(DecodeConfState(*packed) == ConfState{{1, 300}, {}, {}, {}, false});
}

TEST_CASE("ConfStateOfAThousandMembersIsTheLimit") {
  ConfState state;
  state.voters.assign(1000, 1);
  CHECK(DecodeConfState(EncodeConfState(state)));
  state.learners.assign(1, 1);
  CHECK(DecodeConfState(EncodeConfState(state)).error().code == "raft-message-malformed");
}

TEST_CASE("EntriesFollowTheWireFormOfTheirVersion") {
  const Entry normal{2, 4, EntryType::kNormal, {}};
  CHECK(ToHex(EncodeEntry(normal)) == "080010021804");
  CHECK(ToHex(EncodeEntry(normal, WireForm::kEtcd37)) == "10021804");
  const Entry change{1, 1, EntryType::kConfChange, {std::byte{0xff}}};
  CHECK(ToHex(EncodeEntry(change)) ==
        "08011001180122"
        "01ff");
  CHECK(EncodeEntry(change) == EncodeEntry(change, WireForm::kEtcd37));
  for (const WireForm form : {WireForm::kEtcd34, WireForm::kEtcd37}) {
    CHECK(DecodeEntry(EncodeEntry(normal, form)) == normal);
    CHECK(DecodeEntry(EncodeEntry(change, form)) == change);
    CHECK(DecodeEntryOutline(EncodeEntry(normal, form))->form == form);
  }
}

TEST_CASE("ConfChangesFollowTheWireFormOfTheirVersion") {
  const ConfChange removal{0, ConfChangeType::kRemoveNode, 3, {}};
  CHECK(ToHex(EncodeConfChange(removal)) == "080010011803");
  CHECK(ToHex(EncodeConfChange(removal, WireForm::kEtcd37)) == "10011803");
  const ConfChange addition{9, ConfChangeType::kAddLearnerNode, kBigId, ToBytes(AsBytes("{}"))};
  CHECK(EncodeConfChange(addition) == EncodeConfChange(addition, WireForm::kEtcd37));
  CHECK(DecodeConfChange(EncodeConfChange(addition)) == addition);
  CHECK(DecodeConfChange(EncodeConfChange(removal, WireForm::kEtcd37)) == removal);
}

TEST_CASE("ConfChangeV2RoundTrips") {
  CHECK(DecodeConfChangeV2(EncodeConfChangeV2(SampleV2())) == SampleV2());
}

TEST_CASE("SnapshotRoundTrips") {
  const Snapshot snapshot{ToBytes(AsBytes("{}")), {{{1, 2, 3}, {4}, {}, {}, false}, 160, 2}};
  CHECK(DecodeSnapshot(EncodeSnapshot(snapshot)) == snapshot);
}

TEST_CASE("UnknownFieldsAreSkipped") {
  const auto with_field_9 = ParseHex(
      "080010021804"
      "4a03616263"
      "4801");
  CHECK(DecodeEntry(*with_field_9) == Entry{2, 4, EntryType::kNormal, {}});
}

TEST_CASE("WrongWireTypesAndUnknownEnumValuesAreErrors") {
  CHECK_FALSE(DecodeHardState(*ParseHex("0a0101")));
  CHECK_FALSE(DecodeEntry(*ParseHex("2001")));
  CHECK_FALSE(DecodeEntry(*ParseHex("0803")));
  CHECK_FALSE(DecodeConfChange(*ParseHex("1004")));
  CHECK_FALSE(DecodeConfChangeV2(*ParseHex("0803")));
  CHECK_FALSE(DecodeConfChangeV2(*ParseHex("12020804")));
}

TEST_CASE("EntryOutlinePointsAtTheData") {
  const Bytes encoded = EncodeEntry({2, 300, EntryType::kNormal, ToBytes(AsBytes("payload"))});
  const auto outline = DecodeEntryOutline(encoded);
  REQUIRE(outline);
  const ByteView data = ByteView(encoded).subspan(outline->data_offset, outline->data_size);
  CHECK(AsText(data) == "payload");
}

TEST_CASE("RaftDecodersSurviveHostileBytes") {
  const auto decode_all = [](ByteView bytes) {
    (void)DecodeHardState(bytes);
    (void)DecodeConfState(bytes);
    (void)DecodeConfChange(bytes);
    (void)DecodeConfChangeV2(bytes);
    (void)DecodeSnapshot(bytes);
    (void)DecodeRecord(bytes);
    (void)DecodeMetadata(bytes);
    (void)DecodeSnapshotMark(bytes);
    const auto outline = DecodeEntryOutline(bytes);
    if (outline) CHECK(Slice(bytes, outline->data_offset, outline->data_size));
  };
  const std::vector<Bytes> samples = {
      EncodeHardState({2, kBigId, 300}),
      EncodeConfState({{1, kBigId}, {2}, {3, 4}, {5}, true}),
      EncodeConfChange({9, ConfChangeType::kAddNode, kBigId, ToBytes(AsBytes("{\"id\":1}"))}),
      EncodeConfChangeV2(SampleV2()),
      EncodeEntry({2, 300, EntryType::kNormal, Bytes(300, std::byte{0x5a})}),
      EncodeSnapshot({Bytes(40, std::byte{1}), {{{1, 2}, {}, {}, {}, false}, 9, 2}}),
  };
  for (const Bytes& sample : samples) {
    ForEveryTruncation(sample, decode_all);
    ForRandomMutations(sample, 1, 10000, decode_all);
  }
}

}  // namespace
}  // namespace rescue::raftlog
