// For tests: backup stores made by hand from a history of writes, in every layout and compression,
// sound or damaged in any way. Shares no code with the reader: JSON is put together as text, LZW
// has its own, naive encoder.
#pragma once

#include <fmt/format.h>
#include <zlib.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "rescue/backup/object.h"
#include "rescue/base/checksum.h"
#include "rescue/mvcc/history_testing.h"
#include "tests/support/fixtures.h"

namespace rescue::backup::testing {

using mvcc::testing::History;
using mvcc::testing::Write;

// ---- plain contents ----

inline Bytes WithDigest(Bytes content) {
  const Sha256Digest digest = Sha256(content);
  content.insert(content.end(), digest.begin(), digest.end());
  return content;
}

// What `etcdctl snapshot save` would write when `revision` was the last one.
inline Bytes FullContent(const History& history, std::uint64_t revision) {
  return WithDigest(mvcc::testing::MakeBackend(history.Until(revision)).bytes());
}

inline std::string EventJson(const Write& write) {
  std::string kv = fmt::format(R"("key":"{}")", ToBase64(AsBytes(write.key)));
  const auto number = [&](const char* name, std::uint64_t value) {
    if (value != 0) kv += fmt::format(R"(,"{}":{})", name, value);
  };
  number("create_revision", write.create_revision);
  number("mod_revision", write.revision.main);
  number("version", write.version);
  if (!write.value.empty()) kv += fmt::format(R"(,"value":"{}")", ToBase64(AsBytes(write.value)));
  number("lease", write.lease);
  return fmt::format(R"({{"etcdEvent":{{{}"kv":{{{}}}}},"time":"2026-11-21T09:08:00.1Z"}})",
                     write.tombstone ? R"("type":1,)" : "", kv);
}

inline std::string ListJson(const History& history, std::uint64_t first, std::uint64_t last) {
  std::string list = "[";
  for (const Write& write : history.writes()) {
    if (write.revision.main < first || write.revision.main > last) continue;
    if (list.size() > 1) list += ',';
    list += EventJson(write);
  }
  return list + "]";
}

inline Bytes DeltaContent(const std::string& list) { return WithDigest(ToBytes(AsBytes(list))); }
inline Bytes DeltaContent(const History& history, std::uint64_t first, std::uint64_t last) {
  return DeltaContent(ListJson(history, first, last));
}

// ---- compression ----

inline Bytes Deflate(ByteView plain, int window_bits) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    throw std::runtime_error("deflateInit2");
  }
  Bytes packed(deflateBound(&stream, plain.size()));
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): zlib does not write there
  stream.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  if (result != Z_STREAM_END) throw std::runtime_error("deflate");
  return packed;
}

// Codes of growing width, lowest bit first, as FORMAT.md says. `clear_every` forces clear codes.
class LzwEncoder {
 public:
  Bytes Encode(ByteView plain) {
    Put(kClear);
    std::string known;
    for (const std::byte byte : plain) {
      const char next = static_cast<char>(byte);
      if (known.empty() || table_.contains(known + next)) {
        known += next;
        continue;
      }
      Put(CodeOf(known));
      Define(known + next);
      known = next;
    }
    if (!known.empty()) {
      Put(CodeOf(known));
      Define({});
    }
    Put(kEnd);
    if (bit_count_ > 0) out_.push_back(static_cast<std::byte>(bits_));
    return std::move(out_);
  }

  void Put(std::uint32_t code) {
    bits_ |= std::uint64_t{code} << bit_count_;
    for (bit_count_ += width_; bit_count_ >= 8; bit_count_ -= 8, bits_ >>= 8) {
      out_.push_back(static_cast<std::byte>(bits_));
    }
  }

 private:
  static constexpr std::uint32_t kClear = 256;
  static constexpr std::uint32_t kEnd = 257;

  std::uint32_t CodeOf(const std::string& text) const {
    return text.size() == 1 ? static_cast<unsigned char>(text.front()) : table_.at(text);
  }

