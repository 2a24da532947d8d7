#include "rescue/disk/volume.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <optional>

#include "rescue/base/units.h"
#include "rescue/disk/block_device.h"
#include "rescue/disk/crypt.h"
#include "rescue/disk/holders.h"
#include "rescue/disk/loop.h"
#include "rescue/disk/mounting.h"
#include "rescue/disk/table_check.h"
#include "rescue/disk/view.h"

namespace rescue::disk {
namespace {

// Unique on this machine: two volumes of one process, or two processes, never share a name.
std::string NewName(const std::string& uuid) {
  static std::atomic<unsigned> counter{0};
  std::string part = uuid.substr(0, 8);
  // A file system's UUID is whatever somebody wrote.
  part.erase(std::remove_if(part.begin(), part.end(),
                            [](unsigned char c) { return std::isxdigit(c) == 0; }),
             part.end());
  return fmt::format("etcd-rescue-{}-{}-{}", part, ::getpid(), ++counter);
}

// SHA-256 of the device's first `size` bytes as they are on the disk, not in a cache.
Result<Sha256Digest> DigestOfArea(const std::string& path, std::uint64_t size) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno("open", path, errno);
  (void)::fsync(fd.get());
  (void)::ioctl(fd.get(), BLKFLSBUF, 0);  // does not apply to image files
  Sha256Hasher hasher;
  Bytes piece(kMiB);
  for (std::uint64_t at = 0; at < size;) {
    const std::size_t want = static_cast<std::size_t>(std::min<std::uint64_t>(kMiB, size - at));
    const ssize_t got = ::pread(fd.get(), piece.data(), want, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("read the header area of", path, errno);
    if (got == 0) break;
    hasher.Update(ByteView(piece).first(static_cast<std::size_t>(got)));
    at += static_cast<std::uint64_t>(got);
  }
  return hasher.Finish();
}

tl::unexpected<Error> HeaderChanged(ErrorKind kind, const FoundDisk& disk, std::string_view when) {
  return Fail(
      kind, "header-changed",
      fmt::format("read the header of {} again: it is not the one that was {}", disk.path, when),
      "something else writes to this disk: find it, and compare with a header backup");
}

Result<dev_t> DeviceNumber(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) return FailErrno("stat", path, errno);
  return st.st_rdev;
}

}  // namespace

struct Volume::Parts {
  FoundDisk disk;
  std::optional<Header> header;  // nothing: not encrypted
  bool allow_xfs = false;
  int key_slot = -1;
  Access access = Access::kView;
  std::string name;
  std::string file_system;
  std::string recognised;   // again, after it was unmounted
  std::string mount_point;  // "" when not mounted
  std::vector<std::string> notes;

  UniqueFd image;  // holds the lock on an image file
  std::optional<LoopDevice> image_loop;
  std::optional<View> view;
  std::optional<CheckedHeader> crypt;
  bool mapped = false;
  std::unique_ptr<RealFileSystem> files;

  ~Parts() {
    std::vector<std::string> closed;
    (void)Close(closed);
  }

  Status OpenDisk();
  Result<std::string> MakeDataDevice();
  Status Map(const SecretBytes& volume_key);
  Status CompareTables(const std::string& data_device) const;
  Status Mount();
  Status Close(std::vector<std::string>& closed);
  Status ProveClosed() const;

  bool writable() const { return access == Access::kReadWrite; }
  // What carries the file system.
  std::string volume_device() const {
    if (header) return MappingPath(name);
    return view ? view->path() : raw_device();
  }
  const std::string& raw_device() const { return image_loop ? image_loop->path() : disk.path; }
  std::uint64_t raw_size() const { return disk.size / 512 * 512; }
};

Status Volume::Parts::OpenDisk() {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenUnused(disk.path, writable()));
  if (disk.is_image_file) {
    image = std::move(fd);
    ASSIGN_OR_RETURN(image_loop, LoopDevice::Attach(image.get(), !writable(), disk.path));
  }
  if (!header) return {};
  ASSIGN_OR_RETURN(const Sha256Digest digest, DigestOfArea(disk.path, header->area.size()));
  if (digest != header->area_digest) {
    return HeaderChanged(ErrorKind::kVolumeRefused, disk, "checked");
  }
  return {};
}

