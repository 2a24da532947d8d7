// A folder with backups, as etcd-backup-restore leaves them: which objects are there, and which of
// them lead to which revision. Only names and sizes are looked at; nothing is opened.
//
//     <prefix>/v2/Full-...  Incr-...                       layout v2
//     <prefix>/v1/Backup-<unix time of the full>/Full-...   layout v1
//
// Both may stand side by side after an upgrade, and a folder with objects may stand alone
// (pkg/snapstore/local_snapstore.go, List; pkg/miscellaneous,
// GetLatestFullSnapshotAndDeltaSnapList).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "rescue/backup/object.h"
#include "rescue/base/file.h"
#include "rescue/base/result.h"

namespace rescue::backup {

struct StoreObject {
  std::string path;  // below the view's root
  ObjectName name;
  std::uint64_t size = 0;  // bytes as stored
  int layout = 0;          // 1 or 2; 0: in neither kind of folder

  bool operator==(const StoreObject&) const = default;
};

// Something that is no object: left alone.
struct ForeignFile {
  std::string path;
  std::string reason;  // one line
};

// The backups of one etcd.
struct Store {
  std::string prefix;  // the folder that holds v1/ and v2/, or the objects; "" for the view's root
  std::vector<StoreObject> objects;  // in the order in which they were made
};

struct Catalogue {
  std::vector<Store> stores;  // by prefix
  std::vector<ForeignFile> foreign;
  std::uint64_t foreign_count = 0;  // all of them; only the first 1000 are described
};

// Everything below `root`; links are not followed, hidden folders and what lies more than eight
// folders down are left alone. Errors: "not-found" (kUsage); "store-too-large" (kRefused): more
// than 200,000 entries.
Result<Catalogue> ListStore(const FileView& view, std::string_view root);

// The only store; errors (kUsage): "no-backup" none, "several-stores" with their prefixes.
Result<Store> OnlyStore(const Catalogue& catalogue);

// Revisions that no object has, although later ones exist.
struct Gap {
  std::uint64_t first = 0;
  std::uint64_t last = 0;
  std::string before;  // path of the object that follows

  bool operator==(const Gap&) const = default;
};

// One full and the deltas on top of it. By names; what the objects really hold is found out when
// they are read.
struct Chain {
  StoreObject full;
  // To be applied in this order, without a hole. The first one may repeat revisions that the full
  // already holds, and any one what the one before holds: skip events up to what is reached.
  std::vector<StoreObject> deltas;
  std::vector<StoreObject> contained;  // nothing new in them: not needed
  std::optional<Gap> gap;              // the first one; `beyond` follows it
  std::vector<StoreObject> beyond;     // cannot be applied
  std::uint64_t reachable = 0;         // last revision without a hole
  std::uint64_t newest = 0;            // last revision that any object of this chain names
  std::uint64_t target = 0;            // the revision to end with: `reachable`, or the wanted one
  std::vector<std::string> warnings;   // one line each
};

// The fulls, newest first: by time, then by revision. A chain belongs to each.
std::vector<StoreObject> Fulls(const Store& store);

// The chain of one full. Its deltas are those made from then on until the next full (after the
// newest one: all), because a later full starts anew, maybe from an older revision. `held` is the
// last revision that the full's content holds, where known; by default what its name says.
Chain MakeChain(const Store& store, const StoreObject& full,
                std::optional<std::uint64_t> held = std::nullopt);

// Finds out what a full's content really holds (its last revision), by reading it.
using HeldRevision = std::function<Result<std::uint64_t>(const StoreObject& full)>;

// The chain to restore: the newest full's, or for a point in time that of the newest full that does
// not reach beyond it and whose deltas lead there; deltas that start after it are then left out.
// Without `held`, names decide. Errors: kUsage "no-backup", "revision-unreachable" (nothing reaches
// it; the newest reachable one is named); kDataDamaged "no-full" (deltas only, or no full is old
// enough), "backup-gap" (a hole before the wanted or newest revision; the hint names the last one
// before it). Those of `held`.
Result<Chain> ChooseChain(const Store& store, std::optional<std::uint64_t> to_revision,
                          const HeldRevision& held = {});

}  // namespace rescue::backup
