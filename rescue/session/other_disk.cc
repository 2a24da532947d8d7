#include "rescue/session/other_disk.h"

#include <fcntl.h>
#include <fmt/format.h>

#include "rescue/base/real_file_system.h"
#include "rescue/disk/mounting.h"
#include "rescue/secret/source.h"
#include "rescue/session/report.h"

namespace rescue::session {
namespace {

constexpr const char* kMountName = "other-disk";

// Mounts, calls, unmounts. What the call says counts more than trouble at the end.
template <typename T, typename Use>
Result<T> WithDisk(const disk::FoundDisk& disk, bool read_only, const Use& use) {
  if (!CanHoldFiles(disk)) {
    return Fail(ErrorKind::kUsage, "not-found",
                fmt::format("use {}: it has no file system that is read here", disk.path),
                "bring the file on vfat or ext4");
  }
  ASSIGN_OR_RETURN(const std::string mount_point,
                   disk::MountPrivately(disk.path, disk.content, kMountName, read_only));
  Result<T> result = use(mount_point);
  Status closed = read_only ? Status() : disk::Flush(mount_point);
  if (Status unmounted = disk::Unmount(mount_point); closed) closed = std::move(unmounted);
  if (result && !closed) return Fail(std::move(closed).error());
  return result;
}

// As a person writes it: "/secret.json" is below the disk's root, too.
std::string Below(std::string path) {
  path.erase(0, path.find_first_not_of('/'));
  return path;
}

}  // namespace

bool CanHoldFiles(const disk::FoundDisk& disk) {
  const bool known = disk.content == "vfat" || disk.content == "ext4";
  return known && !disk.is_candidate && !disk.is_image_file;
}

Result<SecretBytes> ReadSecretOn(const disk::FoundDisk& disk, const std::string& path) {
  return WithDisk<SecretBytes>(
      disk, /*read_only=*/true, [&](const std::string& mount_point) -> Result<SecretBytes> {
        ASSIGN_OR_RETURN(const auto files, RealFileSystem::OpenRoot(mount_point));
        ASSIGN_OR_RETURN(const UniqueFd fd, files->OpenDescriptor(Below(path), O_RDONLY));
        return secret::ReadSecretFd(fd.get(), path + " on " + disk.path);
      });
}

Status SaveReportOn(const disk::FoundDisk& disk, const std::string& path, const std::string& text,
                    const std::string& json) {
  return WithDisk<void>(disk, /*read_only=*/false, [&](const std::string& mount_point) -> Status {
    ASSIGN_OR_RETURN(const auto files, RealFileSystem::OpenRoot(mount_point));
    return SaveReportIn(*files, Below(path), text, json);
  });
}

}  // namespace rescue::session
