#include "rescue/backup/restore.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

#include "rescue/backup/copy.h"
#include "rescue/backup/events.h"
#include "rescue/backup/keyspace_writer.h"
#include "rescue/backup/member_at.h"
#include "rescue/base/endian.h"
#include "rescue/base/units.h"
#include "rescue/bolt/database.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/restore.h"

namespace rescue::backup {
namespace {

// So many leases of deltas are looked up; more are only said to be many.
constexpr std::size_t kMostLeases = 100'000;

std::string LastName(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? path : path.substr(slash + 1);
}

// Carries out edits on files that nobody uses yet: no journal, no syncs.
struct Performer {
  FileSystem& files;

  Status operator()(const edit::WriteRange& e) const {
    return files.WriteAt(e.path, e.offset, e.bytes);
  }
  Status operator()(const edit::Truncate& e) const { return files.Truncate(e.path, e.size); }
  Status operator()(const edit::CreateFile& e) const {
    RETURN_IF_ERROR(files.CreateFile(e.path, e.attributes));
    return e.content.empty() ? Status() : files.WriteAt(e.path, 0, e.content);
  }
  Status operator()(const edit::MakeDirectory& e) const {
    return files.MakeDirectory(e.path, e.attributes);
  }
  Status operator()(const edit::Rename& e) const { return files.Rename(e.from, e.to); }
  Status operator()(const edit::Remove& e) const { return files.Remove(e.path); }
  Status operator()(const edit::SetAttributes& e) const {
    return files.SetAttributes(e.path, e.attributes);
  }
  template <typename Other>
  Status operator()(const Other&) const {
    return Fail(ErrorKind::kOther, "unsupported", "finish the restored member: unexpected edit");
  }
};

bool DigestDecides(const Copied& copied) {
  return copied.size % 512 == kDigestSize && copied.without_last == copied.last;
}

std::uint64_t LimitOf(const Source& source) {
  return source.wishes.to_revision.value_or(~std::uint64_t{0});
}

// Leases that the restored backend does not hold.
Result<std::uint64_t> CountUnknown(const FileView& data, const std::string& backend,
                                   const std::set<std::uint64_t>& leases) {
  if (leases.empty()) return std::uint64_t{0};
  ASSIGN_OR_RETURN(const auto file, data.Open(backend));
  ASSIGN_OR_RETURN(const auto database, bolt::Database::Open(*file));
  ASSIGN_OR_RETURN(const auto bucket, database.FindBucket(AsBytes("lease")));
  std::uint64_t unknown = 0;
  for (const std::uint64_t lease : leases) {
    const ub64 key(lease);
    if (bucket) {
      ASSIGN_OR_RETURN(const auto value, bucket->Get(std::as_bytes(std::span(&key, 1))));
      if (value) continue;
    }
    ++unknown;
  }
  return unknown;
}

}  // namespace

Status RestoreBuilder::Build(FileSystem& data, const edit::BuildDirectory& edit) {
  built_ = {};
  const std::string snap = JoinPath(edit.path, "snap");
  const std::string backend = JoinPath(snap, "db");
  RETURN_IF_ERROR(data.MakeDirectory(snap, edit.attributes));
  RETURN_IF_ERROR(data.CreateFile(backend, plan_.file));
  RETURN_IF_ERROR(CopyBase(data, backend));
  RETURN_IF_ERROR(ApplyDeltas(data, backend));
  return FinishMember(data, edit.path);
}

Status RestoreBuilder::CopyBase(FileSystem& data, const std::string& backend) {
  ASSIGN_OR_RETURN(const auto stored, source_.files->Open(source_.base_path));
  const std::string name = LastName(source_.base_path);
  Copied copied;
  if (source_.base_compression == Compression::kNone && stored->size() == source_.base_size) {
    const auto progress = [&](std::uint64_t done) {
      if (progress_) progress_(name, done, source_.stored_bytes());
    };
    ASSIGN_OR_RETURN(copied, CopyFileHashed(*stored, data, backend, progress));
  } else {
    const auto stream = StreamBase(source_, *stored);
    const auto progress = [&](std::uint64_t) {
      if (progress_) progress_(name, stream->stored_position(), source_.stored_bytes());
    };
    ASSIGN_OR_RETURN(copied, CopyHashed(*stream, data, backend, progress));
  }
  built_.digest_matches = DigestDecides(copied);
  if (!built_.digest_matches) {
    // It says itself what it is worth; this reads it once more.
    ASSIGN_OR_RETURN(const auto plain, OpenPlainBase(source_, *stored));
    ASSIGN_OR_RETURN(const SnapshotFile judged, JudgeSnapshot(*plain));
    AcceptOptions accept;
    accept.hash_mismatch = source_.wishes.accept_hash_mismatch;
    accept.in_store = source_.in_store;
    RETURN_IF_ERROR(Accept(judged, accept, source_.base_path));
  }
  built_.copied_bytes = copied.size;
  if (copied.size % 512 != kDigestSize) return {};
  built_.copied_bytes -= kDigestSize;
  return data.Truncate(backend, built_.copied_bytes);
}

Status RestoreBuilder::ApplyDeltas(FileSystem& data, const std::string& backend) {
  ASSIGN_OR_RETURN(KeyspaceWriter writer, KeyspaceWriter::Open(data, backend));
  built_.base_revision = built_.revision = writer.base_revision();
  const std::uint64_t limit = LimitOf(source_);
  if (built_.base_revision > limit) {
    return Fail(
        ErrorKind::kUsage, "revision-in-full",
        fmt::format("restore to revision {}: the full backup {} already holds {}", limit,
                    LastName(source_.base_path), built_.base_revision),
        fmt::format("choose an older full backup, or --to-revision {}", built_.base_revision));
  }
  std::set<std::uint64_t> leases;
  std::uint64_t done = source_.base_size;
  for (const StoreObject& delta : source_.deltas) {
    ASSIGN_OR_RETURN(const auto stored, source_.files->Open(delta.path));
    EventReader reader(OpenObject(*stored, {delta.name.compression, kMaxDeltaSize, delta.path}),
                       delta.name, delta.path);
    while (true) {
      ASSIGN_OR_RETURN(const Event* event, reader.Next());
      if (event == nullptr) break;
      if (event->main > limit) continue;  // read all the same: the digest comes last
      // A hole between two objects; within one, the reader looks.
      if (event->main > writer.revision() + 1) {
        return Fail(ErrorKind::kDataDamaged, "backup-gap",
                    fmt::format("read {}: it goes on with revision {}, {} was reached", delta.path,
                                event->main, writer.revision()),
                    fmt::format("--to-revision {} stops there", writer.revision()));
      }
      RETURN_IF_ERROR(writer.Apply(*event));
      if (event->lease != 0 && leases.size() < kMostLeases) leases.insert(event->lease);
      if (progress_ && reader.events() % 1024 == 0) {
        progress_(LastName(delta.path), done + reader.stored_position(), source_.stored_bytes());
      }
    }
    done += delta.size;
  }
  RETURN_IF_ERROR(writer.Finish());
  built_.revision = writer.revision();
  built_.applied = writer.applied();
  built_.repeated = writer.repeated();
  built_.delta_bytes = writer.bytes_written();
  if (built_.revision < source_.target) {
    return Fail(ErrorKind::kDataDamaged, "revision-not-reached",
                fmt::format("read {}: it ends with revision {}, {} was promised", source_.label,
                            built_.revision, source_.target),
                "list the backups (backups --from) and choose with --to-revision");
  }
  ASSIGN_OR_RETURN(built_.unknown_leases, CountUnknown(data, backend, leases));
  return {};
}

// Membership, log and .snap, as a restore of a survivor's own backend without a log makes them;
// then the member is inspected and booted where it stands.
Status RestoreBuilder::FinishMember(FileSystem& data, const std::string& place) {
  MemberAt member(data, place);
  {
    etcd::InspectOptions quick;
    quick.check_backend = false;
    ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(member, quick));
    etcd::Wishes wishes = plan_.wishes;
    wishes.tight_space = true;  // there is nothing to keep beside
    wishes.accept_loss = true;  // a backup has no log that could be lost
    ASSIGN_OR_RETURN(const auto plan, etcd::PlanRestore(member, findings, wishes));
    for (const edit::Edit& edit : plan.edits) {
      RETURN_IF_ERROR(std::visit(Performer{member}, edit));
    }
  }
  etcd::InspectOptions whole;
  whole.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (progress_) progress_("check of what was built", done, total);
  };
  ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(member, whole));
  auto verdict = etcd::Verify(findings);
  if (!verdict) {
    Error error = std::move(verdict).error();
    error.kind = ErrorKind::kDataDamaged;
    if (error.hint.empty()) error.hint = "use another backup";
    return Fail(std::move(error.Within("judge the restored member")));
  }
  built_.verdict = *std::move(verdict);
  return {};
}

