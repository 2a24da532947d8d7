#include "rescue/session/backup_place.h"

#include <fmt/format.h>

#include <filesystem>
#include <system_error>
#include <utility>

#include "rescue/disk/find.h"
#include "rescue/disk/mounting.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;

constexpr const char* kMountName = "backups";

tl::unexpected<Error> NotFound(std::string_view from, std::string_view reason) {
  return Fail(ErrorKind::kUsage, "not-found", fmt::format("open {}: {}", from, reason),
              "name a snapshot file, or the folder that holds v1/ or v2/");
}

// "./a//b/" -> "a/b".
std::string Clean(std::string_view path) {
  std::string clean = fs::path(path).lexically_normal().relative_path().string();
  while (clean.ends_with('/')) clean.pop_back();
  return clean == "." ? "" : clean;
}

}  // namespace

BackupPlace ParseBackupPlace(std::string_view from) {
  for (const std::string_view start : {"LABEL=", "UUID=", "SERIAL=", "/dev/"}) {
    if (!from.starts_with(start)) continue;
    // A serial number or a label may hold a colon, too: the path starts behind ":/".
    const std::size_t colon = from.find(":/");
    const std::string_view path = colon == std::string_view::npos ? "" : from.substr(colon + 1);
    return {std::string(from.substr(0, colon)), Clean(path)};
  }
  return {"", std::string(from)};
}

Result<OpenBackups> OpenBackups::Open(std::string_view from) {
  const BackupPlace place = ParseBackupPlace(from);
  OpenBackups open;
  open.label_ = from;
  open.path_ = place.path;
  std::string root;
  if (place.disk.empty()) {
    std::error_code error;
    const fs::path real = fs::canonical(place.path, error);
    if (error) return NotFound(from, error.message());
    const bool is_folder = fs::is_directory(real, error);
    root = (is_folder ? real : real.parent_path()).string();
    open.path_ = is_folder ? "" : real.filename().string();
  } else {
    ASSIGN_OR_RETURN(const auto disk, disk::ExamineDisk(place.disk));
    ASSIGN_OR_RETURN(open.mount_point_, disk::MountUntouched(disk.path, disk.content, kMountName));
    root = open.mount_point_;
  }
  ASSIGN_OR_RETURN(open.files_, RealFileSystem::OpenRoot(root));
  const auto status = open.files_->Stat(open.path_);
  if (!status) return NotFound(from, status.error().message);
  if (status->type != FileType::kRegular && status->type != FileType::kDirectory) {
    return NotFound(from, "it is neither a file nor a folder");
  }
  open.is_file_ = status->type == FileType::kRegular;
  return open;
}

OpenBackups::OpenBackups(OpenBackups&& other) noexcept
    : files_(std::move(other.files_)),
      path_(std::move(other.path_)),
      is_file_(other.is_file_),
      label_(std::move(other.label_)),
      mount_point_(std::exchange(other.mount_point_, {})) {}

OpenBackups::~OpenBackups() { (void)Close(); }

Status OpenBackups::Close() {
  files_ = nullptr;
  const std::string mount_point = std::exchange(mount_point_, {});
  return mount_point.empty() ? Status() : disk::Unmount(mount_point);
}

}  // namespace rescue::session
