// Stores that someone tampered with, or that went wrong: each ends in the refusal that names what
// is wrong, and nothing in it has changed.
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "rescue/backup/events.h"
#include "rescue/backup/store_testing.h"
#include "rescue/backup/survey.h"
#include "rescue/base/real_file_system.h"
#include "rescue/base/units.h"

namespace rescue::backup {
namespace {

namespace fs = std::filesystem;
using testing::DeltaContent;
using testing::History;
using testing::StoreFolder;
using testing::WithDigest;

constexpr std::uint64_t kFullAt = 21;
constexpr std::uint64_t kLast = 61;

// A full at 21 and two deltas, 22-41 and 42-61, when nothing is wrong.
class Sample {
 public:
  explicit Sample(Compression compression = Compression::kNone) : folder_(compression) {}

  static const History& history() {
    static const History made = testing::SampleHistory(60);
    return made;
  }
  StoreFolder& folder() { return folder_; }

  Sample& Full() {
    folder_.Full(history(), kFullAt, 100);
    return *this;
  }
  Sample& FullOf(ByteView content) {
    folder_.Object("Full", 0, kFullAt, 100, content);
    return *this;
  }
  Sample& FirstDelta() {
    folder_.Delta(history(), 22, 41, 101);
    return *this;
  }
  Sample& SecondDelta() {
    folder_.Delta(history(), 42, kLast, 102);
    return *this;
  }
  // In place of the second delta.
  Sample& Delta(ByteView content, std::uint64_t first = 42, std::uint64_t last = kLast) {
    folder_.Object("Incr", first, last, 102, content);
    return *this;
  }
  Sample& List(const std::string& list) { return Delta(DeltaContent(list)); }
  // The second delta's list with one piece of text exchanged.
  Sample& Changed(const std::string& from, const std::string& to) {
    std::string list = testing::ListJson(history(), 42, kLast);
    const std::size_t at = list.find(from);
    REQUIRE(at != std::string::npos);
    return List(list.replace(at, from.size(), to));
  }
  Sample& Raw(const std::string& name, ByteView content) {
    folder_.File("etcd/v2/" + name, content);
    return *this;
  }

