#include "rescue/rpc/record.h"

#include <catch2/catch_test_macros.hpp>
#include <random>
#include <utility>
#include <vector>

namespace rescue::rpc {
namespace {

struct Read {
  std::vector<std::string> texts;
  int too_long = 0;
};

// The stream in pieces of this size.
Read ReadAll(std::string_view stream, std::size_t piece) {
  Read read;
  RecordReader reader;
  while (!stream.empty()) {
    const auto part = stream.substr(0, piece);
    reader.Feed(AsBytes(part), [&](Record record) {
      read.too_long += record.too_long ? 1 : 0;
      read.texts.emplace_back(AsText(std::as_const(record.text).Reveal()));
    });
    stream.remove_prefix(part.size());
  }
  return read;
}

TEST_CASE("RecordsAreFoundWhateverLiesBetweenThem") {
  const std::string stream = "echoed\r\n[    1.5] kernel: words\r\n" + ToRecord(R"({"a":1})") +
                             "\x1b]104\x07[    2.0] more\n" + ToRecord(R"({"b":2})") + "rest";
  for (const std::size_t piece : {1U, 2U, 3U, 7U, 1000U}) {
    CHECK(ReadAll(stream, piece).texts == std::vector<std::string>{R"({"a":1})", R"({"b":2})"});
  }
}

TEST_CASE("AMebibyteOfGarbageBeforeTheFirstRecordIsSkipped") {
  std::mt19937 random(1);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same garbage every time
  std::string garbage(1 << 20, '\0');
  for (auto& c : garbage) {
    do {
      c = static_cast<char>(random());
    } while (c == '\x1e');
  }
  CHECK(ReadAll(garbage + ToRecord("{}"), 4096).texts == std::vector<std::string>{"{}"});
  // Even when it looks like the start of a record.
  const auto read = ReadAll("\x1e" + garbage + "\n" + ToRecord("{}"), 4096);
  REQUIRE_FALSE(read.texts.empty());
  CHECK(read.texts.back() == "{}");
}

TEST_CASE("ARecordThatIsCutOffByAnotherIsDropped") {
  const auto read = ReadAll(std::string("\x1e{\"half\":") + ToRecord("{}"), 5);
  CHECK(read.texts == std::vector<std::string>{"{}"});
}

TEST_CASE("ARecordThatIsTooLongIsReportedOnceAndTheNextOneIsRead") {
  const std::string stream = "\x1e" + std::string(kMaxRecord + 1, 'x') + "\n" + ToRecord("{}");
  const auto read = ReadAll(stream, 4096);
  CHECK(read.too_long == 1);
  CHECK(read.texts == std::vector<std::string>{"", "{}"});
  // The longest that is taken.
  const auto longest = ReadAll(ToRecord(std::string(kMaxRecord, 'x')), 4096);
  CHECK(longest.too_long == 0);
  REQUIRE(longest.texts.size() == 1);
  CHECK(longest.texts[0].size() == kMaxRecord);
}

TEST_CASE("AnEmptyRecordIsARecord") {
  CHECK(ReadAll(ToRecord(""), 1).texts == std::vector<std::string>{""});
}

TEST_CASE("AfterAResetWhatHadBegunIsForgotten") {
  RecordReader reader;
  int records = 0;
  reader.Feed(AsBytes("\x1e{\"half\":"), [&](const Record&) { ++records; });
  reader.Reset();
  reader.Feed(AsBytes("1}\n"), [&](const Record&) { ++records; });
  CHECK(records == 0);
}

}  // namespace
}  // namespace rescue::rpc