Result<std::string> Volume::Parts::MakeDataDevice() {
  if (writable()) return raw_device();
  ASSIGN_OR_RETURN(const dev_t origin, DeviceNumber(raw_device()));
  ASSIGN_OR_RETURN(view, View::Create(name + "-view", origin, raw_size()));
  return view->path();
}

Status Volume::Parts::Map(const SecretBytes& volume_key) {
  ASSIGN_OR_RETURN(const std::string data_device, MakeDataDevice());
  ASSIGN_OR_RETURN(crypt, CheckedHeader::Load(*header, data_device));
  RETURN_IF_ERROR(crypt->Activate(name, volume_key));
  mapped = true;
  return CompareTables(data_device);
}

Status Volume::Parts::CompareTables(const std::string& data_device) const {
  ExpectedMapping expected;
  ASSIGN_OR_RETURN(expected.data_device, DeviceNumber(data_device));
  expected.data_device_size = raw_size();
  ASSIGN_OR_RETURN(const Mapping table, ReadTable(name));
  std::optional<Mapping> integrity;
  if (!header->segments.front().integrity.empty()) {
    ASSIGN_OR_RETURN(integrity, ReadTable(IntegrityName(name)));
  }
  return CheckTables(*header, expected, table, integrity);
}

Status Volume::Parts::Mount() {
  const std::string device = volume_device();
  ASSIGN_OR_RETURN(file_system, FileSystemOn(device, allow_xfs));
  ASSIGN_OR_RETURN(mount_point, MountPrivately(device, file_system, name, access == Access::kView));
  ASSIGN_OR_RETURN(files, RealFileSystem::OpenRoot(mount_point));
  if (access != Access::kView) return {};
  // Opening a cleanly closed disk and mounting it read-only writes nothing.
  ASSIGN_OR_RETURN(const ViewUsage usage, view->Usage());
  if (usage.used > 0) {
    notes.push_back(
        fmt::format("the node was not shut down cleanly: {} of journals were replayed, in "
                    "memory only",
                    FormatSize(usage.used)));
  }
  return {};
}

// The order of closing. Every step is tried, so that as little as possible stays open; the first
// failure is reported.
//   1. files: our own descriptors below the mount point
//   2. syncfs, so that a write error is heard of here and not lost in the unmount
//   3. unmount: ext4 writes its superblock and flushes
//   -  what a node would now recognise on the volume
//   4. crypt and integrity mappings: dm-integrity writes back its journal; the key in the kernel
//   5. view and its store
//   6. loop device over an image file, and the lock on it
Status Volume::Parts::Close(std::vector<std::string>& closed) {
  Status first;
  const auto step = [&](Status status, std::string what) {
    if (status) {
      closed.push_back(std::move(what));
    } else if (first) {
      first = std::move(status);
    }
  };
  files.reset();
  if (!mount_point.empty()) {
    if (const Status flushed = Flush(mount_point); !flushed) first = flushed;
    step(Unmount(mount_point), mount_point);
    mount_point.clear();
    recognised = FileSystemOn(volume_device(), allow_xfs).value_or("");
  }
  if (mapped) {
    step(crypt->Deactivate(name), name);
    mapped = false;
  }
  crypt.reset();
  if (view) {
    step(view->Remove(), name + "-view");
    view.reset();
  }
  if (image_loop) {
    const std::string path = image_loop->path();
    step(image_loop->Detach(), path);
    image_loop.reset();
  }
  image = UniqueFd();
  return first;
}