Status DiscardMember(FileSystem& data) {
  const std::string discarded(kDiscarded);
  ASSIGN_OR_RETURN(const bool left_over, Exists(data, discarded));
  const auto remove = [&](auto&& self, const std::string& path, FileType type,
                          int depth) -> Status {
    if (depth > 16) {
      return Fail(ErrorKind::kRefused, "too-deep", "remove " + Printable(path) + ": too deep");
    }
    if (type == FileType::kDirectory) {
      ASSIGN_OR_RETURN(const auto entries, data.List(path));
      for (const DirectoryEntry& entry : entries) {
        RETURN_IF_ERROR(self(self, JoinPath(path, entry.name), entry.type, depth + 1));
      }
    }
    return data.Remove(path);
  };
  if (left_over) RETURN_IF_ERROR(remove(remove, discarded, FileType::kDirectory, 0));
  ASSIGN_OR_RETURN(const bool present, Exists(data, "member"));
  if (present) {
    // 1. No etcd finds it any more. 2. Only then it is taken apart.
    RETURN_IF_ERROR(data.Rename("member", discarded));
    RETURN_IF_ERROR(data.SyncDirectory(""));
    RETURN_IF_ERROR(remove(remove, discarded, FileType::kDirectory, 0));
  }
  return data.SyncDirectory("");
}

}  // namespace rescue::backup
