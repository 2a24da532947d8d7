#include "rescue/raftlog/snap.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "rescue/base/checksum.h"
#include "rescue/base/units.h"
#include "rescue/raftlog/proto.h"

namespace rescue::raftlog {
namespace {

constexpr std::size_t kHexDigits = 16;
constexpr std::string_view kSnapSuffix = ".snap";
constexpr std::string_view kDatabaseSuffix = ".snap.db";
constexpr std::uint64_t kMaxSnapBytes = 256 * kMiB;

std::optional<std::uint64_t> ParseHex16(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (text.size() != kHexDigits || error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

std::optional<std::uint64_t> ParseDatabaseName(std::string_view file_name) {
  if (!file_name.ends_with(kDatabaseSuffix)) return std::nullopt;
  return ParseHex16(file_name.substr(0, file_name.size() - kDatabaseSuffix.size()));
}

tl::unexpected<Error> BadSnap(std::string code, std::string why) {
  return Fail(ErrorKind::kDataDamaged, std::move(code), "read .snap: " + std::move(why),
              "etcd sets such a file aside as .broken and takes the next older one");
}

}  // namespace

std::string FormatSnapName(const SnapName& name) {
  return fmt::format("{:016x}-{:016x}{}", name.term, name.index, kSnapSuffix);
}

std::optional<SnapName> ParseSnapName(std::string_view file_name) {
  if (file_name.size() != 2 * kHexDigits + 1 + kSnapSuffix.size()) return std::nullopt;
  if (file_name[kHexDigits] != '-' || !file_name.ends_with(kSnapSuffix)) return std::nullopt;
  const auto term = ParseHex16(file_name.substr(0, kHexDigits));
  const auto index = ParseHex16(file_name.substr(kHexDigits + 1, kHexDigits));
  if (!term || !index) return std::nullopt;
  const SnapName name{*term, *index};
  if (FormatSnapName(name) != file_name) return std::nullopt;
  return name;
}

std::string FormatSnapDatabaseName(std::uint64_t index) {
  return fmt::format("{:016x}{}", index, kDatabaseSuffix);
}

Result<SnapListing> ListSnaps(const FileView& view, std::string_view snap_directory) {
  ASSIGN_OR_RETURN(const auto entries, view.List(snap_directory));
  SnapListing listing;
  for (const DirectoryEntry& entry : entries) {
    const std::string& name = entry.name;
    const bool file = entry.type == FileType::kRegular || entry.type == FileType::kSymlink;
    const auto snap = ParseSnapName(name);
    const auto database = ParseDatabaseName(name);
    if (snap && file) {
      listing.snaps.push_back(*snap);
    } else if (database && file) {
      listing.database_indexes.push_back(*database);
    } else if (name.ends_with(".broken")) {
      listing.broken.push_back(name);
    } else if (name.starts_with("tmp") || name.starts_with("db.tmp")) {
      listing.leftovers.push_back(name);
    } else if (name != "db") {
      listing.foreign.push_back(name);
    }
  }
  // By name, as etcd does: the term counts first.
  std::sort(listing.snaps.begin(), listing.snaps.end(), [](const SnapName& a, const SnapName& b) {
    return a.term != b.term ? a.term > b.term : a.index > b.index;
  });
  std::sort(listing.database_indexes.begin(), listing.database_indexes.end());
  return listing;
}

Result<SnapFile> DecodeSnapFile(ByteView content) {
  // snappb.Snapshot.
  std::uint64_t crc = 0;
  ByteView data;
  const Status read = ReadFields(content, "snapshot file", [&](ProtoReader& field) {
    switch (field.tag()) {
      case 1:
        return TakeUint64(field, crc);
      case 2:
        return TakeBytes(field, data);
      default:
        field.skip();
        return true;
    }
  });
  if (!read) return BadSnap("snap-malformed", "not a snapshot file");
  // etcd takes a checksum of 0 for an unfinished file.
  if (data.empty() || crc == 0) return BadSnap("snap-empty", "the file is empty or unfinished");
  const std::uint32_t found = Crc32c(0, data);
  if (found != static_cast<std::uint32_t>(crc)) {
    return BadSnap("snap-crc-mismatch", fmt::format("checksum is {:08x}, the file says {:08x}",
                                                    found, static_cast<std::uint32_t>(crc)));
  }
  auto snapshot = DecodeSnapshot(data);
  if (!snapshot) return BadSnap("snap-malformed", "the raft snapshot cannot be decoded");
  SnapFile file;
  file.metadata = std::move(snapshot->metadata);
  ASSIGN_OR_RETURN(file.store, ParseStoreJson(AsText(snapshot->data)));
  return file;
}

Result<SnapFile> ReadSnap(const FileView& view, std::string_view path) {
  ASSIGN_OR_RETURN(const auto opened, view.Open(path));
  if (opened->size() > kMaxSnapBytes) {
    return BadSnap("snap-too-large",
                   fmt::format("{}: {}, at most {} are read", Printable(path),
                               FormatSize(opened->size()), FormatSize(kMaxSnapBytes)));
  }
  ASSIGN_OR_RETURN(const Bytes content, ReadExactly(*opened, 0, opened->size()));
  auto file = DecodeSnapFile(content);
  if (!file) return Fail(std::move(file.error().Within(Printable(path))));
  const std::size_t slash = path.rfind('/');
  const auto name = ParseSnapName(slash == std::string_view::npos ? path : path.substr(slash + 1));
  file->name = name.value_or(SnapName{file->metadata.term, file->metadata.index});
  return file;
}

Bytes EncodeSnapFile(const SnapshotMetadata& metadata, const StoreMembership& store) {
  const Bytes data = EncodeSnapshot({ToBytes(AsBytes(WriteStoreJson(store))), metadata});
  std::string encoded;
  ProtoWriter writer(encoded);
  writer.add_uint32(1, Crc32c(0, data));
  writer.add_bytes(2, ProtoView(data));
  return EncodedBytes(encoded);
}

}  // namespace rescue::raftlog
