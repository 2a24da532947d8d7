#include "rescue/backup/store.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

namespace rescue::backup {
namespace {

constexpr std::size_t kMaxEntries = 200'000;
constexpr int kMaxDepth = 8;
constexpr std::size_t kMaxForeign = 1000;

std::string_view LastName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

// "Backup-1795252192": layout v1 has one for each full.
bool IsSetFolder(std::string_view name) {
  constexpr std::string_view kStart = "Backup-";
  return name.starts_with(kStart) && name.size() > kStart.size() &&
         name.find_first_not_of("0123456789", kStart.size()) == std::string_view::npos;
}

struct Place {
  std::string prefix;
  int layout = 0;
};

// What the folder that an object lies in says.
Place PlaceOf(const std::string& folder) {
  if (LastName(folder) == "v2") return {ParentPath(folder), 2};
  std::string above = folder;
  const bool in_set = IsSetFolder(LastName(folder));
  if (in_set) above = ParentPath(folder);
  if (LastName(above) == "v1") return {ParentPath(above), 1};
  return {above, in_set ? 1 : 0};
}

// In the order in which they were made; a full before the deltas of the same second.
auto MadeOrder(const StoreObject& object) {
  return std::tuple(object.name.created, object.name.kind, object.name.last, object.name.start,
                    std::string_view(object.path));
}

class Lister {
 public:
  explicit Lister(const FileView& view) : view_(view) {}

  Status Walk(const std::string& folder, int depth);
  Catalogue Finish();

 private:
  Status Take(const std::string& path, const DirectoryEntry& entry, int depth);
  void Foreign(const std::string& path, std::string reason);

