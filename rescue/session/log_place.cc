#include "rescue/session/log_place.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>

#include "rescue/etcd/inspect.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kLogPath = etcd::kLogDirectory;

tl::unexpected<Error> LeavesVolume(const RealFileSystem& directory, std::string_view reason) {
  const auto text = directory.ReadLink(kLogPath);
  return Fail(ErrorKind::kRefused, "link-leaves-volume",
              fmt::format("open the log: {} is a link to {}, {}", kLogPath,
                          text ? Printable(*text) : "an unknown place", reason),
              "name the directory that holds the log with --wal-dir");
}

Result<bool> IsLink(const FileView& files, std::string_view path) {
  const auto status = files.Stat(path);
  if (status) return status->type == FileType::kSymlink;
  if (IsNotFound(status.error())) return false;
  return Fail(status.error());
}

// Only the log may lie elsewhere: edits never go through a link.
Status RefuseOtherLinks(const RealFileSystem& directory) {
  for (const std::string_view path : {std::string_view("member"), etcd::kSnapDirectory}) {
    ASSIGN_OR_RETURN(const bool link, IsLink(directory, path));
    if (!link) continue;
    return Fail(
        ErrorKind::kRefused, "link-unsupported",
        fmt::format("open the data directory: {} is a link, only {} may be one", path, kLogPath),
        "replace the link by what it points to, or work on a copy without links");
  }
  return {};
}

// One file must not have two names below the data directory: what is known about one of them would
// be wrong after an edit of the other.
Status RefuseOverlap(const RealFileSystem& directory, const LogPlace& log) {
  if (!log.files) return {};
  ASSIGN_OR_RETURN(const auto place, log.files->IdentityOf(""));
  for (const std::string_view path :
       {std::string_view(), std::string_view("member"), etcd::kSnapDirectory}) {
    const auto other = directory.IdentityOf(path);
    if (!other || *other != place) continue;
    return Fail(ErrorKind::kRefused, "log-overlaps",
                fmt::format("open the log: {} also is the data directory's {}", log.display_path,
                            path.empty() ? "root" : path),
                "name the directory that holds the .wal files and nothing else of etcd's");
  }
  return {};
}

Result<LogPlace> Checked(const RealFileSystem& directory, Result<LogPlace> place) {
  if (place) RETURN_IF_ERROR(RefuseOverlap(directory, *place));
  return place;
}

// --- on this machine

Result<LogPlace> NamedOnMachine(const std::string& path) {
  std::error_code error;
  LogPlace place;
  place.display_path = fs::weakly_canonical(path, error).string();
  auto files = RealFileSystem::OpenRoot(path);
  if (!files) {
    return Fail(ErrorKind::kUsage, "not-found", files.error().message,
                "name etcd's --wal-dir, the directory that holds the .wal files");
  }
  place.files = *std::move(files);
  return place;
}

// Besides links, also where something else is mounted at member/wal: its free space counts.
Result<LogPlace> LinkedOnMachine(const RealFileSystem& directory, const fs::path& path) {
  const auto status = directory.Stat(kLogPath);
  if (!status && IsNotFound(status.error())) return LogPlace{};
  if (!status) return Fail(status.error());
  ASSIGN_OR_RETURN(const auto here, directory.IdentityOf(""));
  ASSIGN_OR_RETURN(const auto there, directory.IdentityOf(kLogPath));
  const bool link = status->type == FileType::kSymlink;
  if (!link && here.device == there.device) return LogPlace{};
  auto files = RealFileSystem::OpenRoot((path / kLogPath).string());
  if (!files && link) return LeavesVolume(directory, "which cannot be opened");
  if (!files) return Fail(files.error());
  ASSIGN_OR_RETURN(const auto target, (*files)->IdentityOf(""));
  if (link && target.device != here.device) {
    return LeavesVolume(directory, "on another file system");
  }
  std::error_code error;
  return LogPlace{*std::move(files), fs::weakly_canonical(path / kLogPath, error).string()};
}