 private:
  StoreFolder folder_;
};

Bytes FullBytes() { return testing::FullContent(Sample::history(), kFullAt); }
Bytes Without(Bytes bytes, std::size_t count) {
  bytes.resize(bytes.size() - count);
  return bytes;
}
Bytes Flipped(Bytes bytes, std::size_t at) {
  bytes[at] ^= std::byte{1};
  return bytes;
}
Bytes Joined(Bytes bytes, ByteView more) {
  Append(bytes, more);
  return bytes;
}
Bytes Text(std::string_view text) { return ToBytes(AsBytes(text)); }
Bytes SecondDelta() { return DeltaContent(Sample::history(), 42, kLast); }

// A meta page that promises pages which are not there; the digest fits.
Bytes FullThatClaimsMore() {
  auto backend = mvcc::testing::MakeBackend(Sample::history().Until(kFullAt));
  auto meta = backend.GetMeta(1);
  meta.high_water_mark = std::uint64_t{1} << 30;
  backend.SetMeta(1, meta);
  return WithDigest(backend.bytes());
}

Bytes OtherProgramsDatabase() {
  bolt::testing::TestFile other;
  const auto root = other.Leaf({{"a", "b"}});
  other.Finish(other.Leaf({bolt::testing::TestFile::BucketAt("volumes", root)}));
  return WithDigest(other.bytes());
}

// Starts as a backend of a few pages and does not end for a long time.
Bytes FullBomb() {
  Bytes bytes = FullBytes();
  bytes.resize(300 * kMiB);
  return bytes;
}

std::string DeltaBomb(const std::string& start, char again) {
  return start + std::string(80 * kMiB, again);
}

struct Case {
  const char* name;
  const char* code;
  Compression compression;
  std::function<void(Sample&)> make;
  std::optional<std::uint64_t> to_revision = std::nullopt;
};

constexpr auto kNone = Compression::kNone;
constexpr auto kGzip = Compression::kGzip;
constexpr auto kZlib = Compression::kZlib;
constexpr auto kLzw = Compression::kLzw;

std::string EventText(const std::string& kv, const std::string& type = "") {
  return R"([{"etcdEvent":{)" + type + R"("kv":{)" + kv + R"(}},"time":"t"}])";
}

const std::vector<Case>& WrongPlaces() {
  static const std::vector<Case> cases = {
      {"nothing at all", "no-backup", kNone, [](Sample& s) { s.Raw("note.txt", Text("x")); }},
      {"numbers beyond 63 bits", "no-backup", kNone,
       [](Sample& s) { s.Raw("Full-00000000-9223372036854775808-100", FullBytes()); }},
      {"a negative number in a name", "no-backup", kNone,
       [](Sample& s) { s.Raw("Full-00000000--0000021-100", FullBytes()); }},
      {"a name that ends before it starts", "no-backup", kNone,
       [](Sample& s) { s.Raw("Full-00000022-00000021-100", FullBytes()); }},
      {"two etcds in one folder", "several-stores", kNone,
       [](Sample& s) {
         s.Full();
         s.folder().In("other/v2").Full(Sample::history(), kFullAt, 100);
       }},
      {"a full that is a link out of the store", "no-backup", kNone,
       [](Sample& s) {
         s.Raw("note.txt", Text("x"));
         fs::create_symlink("/etc/passwd",
                            s.folder().path() / "etcd/v2/Full-00000000-00000021-100");
       }},
      {"a delta that is a link out of the store", "backup-gap", kNone,
       [](Sample& s) {
         s.Full().SecondDelta();
         fs::create_symlink("/etc/passwd",
                            s.folder().path() / "etcd/v2/Incr-00000022-00000041-101");
       }},
      {"a folder of links that leads in a circle", "no-backup", kNone,
       [](Sample& s) {
         s.Raw("note.txt", Text("x"));
         fs::create_directory_symlink("..", s.folder().path() / "etcd/v2/again");
       }},
      {"a full that is a folder", "no-backup", kNone,
       [](Sample& s) { s.Raw("Full-00000000-00000021-100/x", Text("x")); }},
      {"a full that is a pipe", "no-backup", kNone,
       [](Sample& s) {
         s.Raw("note.txt", Text("x"));
         REQUIRE(::mkfifo((s.folder().path() / "etcd/v2/Full-00000000-00000021-100").c_str(),
                          0600) == 0);
       }},
      {"deltas only", "no-full", kNone, [](Sample& s) { s.FirstDelta().SecondDelta(); }},
      {"a delta missing", "backup-gap", kNone, [](Sample& s) { s.Full().SecondDelta(); }},
      {"a revision that nothing reaches", "revision-unreachable", kNone,
       [](Sample& s) { s.Full().FirstDelta(); }, 42},
      {"a revision before every full", "no-full", kNone, [](Sample& s) { s.Full(); }, 20},
      {"a delta that claims every revision", "delta-hole", kNone,
       [](Sample& s) { s.Full().Delta(SecondDelta(), 1, 9223372036854775807); }},
  };
  return cases;
}

const std::vector<Case>& WrongFulls() {
  static const std::vector<Case> cases = {
      {"an empty full", "snapshot-not-a-backend", kNone, [](Sample& s) { s.FullOf({}); }},
      {"a full of text", "snapshot-not-a-backend", kNone,
       [](Sample& s) { s.FullOf(Text(std::string(20'000, 'x'))); }},
      {"another program's database", "snapshot-not-a-backend", kNone,
       [](Sample& s) { s.FullOf(OtherProgramsDatabase()); }},
      {"half a full", "snapshot-truncated", kNone,
       [](Sample& s) { s.FullOf(Without(FullBytes(), FullBytes().size() / 2)); }},
      {"a digest that is cut", "snapshot-truncated", kNone,
       [](Sample& s) { s.FullOf(Without(FullBytes(), 7)); }},
      {"pages promised that are not there", "snapshot-truncated", kNone,
       [](Sample& s) { s.FullOf(FullThatClaimsMore()); }},
      {"no digest", "snapshot-hash-missing", kNone,
       [](Sample& s) { s.FullOf(Without(FullBytes(), 32)); }},
      {"a digest of zeros", "snapshot-hash-zero", kNone,
       [](Sample& s) { s.FullOf(Joined(Without(FullBytes(), 32), Bytes(32))); }},
      {"another digest", "snapshot-hash-mismatch", kNone,
       [](Sample& s) { s.FullOf(Flipped(FullBytes(), FullBytes().size() - 1)); }},
      {"one bit of a page", "snapshot-hash-mismatch", kNone,
       [](Sample& s) { s.FullOf(Flipped(FullBytes(), FullBytes().size() - 100)); }},
      {"bytes behind the digest", "snapshot-damaged", kNone,
       [](Sample& s) { s.FullOf(Joined(FullBytes(), Bytes(100))); }},
      {"a full older than its name", "full-short", kNone,
       [](Sample& s) { s.folder().Full(Sample::history(), kFullAt, 100, 20); }},
      {"gzip that is none", "object-corrupt", kNone,
       [](Sample& s) { s.Raw("Full-00000000-00000021-100.gz", FullBytes()); }},
      {"zlib that is none", "object-corrupt", kNone,
       [](Sample& s) { s.Raw("Full-00000000-00000021-100.zlib", FullBytes()); }},
      {"lzw that is none", "object-corrupt", kNone,
       [](Sample& s) { s.Raw("Full-00000000-00000021-100.Z", Bytes(1000, std::byte{0xff})); }},
      {"a full that does not end", "object-too-large", kGzip,
       [](Sample& s) { s.FullOf(FullBomb()); }},
      {"zeros that do not end", "snapshot-not-a-backend", kZlib,
       [](Sample& s) { s.FullOf(Bytes(300 * kMiB)); }},
  };
  return cases;
}

const std::vector<Case>& WrongObjects() {
  static const std::vector<Case> cases = {
      {"gzip cut short", "object-truncated", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Raw("Incr-00000042-00000061-102.gz",
                                   Without(testing::Compress(SecondDelta(), kGzip), 9));
       }},
      {"lzw cut short", "object-truncated", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Raw("Incr-00000042-00000061-102.Z",
                                   Without(testing::Compress(SecondDelta(), kLzw), 2));
       }},
      {"a wrong checksum of gzip", "object-corrupt", kNone,
       [](Sample& s) {
         Bytes packed = testing::Compress(SecondDelta(), kGzip);
         packed[packed.size() - 6] ^= std::byte{1};
         s.Full().FirstDelta().Raw("Incr-00000042-00000061-102.gz", packed);
       }},
      {"bytes behind the end of zlib", "object-trailing-bytes", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Raw("Incr-00000042-00000061-102.zlib",
                                   Joined(testing::Compress(SecondDelta(), kZlib), Text("x")));
       }},
      {"two gzips in one object", "object-trailing-bytes", kNone,
       [](Sample& s) {
         const Bytes packed = testing::Compress(SecondDelta(), kGzip);
         s.Full().FirstDelta().Raw("Incr-00000042-00000061-102.gz", Joined(packed, packed));
       }},
      {"blanks that do not end", "delta-too-large", kGzip,
       [](Sample& s) { s.Full().FirstDelta().Delta(Text(DeltaBomb("[", ' '))); }},
      {"a value that does not end", "delta-too-large", kZlib,
       [](Sample& s) {
         s.Full().FirstDelta().Delta(Text(DeltaBomb(R"([{"etcdEvent":{"kv":{"value":")", 'A')));
       }},
      {"zeros in place of events", "delta-json", kGzip,
       [](Sample& s) { s.Full().FirstDelta().Delta(Bytes(80 * kMiB)); }},
  };
  return cases;
}

const std::vector<Case>& WrongEvents() {
  static const std::vector<Case> cases = {
      {"an empty delta", "delta-empty", kNone, [](Sample& s) { s.Full().FirstDelta().List("[]"); }},
      {"an object without bytes", "delta-truncated", kNone,
       [](Sample& s) { s.Full().FirstDelta().Delta({}); }},
      {"a list that is cut", "delta-truncated", kNone,
       [](Sample& s) { s.Full().FirstDelta().Delta(Without(SecondDelta(), 500)); }},
      {"no digest", "delta-truncated", kNone,
       [](Sample& s) { s.Full().FirstDelta().Delta(Without(SecondDelta(), 32)); }},
      {"another digest", "delta-hash-mismatch", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Delta(Flipped(SecondDelta(), SecondDelta().size() - 1));
       }},
      {"bytes behind the digest", "delta-trailing-bytes", kNone,
       [](Sample& s) { s.Full().FirstDelta().Delta(Joined(SecondDelta(), Text("x"))); }},
      {"a name that promises more", "delta-short", kNone,
       [](Sample& s) { s.Full().FirstDelta().Delta(SecondDelta(), 42, 62); }},
      {"a name that promises less", "delta-beyond-name", kNone,
       [](Sample& s) { s.Full().FirstDelta().Delta(SecondDelta(), 42, 60); }},
      {"a name that starts later", "delta-order", kNone,
       [](Sample& s) {
         s.Full().FirstDelta();
         s.folder().Object("Incr", 42, kLast, 102, DeltaContent(Sample::history(), 41, kLast));
       }},
      {"events of another delta", "delta-order", kNone,
       [](Sample& s) { s.Full().FirstDelta().Delta(DeltaContent(Sample::history(), 22, 41)); }},
      {"revisions out of order", "delta-order", kNone,
       [](Sample& s) {
         std::string list = testing::ListJson(Sample::history(), 42, 60);
         list.back() = ',';
         s.Full().FirstDelta().List(list + testing::ListJson(Sample::history(), 43, 43).substr(1));
       }},
      {"a revision left out", "delta-hole", kNone,
       [](Sample& s) {
         std::string list = testing::ListJson(Sample::history(), 42, 50);
         list.back() = ',';
         s.Full().FirstDelta().List(list +
                                    testing::ListJson(Sample::history(), 52, kLast).substr(1));
       }},
      {"a key twice in a transaction", "delta-duplicate-key", kNone,
       [](Sample& s) {
         std::string list = testing::ListJson(Sample::history(), 42, 42);
         list.back() = ',';
         s.Full().FirstDelta().List(list +
                                    testing::ListJson(Sample::history(), 42, kLast).substr(1));
       }},
      {"a negative revision", "delta-json", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Changed(R"("mod_revision":42)", R"("mod_revision":-42)");
       }},
      {"a negative lease", "delta-json", kNone,
       [](Sample& s) { s.Full().FirstDelta().Changed(R"("lease":)", R"("lease":-)"); }},
      {"a number of 20 digits", "delta-json", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Changed(R"("mod_revision":42)",
                                       R"("mod_revision":42424242424242424242)");
       }},
      {"a number with a fraction", "delta-json", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Changed(R"("mod_revision":42)", R"("mod_revision":42.0)");
       }},
      {"a number as text", "delta-json", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Changed(R"("mod_revision":42)", R"("mod_revision":"42")");
       }},
      {"a field twice", "delta-json", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Changed(R"("mod_revision":42)",
                                       R"("mod_revision":42,"mod_revision":43)");
       }},
      {"a field that nobody knows", "delta-json", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().Changed(R"("mod_revision":42)", R"("mod_revision":42,"ttl":1)");
       }},
      {"a type that nobody knows", "delta-json", kNone,
       [](Sample& s) { s.Full().FirstDelta().Changed(R"({"kv":)", R"({"type":7,"kv":)"); }},
      {"a key that is no base64", "delta-json", kNone,
       [](Sample& s) { s.Full().FirstDelta().Changed(R"("key":")", R"("key":"*)"); }},
      {"no list", "delta-json", kNone,
       [](Sample& s) { s.Full().FirstDelta().List(R"({"events":[]})"); }},
      {"lists inside the list, ten thousand deep", "delta-json", kNone,
       [](Sample& s) { s.Full().FirstDelta().List(std::string(10'000, '[')); }},
      {"an event without a key", "delta-event", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().List(
             EventText(R"("create_revision":42,"mod_revision":42,"version":1)"));
       }},
      {"an event without a revision", "delta-event", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().List(EventText(R"("key":"aw==","create_revision":42,"version":1)"));
       }},
      {"a key that is created after it was written", "delta-event", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().List(
             EventText(R"("key":"aw==","create_revision":43,"mod_revision":42,"version":1)"));
       }},
      {"more versions than revisions", "delta-event", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().List(
             EventText(R"("key":"aw==","create_revision":41,"mod_revision":42,"version":3)"));
       }},
      {"a deletion with a value", "delta-event", kNone,
       [](Sample& s) {
         s.Full().FirstDelta().List(
             EventText(R"("key":"aw==","mod_revision":42,"value":"dg==")", R"("type":1,)"));
       }},
  };
  return cases;
}