  const FileView& view_;
  std::size_t entries_ = 0;
  std::map<std::string, Store> stores_;
  Catalogue catalogue_;
};

void Lister::Foreign(const std::string& path, std::string reason) {
  ++catalogue_.foreign_count;
  if (catalogue_.foreign.size() < kMaxForeign) {
    catalogue_.foreign.push_back({path, std::move(reason)});
  }
}

Status Lister::Take(const std::string& path, const DirectoryEntry& entry, int depth) {
  if (entry.type == FileType::kDirectory) {
    if (entry.name.starts_with('.')) {
      Foreign(path, "a hidden folder");
    } else if (depth == kMaxDepth) {
      Foreign(path, "a folder deeper than a store is");
    } else {
      return Walk(path, depth + 1);
    }
    return {};
  }
  const auto name = ParseObjectName(entry.name);
  if (entry.type != FileType::kRegular) {
    Foreign(path, entry.type == FileType::kSymlink ? "a link; links are not followed" : "no file");
  } else if (!name) {
    Foreign(path, "not the name of a backup");
  } else {
    ASSIGN_OR_RETURN(const FileStatus status, view_.Stat(path));
    const Place place = PlaceOf(ParentPath(path));
    Store& store = stores_[place.prefix];
    store.prefix = place.prefix;
    store.objects.push_back({path, *name, status.size, place.layout});
  }
  return {};
}

Status Lister::Walk(const std::string& folder, int depth) {
  ASSIGN_OR_RETURN(const auto entries, view_.List(folder));
  entries_ += entries.size();
  if (entries_ > kMaxEntries) {
    return Fail(ErrorKind::kRefused, "store-too-large",
                fmt::format("list the backups: more than {} files and folders", kMaxEntries),
                "name the folder that holds v1/ or v2/, not one above it");
  }
  for (const auto& entry : entries) {
    RETURN_IF_ERROR(Take(JoinPath(folder, entry.name), entry, depth));
  }
  return {};
}

Catalogue Lister::Finish() {
  for (auto& [prefix, store] : stores_) {
    std::ranges::sort(store.objects, {}, MadeOrder);
    catalogue_.stores.push_back(std::move(store));
  }
  return std::move(catalogue_);
}

// Whether a delta was made while this full was the newest one.
bool BelongsTo(const StoreObject& delta, const StoreObject& full, const StoreObject* next_full) {
  if (delta.name.created < full.name.created) return false;
  if (next_full == nullptr || delta.name.created < next_full->name.created) return true;
  return delta.name.created == next_full->name.created && delta.name.last <= next_full->name.last;
}

tl::unexpected<Error> GapError(const Chain& chain) {
  return Fail(ErrorKind::kDataDamaged, "backup-gap",
              fmt::format("follow the deltas: revisions {} to {} are missing before {}",
                          chain.gap->first, chain.gap->last, chain.gap->before),
              fmt::format("bring the missing delta, or accept the last revision before the hole: "
                          "--to-revision {}",
                          chain.reachable));
}

// Ends the chain at a point in time.
Status CutAt(std::uint64_t to_revision, Chain& chain) {
  if (chain.reachable < to_revision) {
    if (chain.gap && to_revision <= chain.newest) return GapError(chain);
    return Fail(ErrorKind::kUsage, "revision-unreachable",
                fmt::format("look for revision {}: the backups from {} on reach {}", to_revision,
                            chain.full.path, chain.reachable),
                fmt::format("choose a revision up to {}", chain.reachable));
  }
  std::erase_if(chain.deltas,
                [&](const StoreObject& delta) { return delta.name.start > to_revision; });
  chain.target = to_revision;
  return {};
}

// etcdbrctl goes by revision, not by time, and so picks the other past after a restore
// (pkg/types/snapstore.go, SnapList.Less); a clock that was set back looks the same.
void WarnOfAnotherPast(const std::vector<StoreObject>& fulls, Chain& chain) {
  const auto highest =
      std::ranges::max_element(fulls, {}, [](const StoreObject& full) { return full.name.last; });
  if (highest->name.last <= chain.newest) return;
  chain.warnings.push_back(fmt::format(
      "{} is newer by time, but {} has a higher revision ({}): etcd went back in between, or a "
      "clock did; --to-revision {} takes the other one",
      chain.full.path, highest->path, highest->name.last, highest->name.last));
}

Error NoFull(const Store& store, std::optional<std::uint64_t> to_revision) {
  if (store.objects.empty()) {
    return {ErrorKind::kUsage, "no-backup", "choose a backup: there is none",
            "name the folder that holds v1/ or v2/"};
  }
  if (to_revision) {
    return {ErrorKind::kDataDamaged, "no-full",
            fmt::format("look for revision {}: every full snapshot is of a later one, or there is "
                        "none",
                        *to_revision),
            "choose a later revision; `backups` lists them"};
  }
  return {ErrorKind::kDataDamaged, "no-full",
          "choose a backup: there are deltas, but no full snapshot that they belong to",
          "bring the full snapshot (Full-...) that was made before the first delta"};
}

}  // namespace

Result<Catalogue> ListStore(const FileView& view, std::string_view root) {
  Lister lister(view);
  if (Status walked = lister.Walk(std::string(root), 0); !walked) {
    if (!IsNotFound(walked.error())) return Fail(std::move(walked).error());
    return Fail(ErrorKind::kUsage, "not-found", walked.error().message,
                "name a folder with backups");
  }
  return lister.Finish();
}

Result<Store> OnlyStore(const Catalogue& catalogue) {
  if (catalogue.stores.size() == 1) return catalogue.stores.front();
  if (catalogue.stores.empty()) {
    return Fail(
        ErrorKind::kUsage, "no-backup",
        fmt::format("look for backups: none there, {} foreign files", catalogue.foreign_count),
        "name the folder that holds v1/ or v2/, or a snapshot file");
  }
  std::string prefixes;
  for (const auto& store : catalogue.stores) {
    prefixes += fmt::format("{}{}", prefixes.empty() ? "" : ", ", Printable(store.prefix));
  }
  return Fail(ErrorKind::kUsage, "several-stores",
              fmt::format("look for backups: {} etcds have theirs there: {}",
                          catalogue.stores.size(), prefixes),
              "name the folder of one of them");
}

std::vector<StoreObject> Fulls(const Store& store) {
  std::vector<StoreObject> fulls;
  for (const auto& object : store.objects) {
    if (object.name.kind == ObjectKind::kFull) fulls.push_back(object);
  }
  std::ranges::sort(fulls, std::ranges::greater(), MadeOrder);
  return fulls;
}

Chain MakeChain(const Store& store, const StoreObject& full, std::optional<std::uint64_t> held) {
  const auto fulls = Fulls(store);
  const auto self = std::ranges::find(fulls, full);
  const StoreObject* next_full =
      self == fulls.begin() || self == fulls.end() ? nullptr : &*std::prev(self);
  std::vector<StoreObject> deltas;
  for (const auto& object : store.objects) {
    if (object.name.kind == ObjectKind::kDelta && BelongsTo(object, full, next_full)) {
      deltas.push_back(object);
    }
  }
  std::ranges::sort(deltas, {}, [](const StoreObject& delta) {
    return std::tuple(delta.name.start, delta.name.last, delta.name.created,
                      std::string_view(delta.path));
  });

  Chain chain;
  chain.full = full;
  chain.reachable = chain.newest = std::max(held.value_or(0), full.name.last);
  for (auto& delta : deltas) {
    chain.newest = std::max(chain.newest, delta.name.last);
    if (delta.name.last <= chain.reachable) {
      chain.contained.push_back(std::move(delta));
    } else if (chain.gap || delta.name.start > chain.reachable + 1) {
      if (!chain.gap) chain.gap = Gap{chain.reachable + 1, delta.name.start - 1, delta.path};
      chain.beyond.push_back(std::move(delta));
    } else {
      chain.reachable = delta.name.last;
      chain.deltas.push_back(std::move(delta));
    }
  }
  chain.target = chain.reachable;
  if (next_full == nullptr) WarnOfAnotherPast(fulls, chain);
  return chain;
}

Result<Chain> ChooseChain(const Store& store, std::optional<std::uint64_t> to_revision,
                          const HeldRevision& held) {
  // The first full's, when none leads to the wanted revision.
  std::optional<Error> refusal;
  for (const auto& full : Fulls(store)) {
    if (to_revision && full.name.last > *to_revision) continue;
    std::optional<std::uint64_t> known;
    if (held) {
      ASSIGN_OR_RETURN(known, held(full));
      if (to_revision && *known > *to_revision) continue;
    }
    Chain chain = MakeChain(store, full, known);
    if (!to_revision) {
      if (chain.gap) return GapError(chain);
      return chain;
    }
    Status cut = CutAt(*to_revision, chain);
    if (cut) return chain;
    if (!refusal) refusal = std::move(cut).error();
  }
  if (refusal) return Fail(*std::move(refusal));
  return Fail(NoFull(store, to_revision));
}

}  // namespace rescue::backup
