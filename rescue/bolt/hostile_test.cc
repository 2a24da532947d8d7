// Damaged copies of a real etcd backend: whatever the bytes say, opening, walking and checking end
// in a value or an error. Run under AddressSanitizer and UndefinedBehaviorSanitizer (preset debug).
#include <catch2/catch_test_macros.hpp>
#include <cstring>
#include <random>

#include "rescue/base/checksum.h"
#include "rescue/bolt/check.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/format.h"
#include "rescue/bolt/test_file.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt {
namespace {

using testing::RealBackend;
using testing::ViewFile;

struct Outcome {
  bool opened = false;
  bool walked = false;   // every bucket to its end
  bool checked = false;  // the check ran to its end
  bool clean = false;
  std::string code;  // why it was not opened
};

bool Walk(const Bucket& bucket, int depth) {
  bool whole = true;
  std::vector<std::string> inner;
  const auto status = bucket.ForEach([&](ByteView key, ByteView, bool is_bucket) {
    if (is_bucket) inner.emplace_back(AsText(key));
    return true;
  });
  whole = status.has_value() && bucket.Last().has_value();
  // A damaged bucket may hold itself.
  if (depth == 0) return whole;
  for (const std::string& name : inner) {
    const auto found = bucket.FindBucket(AsBytes(name));
    whole = found && *found && Walk(**found, depth - 1) && whole;
  }
  return whole;
}

Outcome Try(ByteView bytes) {
  const ViewFile file(bytes);
  Outcome outcome;
  const auto report = Check(file);
  outcome.checked = report.has_value();
  outcome.clean = report && report->clean();
  const auto database = Database::Open(file);
  outcome.opened = database.has_value();
  if (database) {
    outcome.walked = Walk(database->Root(), 3);
  } else {
    outcome.code = database.error().code;
  }
  return outcome;
}

MetaBody MetaAt(const Bytes& bytes, std::size_t page) {
  MetaBody body;
  std::memcpy(&body, bytes.data() + page * 4096 + sizeof(PageHeader), sizeof(body));
  return body;
}

void PutMeta(Bytes& bytes, std::size_t page, MetaBody body) {
  body.checksum = Fnv1a64(std::as_bytes(std::span(&body, 1)).first(kMetaChecksummed));
  std::memcpy(bytes.data() + page * 4096 + sizeof(PageHeader), &body, sizeof(body));
}

// Damage must get past the checksum to reach anything behind it.
void RepairMetas(Bytes& bytes) {
  for (std::size_t page = 0; page < 2; ++page) {
    if (bytes.size() < page * 4096 + sizeof(PageHeader) + sizeof(MetaBody)) return;
    MetaBody body = MetaAt(bytes, page);
    if (body.magic == kMagic && body.version == kVersion) PutMeta(bytes, page, body);
  }
}

TEST_CASE("The real backend is clean") {
  const Outcome outcome = Try(RealBackend());
  CHECK(outcome.opened);
  CHECK(outcome.walked);
  CHECK(outcome.clean);
}

TEST_CASE("A backend cut at any length is refused with a reason") {
  const Bytes whole = RealBackend();
  rescue::testing::ForEveryTruncation(whole, [&](ByteView bytes) {
    const Outcome outcome = Try(bytes);
    if (bytes.size() == whole.size()) {
      REQUIRE(outcome.clean);
    } else {
      REQUIRE_FALSE(outcome.opened);
      REQUIRE_FALSE(outcome.checked);
      const bool named = outcome.code == "bolt-too-short" || outcome.code == "bolt-truncated" ||
                         outcome.code == "bolt-no-meta";
      REQUIRE(named);
    }
  });
}

TEST_CASE("A backend cut at any page, with meta pages that agree, is never clean") {
  const Bytes whole = RealBackend();
  for (std::size_t pages = 3; pages < whole.size() / 4096; ++pages) {
    Bytes cut(whole.begin(), whole.begin() + static_cast<long>(pages * 4096));
    for (std::size_t meta = 0; meta < 2; ++meta) {
      MetaBody body = MetaAt(cut, meta);
      body.high_water_mark = pages;
      PutMeta(cut, meta, body);
    }
    const Outcome outcome = Try(cut);
    REQUIRE_FALSE(outcome.clean);
    REQUIRE((outcome.checked || outcome.code == "bolt-meta-bounds"));
  }
}

TEST_CASE("Ten thousand damaged backends end in a value or an error") {
  const Bytes whole = RealBackend();
  int opened = 0;
  int clean = 0;
  int damaged_and_noticed = 0;
  rescue::testing::ForRandomMutations(
      whole, 20261121, 10000,
      [&](ByteView bytes) {
        const Outcome outcome = Try(bytes);
        REQUIRE(outcome.checked == outcome.opened);
        // What the check calls clean can be read to the end.
        if (outcome.clean) REQUIRE(outcome.walked);
        opened += outcome.opened ? 1 : 0;
        clean += outcome.clean ? 1 : 0;
        damaged_and_noticed += outcome.checked && !outcome.clean ? 1 : 0;
      },
      RepairMetas);
  // The damage must reach all three: values and free pages, the tree, and what is behind the metas.
  CHECK(opened > 3000);
  CHECK(clean > 500);
  CHECK(damaged_and_noticed > 500);
}

// The same on the pages that hold structure, where chance rarely hits: headers and element tables.
TEST_CASE("Ten thousand backends with damaged structure end in a value or an error") {
  const Bytes whole = RealBackend();
  std::mt19937 random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same damage every time
  int noticed = 0;
  for (int i = 0; i < 10000; ++i) {
    Bytes damaged = whole;
    const std::size_t pages = whole.size() / 4096;
    for (std::size_t changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t page = random() % pages;
      const std::size_t at = page * 4096 + random() % (page < 2 ? 80 : 16 + 12 * 16);
      const auto kind = random() % 3;
      damaged[at] = kind == 0   ? static_cast<std::byte>(random() % (pages + 2))
                    : kind == 1 ? std::byte{0}
                                : static_cast<std::byte>(random());
    }
    RepairMetas(damaged);
    const Outcome outcome = Try(damaged);
    REQUIRE(outcome.checked == outcome.opened);
    if (outcome.clean) REQUIRE(outcome.walked);
    noticed += outcome.checked && !outcome.clean ? 1 : 0;
  }
  CHECK(noticed > 1000);
}

}  // namespace
}  // namespace rescue::bolt