// Asks the kernel, not our own memory of what was opened.
Status Volume::Parts::ProveClosed() const {
  if (header) RETURN_IF_ERROR(DropKernelKeys(header->uuid));
  std::string left;
  ASSIGN_OR_RETURN(const auto mappings, ListMappings());
  for (const std::string& mapping : mappings) {
    if (mapping.starts_with(name)) left += " mapping " + mapping;
  }
  ASSIGN_OR_RETURN(const bool mounted, IsMounted("/run/etcd-rescue/" + name));
  if (mounted) left += " mount /run/etcd-rescue/" + name;
  if (!left.empty()) {
    return Fail(ErrorKind::kOther, "not-sealed", "close the disk: still there:" + left,
                "close it by hand (umount, dmsetup remove) before detaching the disk");
  }
  if (const auto unused = OpenUnused(disk.path, writable()); !unused) {
    std::string by;
    if (!disk.is_image_file) {
      ASSIGN_OR_RETURN(const dev_t device, DeviceNumber(disk.path));
      by = ": " + HoldersText(HoldersOfDevice(device));
    }
    return Fail(ErrorKind::kOther, "not-sealed",
                "open the disk exclusively after closing: " + unused.error().message + by,
                "do not detach the disk before that program is gone");
  }
  return {};
}

Volume::Volume(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Volume::~Volume() = default;

const FoundDisk& Volume::disk() const { return parts_->disk; }
int Volume::key_slot() const { return parts_->key_slot; }
Access Volume::access() const { return parts_->access; }
const std::string& Volume::file_system() const { return parts_->file_system; }
const std::string& Volume::mount_point() const { return parts_->mount_point; }
RealFileSystem& Volume::files() { return *parts_->files; }
const std::vector<std::string>& Volume::notes() const { return parts_->notes; }

Result<ViewUsage> Volume::CheckView() const {
  if (!parts_->view) return ViewUsage{};
  return parts_->view->Usage();
}

Result<SealReport> Volume::Seal() && {
  const std::unique_ptr<Parts> parts = std::move(parts_);
  SealReport report;
  // A full view must be heard of, but it is no reason to leave the disk open.
  Status view_state;
  if (parts->view) {
    if (const auto usage = parts->view->Usage()) {
      report.view = *usage;
    } else {
      view_state = Fail(usage.error());
    }
  }
  RETURN_IF_ERROR(parts->Close(report.closed));
  RETURN_IF_ERROR(parts->ProveClosed());
  report.file_system = parts->recognised;
  report.has_header = parts->header.has_value();
  if (report.has_header) {
    ASSIGN_OR_RETURN(report.header_digest,
                     DigestOfArea(parts->disk.path, parts->header->area.size()));
    report.header_identical = report.header_digest == parts->header->area_digest;
    if (!report.header_identical) {
      return HeaderChanged(ErrorKind::kOther, parts->disk, "there before");
    }
  }
  RETURN_IF_ERROR(view_state);
  return report;
}

Result<std::unique_ptr<Volume>> OpenVolume(const FoundDisk& disk, const Header& header,
                                           const Unlocked& unlocked, Access access,
                                           Profile profile) {
  RETURN_IF_ERROR(CheckDeviceMapper());
  auto parts = std::make_unique<Volume::Parts>();
  parts->disk = disk;
  parts->header = header;
  parts->allow_xfs = profile == Profile::kLuks2;
  parts->key_slot = unlocked.key_slot;
  parts->access = access;
  parts->name = NewName(header.uuid);
  RETURN_IF_ERROR(parts->OpenDisk());
  RETURN_IF_ERROR(parts->Map(unlocked.volume_key));
  RETURN_IF_ERROR(parts->Mount());
  return std::unique_ptr<Volume>(new Volume(std::move(parts)));
}

Result<std::unique_ptr<Volume>> OpenPlainVolume(const FoundDisk& disk, Access access) {
  RETURN_IF_ERROR(CheckDeviceMapper());
  auto parts = std::make_unique<Volume::Parts>();
  parts->disk = disk;
  parts->allow_xfs = true;
  parts->access = access;
  parts->name = NewName(disk.inside.uuid);
  RETURN_IF_ERROR(parts->OpenDisk());
  RETURN_IF_ERROR(parts->MakeDataDevice());
  RETURN_IF_ERROR(parts->Mount());
  return std::unique_ptr<Volume>(new Volume(std::move(parts)));
}

}  // namespace rescue::disk
