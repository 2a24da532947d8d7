#include "rescue/session/target.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <system_error>

#include "rescue/base/mounted_file_system.h"
#include "rescue/etcd/inspect.h"
#include "rescue/raftlog/log.h"
#include "rescue/session/log_place.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kJournalSuffix = ".etcd-rescue";

tl::unexpected<Error> InUse(std::string_view path) {
  return Fail(ErrorKind::kRefused, "in-use",
              fmt::format("lock {}: another process holds it, etcd is running", path),
              "stop etcd first (move its static pod manifest away), then run this again");
}

bool WouldBlock() { return errno == EWOULDBLOCK || errno == EAGAIN || errno == EACCES; }

Result<UniqueFd> LockBackend(const RealFileSystem& data, int operation) {
  ASSIGN_OR_RETURN(UniqueFd fd, data.OpenDescriptor(etcd::kBackendPath, O_RDONLY));
  if (::flock(fd.get(), operation | LOCK_NB) == 0) return fd;
  if (WouldBlock()) return InUse(etcd::kBackendPath);
  return FailErrno("lock", etcd::kBackendPath, errno);
}

Result<UniqueFd> LockSegment(const RealFileSystem& files, const std::string& path,
                             DataLock::Kind kind) {
  const bool exclusive = kind == DataLock::Kind::kExclusive;
  ASSIGN_OR_RETURN(UniqueFd fd, files.OpenDescriptor(path, exclusive ? O_RDWR : O_RDONLY));
  struct flock lock {};
  lock.l_type = F_WRLCK;
  lock.l_whence = SEEK_SET;
  if (exclusive) {
    if (::fcntl(fd.get(), F_OFD_SETLK, &lock) == 0) return fd;
    if (WouldBlock()) return InUse(path);
    return FailErrno("lock", path, errno);
  }
  if (::fcntl(fd.get(), F_OFD_GETLK, &lock) != 0) return FailErrno("ask the lock of", path, errno);
  if (lock.l_type != F_UNLCK) return InUse(path);
  return fd;
}

Result<JournalPlace> PlaceOnMachine(const fs::path& directory) {
  const fs::path absolute = fs::absolute(directory).lexically_normal();
  fs::path clean = absolute.has_filename() ? absolute : absolute.parent_path();
  JournalPlace place;
  place.directory = clean.filename().string();
  place.display_path = clean.string();
  ASSIGN_OR_RETURN(place.files, RealFileSystem::OpenRoot(clean.parent_path().string()));
  return place;
}

Result<NodeFacts> ReadNodeFacts(const FileView& volume) {
  NodeFacts facts;
  ASSIGN_OR_RETURN(facts.layout, node::FindLayout(volume));
  facts.warnings = facts.layout.warnings;
  if (!facts.layout.manifest.empty()) {
    auto manifest = node::ReadManifest(volume, facts.layout.manifest);
    if (manifest) {
      for (auto& warning : node::ManifestWarnings(*manifest, facts.layout)) {
        facts.warnings.push_back(std::move(warning));
      }
      facts.manifest = *std::move(manifest);
    } else {
      facts.warnings.push_back(manifest.error().message);
    }
  }
  ASSIGN_OR_RETURN(facts.node_state, node::ReadNodeState(volume, facts.layout));
  for (const auto& problem : facts.node_state.problems) facts.warnings.push_back(problem);
  return facts;
}

void SetPlaces(Target& target, std::unique_ptr<RealFileSystem> directory, LogPlace log) {
  target.places = {directory.get(), log.files.get(), std::move(log.display_path)};
  if (!log.files) {
    target.data = std::move(directory);
    return;
  }
  target.data = std::make_unique<MountedFileSystem>(
      std::move(directory), std::string(etcd::kLogDirectory), std::move(log.files));
}

}  // namespace

Result<DataLock> DataLock::Take(const DataPlaces& places, Kind kind) {
  DataLock lock;
  auto backend = LockBackend(*places.directory, kind == Kind::kExclusive ? LOCK_EX : LOCK_SH);
  if (backend) {
    lock.held_.push_back(*std::move(backend));
  } else if (!IsNotFound(backend.error())) {
    return Fail(std::move(backend.error()));
  }
  const RealFileSystem& files = places.log != nullptr ? *places.log : *places.directory;
  const std::string directory =
      places.log != nullptr ? std::string() : std::string(etcd::kLogDirectory);
  const auto entries = files.List(directory);
  if (!entries) {
    if (IsNotFound(entries.error())) return lock;
    return Fail(entries.error());
  }
  for (const auto& entry : *entries) {
    if (entry.type != FileType::kRegular || !raftlog::ParseSegmentName(entry.name)) continue;
    ASSIGN_OR_RETURN(UniqueFd fd, LockSegment(files, JoinPath(directory, entry.name), kind));
    lock.held_.push_back(std::move(fd));
  }
  return lock;
}

Result<Target> OpenDirectory(const std::string& data_directory,
                             const std::string& journal_directory,
                             const std::string& log_directory) {
  std::error_code error;
  const fs::path directory = fs::canonical(data_directory, error);
  if (error) {
    return Fail(ErrorKind::kUsage, "not-found",
                fmt::format("open data directory {}: {}", data_directory, error.message()),
                "name etcd's --data-dir, the directory that holds member/");
  }
  Target target;
  ASSIGN_OR_RETURN(auto files, RealFileSystem::OpenRoot(directory.string()));
  ASSIGN_OR_RETURN(LogPlace log, FindLogOnMachine(*files, directory.string(), log_directory));
  SetPlaces(target, std::move(files), std::move(log));
  ASSIGN_OR_RETURN(
      target.journal,
      PlaceOnMachine(journal_directory.empty() ? directory.string() + std::string(kJournalSuffix)
                                               : journal_directory));
  return target;
}

Result<Target> OpenVolumeData(const RealFileSystem& volume, const std::string& volume_path,
                              const std::string& journal_directory,
                              const std::string& log_directory) {
  Target target;
  ASSIGN_OR_RETURN(target.node, ReadNodeFacts(volume));
  const std::string& data_directory = target.node->layout.data_directory;
  ASSIGN_OR_RETURN(auto files, volume.OpenBelow(data_directory));
  ASSIGN_OR_RETURN(LogPlace log, FindLogOnVolume(volume, *files, *target.node, log_directory));
  SetPlaces(target, std::move(files), std::move(log));
  if (!journal_directory.empty()) {
    ASSIGN_OR_RETURN(target.journal, PlaceOnMachine(journal_directory));
    return target;
  }
  ASSIGN_OR_RETURN(target.journal.files, RealFileSystem::OpenRoot(volume_path));
  target.journal.directory = data_directory + std::string(kJournalSuffix);
  target.journal.display_path = target.journal.directory + " on the volume";
  return target;
}

Status RefuseUnfinished(const Target& target) {
  ASSIGN_OR_RETURN(const auto journals,
                   edit::ListJournals(*target.journal.files, target.journal.directory));
  for (const auto& journal : journals) {
    if (journal.state != edit::JournalState::kUnfinished) continue;
    return Fail(ErrorKind::kUnfinishedJournal, "unfinished-journal",
                fmt::format("open the data directory: an earlier apply was interrupted, its "
                            "journal {} in {} is unfinished",
                            journal.name, target.journal.display_path),
                "run `etcd-rescue undo ... --yes` to take it back, then plan again");
  }
  return {};
}

}  // namespace rescue::session