// Every name below the folder with its size and time of change.
std::map<std::string, std::string> Fingerprint(const fs::path& folder) {
  std::map<std::string, std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    struct stat status {};
    REQUIRE(::lstat(entry.path().c_str(), &status) == 0);
    found[entry.path().lexically_relative(folder).string()] =
        fmt::format("{:o} {} {}.{}", status.st_mode, status.st_size, status.st_mtim.tv_sec,
                    status.st_mtim.tv_nsec);
  }
  return found;
}

Result<std::uint64_t> Read(const fs::path& folder, std::optional<std::uint64_t> to_revision) {
  ASSIGN_OR_RETURN(const auto view, RealFileSystem::OpenRoot(folder.string()));
  ASSIGN_OR_RETURN(const auto catalogue, ListStore(*view, ""));
  ASSIGN_OR_RETURN(const auto store, OnlyStore(catalogue));
  if (to_revision) {
    ASSIGN_OR_RETURN(const auto chain, ChooseChain(store, to_revision, HeldIn(*view)));
    return chain.target;
  }
  ASSIGN_OR_RETURN(const auto survey, SurveyStore(*view, store));
  if (survey.obstacle) return Fail(*survey.obstacle);
  return survey.reachable;
}

void CheckCases(const std::vector<Case>& cases) {
  for (const auto& one : cases) {
    CAPTURE(one.name);
    Sample sample(one.compression);
    one.make(sample);
    const auto before = Fingerprint(sample.folder().path());
    const auto read = Read(sample.folder().path(), one.to_revision);
    CHECK((read ? "" : read.error().code) == one.code);
    if (!read) {
      CHECK_FALSE(read.error().message.empty());
      CHECK_FALSE(read.error().hint.empty());
      CHECK(read.error().message.find('\n') == std::string::npos);
    }
    CHECK(Fingerprint(sample.folder().path()) == before);
  }
}

