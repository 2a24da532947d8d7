#include "rescue/backup/restore_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "rescue/backup/events.h"
#include "rescue/backup/survey.h"
#include "rescue/base/units.h"
#include "rescue/bolt/database.h"
#include "rescue/mvcc/key_record.h"

namespace rescue::backup {
namespace {

// By how much a copied backend may be longer than its pages in use: bbolt grows files of up to
// 16 MiB to a power of two, larger ones in steps of 16 MiB (db.go, DB.grow).
constexpr std::uint64_t kGrowth = std::uint64_t{32} << 20;
// Deltas are JSON with base64 in it: what they say takes less as records. Compressed ones are taken
// to be this much longer; a store that shrank more runs into a full disk, which is taken back.
constexpr std::uint64_t kMostRatio = 12;
constexpr std::uint64_t kLogAndSnap = std::uint64_t{1} << 20;

std::string LastName(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

OpenOptions BaseOptions(const Source& source) {
  OpenOptions options;
  options.compression = source.base_compression;
  options.limit = source.base_compression == Compression::kNone ? source.base_size
                                                                : source.backend_bytes + kGrowth;
  options.name = source.base_path;
  return options;
}

// From the first bytes: how long the backend is.
Result<std::uint64_t> DeclaredSize(const Source& source, const ReadableFile& stored) {
  OpenOptions options = BaseOptions(source);
  options.limit = ~std::uint64_t{0};  // no more than the first bytes are read
  const auto stream = OpenObject(stored, options);
  Bytes first(kDeclaredSizeNeeds);
  std::size_t have = 0;
  while (have < first.size()) {
    ASSIGN_OR_RETURN(const std::size_t got,
                     stream->Read(std::span(first).subspan(have, first.size() - have)));
    if (got == 0) break;
    have += got;
  }
  first.resize(have);
  return DeclaredBackendSize(first, source.base_path);
}

// Without reading all of it; nothing where the file does not tell.
void LookInside(const ReadableFile& plain, Source& source) {
  const auto database = bolt::Database::Open(plain);
  if (!database) return;
  if (const auto bounds = mvcc::ReadRevisionBounds(*database)) {
    source.base_revision = bounds->latest;
  }
  const auto cluster = database->FindBucket(AsBytes("cluster"));
  if (!cluster || !*cluster) return;
  const auto version = (*cluster)->Get(AsBytes("clusterVersion"));
  if (version && *version) source.cluster_version = Printable(AsText(**version));
}

Status SetBase(const std::string& path, Compression compression, Source& source) {
  source.base_path = path;
  source.base_compression = compression;
  ASSIGN_OR_RETURN(const auto stored, source.files->Open(path));
  source.base_size = stored->size();
  ASSIGN_OR_RETURN(source.backend_bytes, DeclaredSize(source, *stored));
  if (compression == Compression::kNone) LookInside(*stored, source);
  return {};
}

Status OpenStore(const FileView& files, const std::string& path, Source& source) {
  ASSIGN_OR_RETURN(const Catalogue catalogue, ListStore(files, path));
  ASSIGN_OR_RETURN(const Store store, OnlyStore(catalogue));
  ASSIGN_OR_RETURN(const Chain chain, ChooseChain(store, source.wishes.to_revision, HeldIn(files)));
  RETURN_IF_ERROR(SetBase(chain.full.path, chain.full.name.compression, source));
  source.in_store = true;
  source.deltas = chain.deltas;
  source.target = chain.target;
  if (chain.newest > chain.target) {
    source.notes.push_back(
        fmt::format("objects of the store reach revision {}; the restore ends "
                    "with {}, as asked",
                    chain.newest, chain.target));
  }
  return {};
}

tl::unexpected<Error> Unreached(const Source& source, std::uint64_t revision) {
  return Fail(ErrorKind::kDataDamaged, "revision-not-reached",
              fmt::format("read {}: it ends with revision {}, {} was promised", source.label,
                          revision, source.target),
              "list the backups (backups --from) and choose with --to-revision");
}

// Walks over one delta; gives the last revision that counts.
Status VerifyDelta(const Source& source, const StoreObject& delta, const SourceProgress& progress,
                   std::uint64_t done, Verified& verified) {
  ASSIGN_OR_RETURN(const auto stored, source.files->Open(delta.path));
  EventReader reader(OpenObject(*stored, {delta.name.compression, kMaxDeltaSize, delta.path}),
                     delta.name, delta.path);
  const std::uint64_t limit = source.wishes.to_revision.value_or(~std::uint64_t{0});
  while (true) {
    ASSIGN_OR_RETURN(const Event* event, reader.Next());
    if (event == nullptr) break;
    ++verified.events;
    if (event->main <= limit) verified.revision = std::max(verified.revision, event->main);
    if (progress && reader.events() % 1024 == 0) {
      progress(LastName(delta.path), done + reader.stored_position(), source.stored_bytes());
    }
  }
  return {};
}

}  // namespace

std::uint64_t Source::stored_bytes() const {
  std::uint64_t bytes = base_size;
  for (const StoreObject& delta : deltas) bytes += delta.size;
  return bytes;
}

std::uint64_t Source::restored_bytes() const {
  std::uint64_t bytes = backend_bytes + kLogAndSnap;
  if (base_compression == Compression::kNone) bytes = std::max(bytes, base_size + kLogAndSnap);
  for (const StoreObject& delta : deltas) {
    bytes += delta.name.compression == Compression::kNone ? delta.size : delta.size * kMostRatio;
  }
  return bytes;
}

Result<Source> OpenSource(const FileView& files, const std::string& path, std::string label,
                          const SourceWishes& wishes) {
  Source source;
  source.files = &files;
  source.label = std::move(label);
  source.wishes = wishes;
  const auto status = files.Stat(path);
  if (!status && !IsNotFound(status.error())) return Fail(status.error());
  if (status && status->type == FileType::kRegular) {
    RETURN_IF_ERROR(SetBase(path, CompressionOf(LastName(path)), source));
    if (wishes.to_revision && source.base_revision != wishes.to_revision) {
      return Fail(ErrorKind::kUsage, "revision-in-snapshot",
                  fmt::format("restore {} to revision {}: a snapshot file holds one revision{}",
                              source.label, *wishes.to_revision,
                              source.base_revision ? fmt::format(", {}", *source.base_revision)
                                                   : std::string()),
                  "leave --to-revision out, or name a backup store with deltas");
    }
    return source;
  }
  if (status && status->type == FileType::kDirectory) {
    RETURN_IF_ERROR(OpenStore(files, path, source));
    return source;
  }
  return Fail(ErrorKind::kUsage, "not-found",
              fmt::format("restore from {}: there is no such file or folder", source.label),
              "name a snapshot file, a copy of member/snap/db, or a folder with backups");
}

Result<std::unique_ptr<ReadableFile>> OpenPlainBase(const Source& source,
                                                    const ReadableFile& stored) {
  return OpenSeekable(stored, BaseOptions(source));
}

std::unique_ptr<ByteSource> StreamBase(const Source& source, const ReadableFile& stored) {
  return OpenObject(stored, BaseOptions(source));
}

Result<Verified> Verify(const Source& source, const SourceProgress& progress) {
  Verified verified;
  {
    ASSIGN_OR_RETURN(const auto stored, source.files->Open(source.base_path));
    ASSIGN_OR_RETURN(const auto plain, OpenPlainBase(source, *stored));
    JudgeOptions options;
    options.progress = [&](std::uint64_t done, std::uint64_t total) {
      if (progress) progress(LastName(source.base_path), done, total);
    };
    ASSIGN_OR_RETURN(verified.base, JudgeSnapshot(*plain, options));
    AcceptOptions accept;
    accept.hash_mismatch = source.wishes.accept_hash_mismatch;
    accept.in_store = source.in_store;
    RETURN_IF_ERROR(Accept(verified.base, accept, source.base_path));
  }
  verified.revision = verified.base.revision;
  std::uint64_t done = source.base_size;
  for (const StoreObject& delta : source.deltas) {
    auto read = VerifyDelta(source, delta, progress, done, verified);
    if (!read) return Fail(std::move(read).error());
    done += delta.size;
  }
  if (source.target != 0 && (verified.revision < source.target ||
                             (source.wishes.to_revision && verified.revision > source.target))) {
    return Unreached(source, verified.revision);
  }
  return verified;
}

}  // namespace rescue::backup