// --- on an open volume

// "/var//lib/" -> "var/lib"
std::string PathBelowRoot(const std::string& path) {
  std::string below = fs::path("/" + path).lexically_normal().relative_path().string();
  if (below.ends_with('/')) below.pop_back();
  return below == "." ? std::string() : below;
}

std::string Shown(const std::string& path) { return path + " on the volume"; }

Result<LogPlace> NamedOnVolume(const RealFileSystem& volume, const std::string& named) {
  const std::string path = PathBelowRoot(named);
  auto files = volume.OpenAsRoot(path);
  if (files) return LogPlace{*std::move(files), Shown(path)};
  return Fail(ErrorKind::kUsage, "not-found", files.error().message,
              "name the directory on the volume that holds the .wal files");
}

// A path inside etcd's container as one on the node. Without a mount there, what etcd wrote is lost
// with the container.
std::optional<std::string> NodePath(const NodeFacts& node, const std::string& path) {
  if (!node.manifest || node.manifest->mounts.empty()) return path;
  return node::HostPath(*node.manifest, path);
}

// Nothing when the manifest does not say, or says what is so anyway.
Result<LogPlace> PlaceInManifest(const RealFileSystem& volume, const NodeFacts& node) {
  if (!node.manifest || node.manifest->wal_dir.empty()) return LogPlace{};
  const std::string& named = node.manifest->wal_dir;
  const auto node_path = NodePath(node, named);
  const auto path =
      node_path ? node::PathOnVolume(volume, node.layout.kind, *node_path) : node_path;
  if (path && *path == JoinPath(node.layout.data_directory, kLogPath)) return LogPlace{};
  if (path) {
    if (auto files = volume.OpenBelow(*path)) return LogPlace{*std::move(files), Shown(*path)};
  }
  return Fail(
      ErrorKind::kRefused, "log-not-on-volume",
      fmt::format("open the log: {} names --wal-dir {}, which is not on this volume",
                  Printable(node.layout.manifest), Printable(named)),
      "name the directory on the volume that holds the log with --wal-dir (an empty one when the "
      "log is lost)");
}

Result<LogPlace> LinkedOnVolume(const RealFileSystem& volume, const RealFileSystem& directory,
                                const NodeFacts& node) {
  ASSIGN_OR_RETURN(const bool link, IsLink(directory, kLogPath));
  if (!link) return LogPlace{};
  ASSIGN_OR_RETURN(const std::string text, directory.ReadLink(kLogPath));
  std::optional<std::string> path = JoinPath(node.layout.data_directory, kLogPath);
  if (text.starts_with('/')) {
    path = node::PathOnVolume(volume, node.layout.kind, NodePath(node, text).value_or(text));
  }
  if (path) {
    if (auto files = volume.OpenBelow(*path)) return LogPlace{*std::move(files), Shown(text)};
  }
  return LeavesVolume(directory, "which is not on this volume");
}

}  // namespace

Result<LogPlace> FindLogOnMachine(const RealFileSystem& directory, const std::string& path,
                                  const std::string& named) {
  RETURN_IF_ERROR(RefuseOtherLinks(directory));
  return Checked(directory,
                 named.empty() ? LinkedOnMachine(directory, path) : NamedOnMachine(named));
}

Result<LogPlace> FindLogOnVolume(const RealFileSystem& volume, const RealFileSystem& directory,
                                 const NodeFacts& node, const std::string& named) {
  RETURN_IF_ERROR(RefuseOtherLinks(directory));
  if (!named.empty()) return Checked(directory, NamedOnVolume(volume, named));
  ASSIGN_OR_RETURN(LogPlace in_manifest, PlaceInManifest(volume, node));
  if (in_manifest.files) return Checked(directory, std::move(in_manifest));
  return Checked(directory, LinkedOnVolume(volume, directory, node));
}

}  // namespace rescue::session