TEST_CASE("ASoundStoreIsTaken") {
  for (const auto compression : {kNone, kGzip, kZlib, kLzw}) {
    Sample sample(compression);
    sample.Full().FirstDelta().SecondDelta();
    CHECK(Read(sample.folder().path(), std::nullopt) == kLast);
    CHECK(Read(sample.folder().path(), 30) == 30);
  }
}

TEST_CASE("NamesAndPlacesThatLieAreRefused") { CheckCases(WrongPlaces()); }
TEST_CASE("FullsThatLieAreRefused") { CheckCases(WrongFulls()); }
TEST_CASE("ObjectsThatLieAreRefused") { CheckCases(WrongObjects()); }
TEST_CASE("EventsThatLieAreRefused") { CheckCases(WrongEvents()); }

// gzip of 100 GiB: a head, one block again and again. Made as it is read.
class Bomb final : public ReadableFile {
 public:
  Bomb(Bytes head, Bytes block, std::uint64_t count)
      : head_(std::move(head)), block_(std::move(block)), count_(count) {}
  std::uint64_t size() const override { return head_.size() + block_.size() * count_; }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    std::size_t done = 0;
    for (; done < into.size() && offset + done < size(); ++done) {
      const std::uint64_t at = offset + done;
      into[done] = at < head_.size() ? head_[static_cast<std::size_t>(at)]
                                     : block_[(at - head_.size()) % block_.size()];
    }
    return done;
  }

 private:
  Bytes head_;
  Bytes block_;
  std::uint64_t count_;
};