  // The next code gets this meaning; with 4096 of them the table starts anew.
  void Define(const std::string& text) {
    const std::uint32_t code = next_++;
    if (code == 4095) {
      Put(kClear);
      table_.clear();
      next_ = kEnd + 1;
      width_ = 9;
      return;
    }
    if (code == (std::uint32_t{1} << width_)) ++width_;
    if (!text.empty()) table_[text] = code;
  }

  Bytes out_;
  std::uint64_t bits_ = 0;
  unsigned bit_count_ = 0;
  unsigned width_ = 9;
  std::uint32_t next_ = kEnd + 1;
  std::map<std::string, std::uint32_t> table_;
};

inline Bytes Compress(ByteView plain, Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return ToBytes(plain);
    case Compression::kGzip:
      return Deflate(plain, 15 + 16);
    case Compression::kZlib:
      return Deflate(plain, 15);
    case Compression::kLzw:
      return LzwEncoder().Encode(plain);
  }
  throw std::runtime_error("compression");
}

inline std::string_view Ending(Compression compression) {
  switch (compression) {
    case Compression::kNone:
      return "";
    case Compression::kGzip:
      return ".gz";
    case Compression::kZlib:
      return ".zlib";
    case Compression::kLzw:
      return ".Z";
  }
  return "";
}

// ---- stores ----

// A folder that fills up with objects and is gone with the value.
class StoreFolder {
 public:
  explicit StoreFolder(Compression compression = Compression::kNone, std::string folder = "etcd/v2")
      : compression_(compression), folder_(std::move(folder)) {}

  const std::filesystem::path& path() const { return directory_.path(); }

  // Adds go here from now on: "etcd/v1/Backup-1000".
  StoreFolder& In(std::string folder) {
    folder_ = std::move(folder);
    return *this;
  }
  // Each gives the object's path below path(). `content` is compressed.
  std::string Object(const char* kind, std::uint64_t start, std::uint64_t last, std::int64_t time,
                     ByteView content, const char* behind = "") {
    std::string name = fmt::format("{}/{}-{:08}-{:08}-{}{}{}", folder_, kind, start, last, time,
                                   Ending(compression_), behind);
    File(name, Compress(content, compression_));
    return name;
  }
  // A full whose name says `named` and which holds `held`; by default the same.
  std::string Full(const History& history, std::uint64_t named, std::int64_t time,
                   std::uint64_t held = 0, const char* behind = "") {
    return Object("Full", 0, named, time, FullContent(history, held == 0 ? named : held), behind);
  }
  std::string Delta(const History& history, std::uint64_t first, std::uint64_t last,
                    std::int64_t time) {
    return Object("Incr", first, last, time, DeltaContent(history, first, last));
  }
  void File(const std::string& name, ByteView content) const {
    const auto place = path() / name;
    std::filesystem::create_directories(place.parent_path());
    rescue::testing::WriteFileBytes(place, content);
  }

 private:
  rescue::testing::TemporaryDirectory directory_;
  Compression compression_;
  std::string folder_;
};

// Puts, deletions, transactions, leases, keys that come back: `revisions` of them, after revision
// 1. The same number gives the same history.
inline History SampleHistory(std::uint64_t revisions) {
  History history;
  std::minstd_rand random(7);  // NOLINT(cert-msc32-c,cert-msc51-cpp): can be repeated
  const auto key = [&] { return fmt::format("/registry/pods/ns-{}/pod", random() % 23); };
  const auto value = [&] { return fmt::format("{:0{}}", random(), 10 + random() % 300); };
  std::map<std::string, bool> alive;
  while (history.revision() < revisions + 1) {
    const std::string name = key();
    const auto kind = random() % 8;
    if (kind == 0 && alive[name]) {
      history.Delete(name);
      alive[name] = false;
    } else if (kind == 1) {
      history.Put("/registry/txn/a", value()).AndPut("/registry/txn/b", value(), 77);
      if (alive[name]) history.AndDelete(name);
      alive[name] = false;
    } else {
      history.Put(name, value(), kind == 2 ? 0x2bad + random() % 3 : 0);
      alive[name] = true;
    }
  }
  return history;
}

}  // namespace rescue::backup::testing
