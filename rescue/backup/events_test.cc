// Events of a delta: what Go writes is read, everything else has its name.
#include "rescue/backup/events.h"

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <optional>
#include <vector>

#include "rescue/backup/store_testing.h"
#include "rescue/base/units.h"

namespace rescue::backup {
namespace {

using testing::DeltaContent;
using testing::History;

// The file and the reader on it.
class Opened {
 public:
  Opened(Bytes content, std::uint64_t start, std::uint64_t last)
      : file_(rescue::testing::MemoryFile(std::move(content))),
        reader_(OpenObject(*file_, {Compression::kNone, kMaxDeltaSize, "delta"}),
                {ObjectKind::kDelta, start, last, 1, Compression::kNone, false}, "delta") {}

  EventReader& reader() { return reader_; }
  // Reads to the end; the error's code, or "".
  std::string Code() {
    for (;;) {
      const auto event = reader_.Next();
      if (!event) return event.error().code;
      if (*event == nullptr) return "";
    }
  }

 private:
  std::unique_ptr<ReadableFile> file_;
  EventReader reader_;
};

std::string CodeOf(const std::string& list, std::uint64_t start, std::uint64_t last) {
  return Opened(DeltaContent(list), start, last).Code();
}

std::string Element(const std::string& kv, const std::string& type = "") {
  return R"({"etcdEvent":{)" + type + R"("kv":{)" + kv + R"(}},"time":"t"})";
}

TEST_CASE("EveryEventComesBackInOrderWithItsPlaceInTheTransaction") {
  const History history = testing::SampleHistory(400);
  Opened delta(DeltaContent(history, 2, 401), 2, 401);
  for (const auto& write : history.writes()) {
    CAPTURE(write.revision.main, write.revision.sub);
    const auto event = delta.reader().Next();
    REQUIRE(event);
    REQUIRE(*event != nullptr);
    CHECK(**event == Event{write.tombstone, write.revision.main, write.revision.sub, write.key,
                           write.value, write.create_revision, write.version, write.lease});
  }
  const auto end = delta.reader().Next();
  REQUIRE(end);
  CHECK(*end == nullptr);
  CHECK(delta.reader().events() == history.writes().size());
  CHECK(*delta.reader().Next() == nullptr);
}

TEST_CASE("FieldsMayStandInAnyOrderWithWhiteSpaceBetween") {
  const std::string list =
      " [ { \"time\" : \"x\" ,\n \"etcdEvent\" : { \"kv\" : { \"version\" : 1 , \"value\" : "
      "\"dg==\" "
      ", \"mod_revision\" : 5 , \"lease\" : 0 , \"create_revision\" : 5 , \"key\" : \"aw==\" } , "
      "\"type\" : 0 } } ]";
  Opened delta(DeltaContent(list), 5, 5);
  const auto event = delta.reader().Next();
  REQUIRE(event);
  REQUIRE(*event != nullptr);
  CHECK(**event == Event{false, 5, 0, "k", "v", 5, 1, 0});
  CHECK(delta.Code().empty());
}

TEST_CASE("ALargeValueIsReadWhole") {
  History history;
  const std::string large(3'000'001, 'x');
  history.Put("small", "1").Put("large", large).Put("small", "2");
  Opened delta(DeltaContent(history, 2, 4), 2, 4);
  REQUIRE(delta.reader().Next());
  const auto event = delta.reader().Next();
  REQUIRE(event);
  CHECK((*event)->value == large);
  CHECK(delta.Code().empty());
}

TEST_CASE("JsonThatEtcdbrctlDoesNotWriteIsRefused") {
  const std::string good = R"("key":"aw==","create_revision":5,"mod_revision":5,"version":1)";
  REQUIRE(CodeOf("[" + Element(good) + "]", 5, 5).empty());
  const std::string bad = GENERATE_COPY(
      std::string("{}"), std::string("null"), std::string("7"), "[" + Element(good) + ",]",
      "[," + Element(good) + "]", "[" + Element(good) + Element(good) + "]", "[[]]", "[null]",
      "[" + Element(good + R"(,"version":1)") + "]", "[" + Element(good + R"(,"extra":1)") + "]",
      "[" + Element(good, R"("type":2,)") + "]", "[" + Element(good, R"("type":"1",)") + "]",
      "[" + Element(good, R"("type":-1,)") + "]", "[" + Element(good, R"("prev_kv":{},)") + "]",
      "[" + Element(R"("key":"aw==","create_revision":5,"mod_revision":-5,"version":1)") + "]",
      "[" + Element(R"("key":"aw==","create_revision":5.0,"mod_revision":5,"version":1)") + "]",
      "[" + Element(R"("key":"aw==","create_revision":5,"mod_revision":5e0,"version":1)") + "]",
      "[" + Element(R"("key":"aw==","create_revision":05,"mod_revision":5,"version":1)") + "]",
      "[" + Element(R"("key":"aw==","create_revision":5,"mod_revision":"5","version":1)") + "]",
      "[" + Element(good + R"(,"lease":9223372036854775808)") + "]",
      "[" + Element(good + R"(,"lease":-1)") + "]",
      "[" + Element(R"("key":"aw=","create_revision":5,"mod_revision":5,"version":1)") + "]",
      "[" + Element(R"("key":"a===","create_revision":5,"mod_revision":5,"version":1)") + "]",
      "[" + Element(R"("key":"a w=","create_revision":5,"mod_revision":5,"version":1)") + "]",
      "[" + Element(R"("key":"aw\u003d","create_revision":5,"mod_revision":5,"version":1)") + "]",
      "[" + Element(R"("key":null,"create_revision":5,"mod_revision":5,"version":1)") + "]",
      std::string(R"([{"etcdEvent":{"kv":{}},"time":7}])"), std::string(R"([{"event":{}}])"),
      std::string("[{]"), std::string("]"));
  CAPTURE(bad);
  CHECK(CodeOf(bad, 5, 5) == "delta-json");
}

TEST_CASE("EventsThatEtcdDoesNotMakeAreRefused") {
  const std::string kv =
      GENERATE("", R"("mod_revision":5)", R"("key":"aw==","mod_revision":5)", R"("key":"aw==")",
               R"("key":"","create_revision":5,"mod_revision":5,"version":1)",
               R"("key":"aw==","create_revision":6,"mod_revision":5,"version":1)",
               R"("key":"aw==","create_revision":4,"mod_revision":5,"version":1)",
               R"("key":"aw==","create_revision":5,"mod_revision":5,"version":2)",
               R"("key":"aw==","create_revision":4,"mod_revision":5,"version":3)",
               R"("key":"aw==","create_revision":5,"mod_revision":5)");
  CAPTURE(kv);
  CHECK(CodeOf("[" + Element(kv) + "]", 5, 5) == "delta-event");
  CHECK(
      CodeOf("[" + Element(R"("key":"aw==","value":"dg==","mod_revision":5)", R"("type":1,)") + "]",
             5, 5) == "delta-event");
}

TEST_CASE("RevisionsThatDoNotFollowEachOtherAreRefused") {
  History history;
  history.Put("a", "1").Put("b", "2").Put("c", "3").Put("d", "4").AndPut("e", "5");
  const auto json = [&](std::size_t write) { return testing::EventJson(history.writes()[write]); };
  const auto list = [&](const std::vector<std::size_t>& writes) {
    std::string text = "[";
    for (const std::size_t write : writes) text += (text.size() > 1 ? "," : "") + json(write);
    return text + "]";
  };
  CHECK(CodeOf(list({0, 1, 2, 3, 4}), 2, 5).empty());
  CHECK(CodeOf(list({0, 2, 1, 3, 4}), 2, 5) == "delta-hole");
  CHECK(CodeOf(list({0, 1, 0, 2, 3}), 2, 5) == "delta-order");
  CHECK(CodeOf(list({0, 1, 3, 4}), 2, 5) == "delta-hole");
  CHECK(CodeOf(list({1, 2, 3, 4}), 2, 5) == "delta-hole");
  CHECK(CodeOf(list({0, 1, 2}), 3, 4) == "delta-order");
  CHECK(CodeOf(list({0, 1, 2}), 2, 5) == "delta-short");
  CHECK(CodeOf(list({0, 1, 2, 3, 4}), 2, 4) == "delta-beyond-name");
  CHECK(CodeOf(list({0, 1, 2, 3, 3, 4}), 2, 5) == "delta-duplicate-key");
  CHECK(CodeOf("[]", 2, 2) == "delta-empty");
}

TEST_CASE("AKeyThatComesTwiceInALongTransactionIsFound") {
  History history;
  history.Put("first", "1");
  for (int i = 0; i < 300; ++i) history.AndPut("key-" + std::to_string(i), "v");
  CHECK(CodeOf(testing::ListJson(history, 2, 2), 2, 2).empty());
  std::string list = testing::ListJson(history, 2, 2);
  list.back() = ',';
  CHECK(CodeOf(list + testing::EventJson(history.writes()[250]) + "]", 2, 2) ==
        "delta-duplicate-key");
}

TEST_CASE("ADigestThatDoesNotFitIsRefused") {
  const History history = testing::SampleHistory(50);
  Bytes content = DeltaContent(history, 2, 51);
  Bytes more = content;
  more.push_back(std::byte{0});
  CHECK(Opened(more, 2, 51).Code() == "delta-trailing-bytes");
  content.back() ^= std::byte{1};
  CHECK(Opened(content, 2, 51).Code() == "delta-hash-mismatch");
}

TEST_CASE("EveryTruncationOfADeltaIsRefused") {
  const History history = testing::SampleHistory(4);
  const Bytes content = DeltaContent(history, 2, 5);
  for (std::size_t size = 0; size < content.size(); ++size) {
    CAPTURE(size);
    CHECK(Opened(ToBytes(ByteView(content).first(size)), 2, 5).Code() == "delta-truncated");
  }
}

TEST_CASE("OneChangedByteNeverPasses") {
  const History history = testing::SampleHistory(6);
  const Bytes content = DeltaContent(history, 2, 7);
  for (std::size_t at = 0; at < content.size(); ++at) {
    Bytes changed = content;
    changed[at] ^= std::byte{4};
    CAPTURE(at);
    CHECK_FALSE(Opened(changed, 2, 7).Code().empty());
  }
}

TEST_CASE("AfterAnErrorTheReaderGivesItAgain") {
  Opened delta(DeltaContent("[]"), 2, 2);
  CHECK(delta.Code() == "delta-empty");
  CHECK(delta.Code() == "delta-empty");
}

// Bytes without an end, made as they are asked for.
class Endless final : public ByteSource {
 public:
  Endless(std::string start, std::string again)
      : start_(std::move(start)), again_(std::move(again)) {}
  Result<std::size_t> Read(std::span<std::byte> into) override {
    for (auto& byte : into) {
      const std::uint64_t at = position_++;
      const char next =
          at < start_.size() ? start_[at] : again_[(at - start_.size()) % again_.size()];
      byte = static_cast<std::byte>(next);
    }
    return into.size();
  }
  std::uint64_t stored_position() const override { return position_; }

