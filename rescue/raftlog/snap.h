// .snap files: a raft snapshot whose data is etcd's v2 store, which holds the membership that
// etcd 3.4 and 3.5 start from (FORMAT.md). etcd: server/etcdserver/api/snap/snapshotter.go.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/base/result.h"
#include "rescue/raftlog/member.h"
#include "rescue/raftlog/raft.h"

namespace rescue::raftlog {

// "%016x-%016x.snap".
struct SnapName {
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  bool operator==(const SnapName&) const = default;
};
std::string FormatSnapName(const SnapName& name);
std::optional<SnapName> ParseSnapName(std::string_view file_name);

// What lies in member/snap, by name. Nothing is opened.
struct SnapListing {
  std::vector<SnapName> snaps;  // newest first, in the order in which etcd tries them
  std::vector<std::uint64_t> database_indexes;  // "%016x.snap.db": a received backend; ascending
  std::vector<std::string> broken;              // "*.snap.broken": what etcd could not read
  std::vector<std::string> leftovers;           // "tmp*", "db.tmp*": unfinished, etcd deletes them
  std::vector<std::string> foreign;             // anything else but "db"
};
Result<SnapListing> ListSnaps(const FileView& view, std::string_view snap_directory);
// "%016x.snap.db".
std::string FormatSnapDatabaseName(std::uint64_t index);

// The membership and the cluster version in the v2 store.
struct StoreMembership {
  std::map<std::uint64_t, Member> members;
  std::set<std::uint64_t> removed;
  std::string cluster_version;  // "3.5.0"; empty when it was not decided yet
  // Keys of the v2 API or its users exist; etcd 3.6 refuses to start with them.
  bool has_user_keys = false;
  // Entries that could not be understood, one line each.
  std::vector<std::string> notes;
  bool operator==(const StoreMembership&) const = default;
};

struct SnapFile {
  SnapName name;  // as in the file's name; metadata normally says the same
  SnapshotMetadata metadata;
  StoreMembership store;
};

// Checked: CRC, protobuf, JSON. Fails (kDataDamaged) with "snap-empty", "snap-crc-mismatch",
// "snap-malformed", "snap-store-malformed", "snap-too-large" (256 MiB), or the view's errors; etcd
// renames such a file to *.broken and takes the next older one.
Result<SnapFile> ReadSnap(const FileView& view, std::string_view path);
// The same for the bytes of a file, whose name is not known here.
Result<SnapFile> DecodeSnapFile(ByteView content);

// v2 store JSON as Go writes it. Only the parts that hold membership are kept; 128 levels at most.
Result<StoreMembership> ParseStoreJson(std::string_view json);
// The smallest store that etcd 3.4 to 3.6 starts from.
std::string WriteStoreJson(const StoreMembership& store);
// A whole .snap file, checksum included.
Bytes EncodeSnapFile(const SnapshotMetadata& metadata, const StoreMembership& store);

}  // namespace rescue::raftlog