// Compressed up to a boundary from which the same block can be repeated.
Bytes Flushed(z_stream& stream, ByteView plain) {
  Bytes packed(plain.size() + 1000);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): zlib does not write there
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  REQUIRE(deflate(&stream, Z_FULL_FLUSH) == Z_OK);
  packed.resize(packed.size() - stream.avail_out);
  return packed;
}

std::string BombCode(ByteView start, char again, bool full) {
  constexpr std::size_t kBlockSize = 16 * kMiB;
  z_stream stream{};
  REQUIRE(deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes head = Flushed(stream, start);
  Bytes block = Flushed(stream, Bytes(kBlockSize, static_cast<std::byte>(again)));
  deflateEnd(&stream);
  const Bomb bomb(std::move(head), std::move(block), 100 * kGiB / kBlockSize);
  if (full) {
    const auto opened = OpenFull(bomb, "Full-00000000-00000021-100.gz");
    return opened ? "" : opened.error().code;
  }
  EventReader reader(OpenObject(bomb, {kGzip, kMaxDeltaSize, "bomb"}),
                     {ObjectKind::kDelta, 5, 9, 1, kGzip, false}, "bomb");
  const auto event = reader.Next();
  return event ? "" : event.error().code;
}

TEST_CASE("HundredGibibytesAreNotDecompressed") {
  CHECK(BombCode(FullBytes(), '\0', /*full=*/true) == "object-too-large");
  CHECK(BombCode({}, '\0', /*full=*/true) == "snapshot-not-a-backend");
  CHECK(BombCode(FullThatClaimsMore(), '\0', /*full=*/true) == "object-too-large");
  CHECK(BombCode(Text("["), ' ', /*full=*/false) == "delta-too-large");
  CHECK(BombCode({}, '\0', /*full=*/false) == "delta-json");
  CHECK(BombCode(Text(R"([{"etcdEvent":{"kv":{"key":")"), 'A', /*full=*/false) ==
        "delta-too-large");
}

TEST_CASE("ThereAreAtLeastFortyHostileStores") {
  CHECK(WrongPlaces().size() + WrongFulls().size() + WrongObjects().size() + WrongEvents().size() >=
        40);
}

}  // namespace
}  // namespace rescue::backup