 private:
  std::string start_;
  std::string again_;
  std::uint64_t position_ = 0;
};

std::string EndlessCode(std::string start, std::string again) {
  EventReader reader(std::make_unique<Endless>(std::move(start), std::move(again)),
                     {ObjectKind::kDelta, 5, 9, 1, Compression::kNone, false}, "delta");
  for (;;) {
    const auto event = reader.Next();
    if (!event) {
      CHECK(reader.stored_position() < 200 * kMiB);
      return event.error().code;
    }
    REQUIRE(*event != nullptr);
  }
}

TEST_CASE("WhatNeverEndsIsGivenUpEarly") {
  const std::string put =
      Element(R"("key":"aw==","create_revision":5,"mod_revision":5,"version":1)") + ",";
  CHECK(EndlessCode("[", " ") == "delta-too-large");
  CHECK(EndlessCode("[" + put, " ") == "delta-too-large");
  CHECK(EndlessCode(R"([{"etcdEvent":{"kv":{"value":")", "A") == "delta-too-large");
  CHECK(EndlessCode(R"([{"etcdEvent":{"kv":{"version":)", "1") == "delta-json");
  CHECK(EndlessCode("[", put) == "delta-duplicate-key");
  CHECK(EndlessCode("", std::string(1, '\0')) == "delta-json");
}

}  // namespace
}  // namespace rescue::backup
