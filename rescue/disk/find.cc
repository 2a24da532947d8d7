#include "rescue/disk/find.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <memory>

#include "rescue/base/units.h"
#include "rescue/disk/find_in.h"
#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace fs = std::filesystem;
namespace {

// Devices that are never a disk that somebody attached. Device-mapper: what is on it is found on
// the disk below.
constexpr std::array<std::string_view, 7> kPassedOver = {"loop", "dm-", "ram",     "zram",
                                                         "sr",   "fd",  "mtdblock"};

bool IsPassedOver(const std::string& name) {
  return std::any_of(kPassedOver.begin(), kPassedOver.end(), [&](std::string_view prefix) {
    return name.starts_with(prefix) && name.size() > prefix.size() &&
           std::isdigit(static_cast<unsigned char>(name[prefix.size()])) != 0;
  });
}

// Drives pad their names with spaces, on either side.
std::string Trimmed(const std::string& text) {
  const std::size_t begin = text.find_first_not_of(std::string_view(" \t\0", 3));
  if (begin == std::string::npos) return {};
  const std::size_t end = text.find_last_not_of(std::string_view(" \t\0", 3));
  return Printable(text.substr(begin, end + 1 - begin), 64);
}

std::string Attribute(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return Trimmed(line);
}

bool HasPartitions(const fs::path& device) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(device, error)) {
    if (fs::exists(entry.path() / "partition", error)) return true;
  }
  return false;
}

void Judge(const DiskState& state, FoundDisk& disk) {
  if (!state.in_use.empty()) {
    disk.why = state.in_use;
    return;
  }
  disk.why = disk.inside.why;
  if (!disk.inside.header) return;
  disk.is_candidate = true;
  disk.why = disk.has_state_token ? "LUKS2 with Constellation's state disk token"
                                  : "LUKS2 without Constellation's token";
}

Result<FoundDisk> ExaminePath(const std::string& path, const SystemPaths& system) {
  ASSIGN_OR_RETURN(const DiskState state, LookAtDisk(path, system));
  FoundDisk disk;
  disk.path = path;
  disk.size = state.size;
  disk.read_only = state.read_only;
  disk.is_image_file = state.is_image_file;
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return FailErrno("open", path, errno);
  disk.inside = LookInside(fd.get(), disk.size);
  disk.content = disk.inside.word;
  if (disk.inside.kind == ContentKind::kLuks2) disk.luks_uuid = disk.inside.uuid;
  disk.label = disk.inside.label;
  disk.has_state_token = disk.inside.header && HasStateToken(*disk.inside.header);
  Judge(state, disk);
  return disk;
}

// SCSI's "unit serial number" page: 4 bytes of head, the last two of them the length
// (SPC-4, 7.8.14).
std::string SerialPage(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::array<char, 4> head{};
  if (!file.read(head.data(), head.size())) return {};
  const std::size_t size = std::min<std::size_t>(static_cast<unsigned char>(head[3]), 64);
  std::string text(size, ' ');
  file.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<std::size_t>(file.gcount()));
  return Trimmed(text);
}

// virtio: serial; NVMe: device/serial, wwid; SCSI (Hyper-V's and Xen's too): the page, device/wwid.
void NameDrive(const fs::path& sys, FoundDisk& disk) {
  // A partition's drive is the folder above it.
  std::error_code error;
  const fs::path whole =
      fs::exists(sys / "partition", error) ? fs::canonical(sys, error).parent_path() : sys;
  disk.model = Attribute(whole / "device/model");
  const auto add = [&](std::string name) {
    if (name.empty()) return;
    if (disk.serial.empty()) disk.serial = name;
    disk.names.push_back(std::move(name));
  };
  add(Attribute(whole / "serial"));
  add(Attribute(whole / "device/serial"));
  add(SerialPage(whole / "device/vpd_pg80"));
  add(Attribute(whole / "wwid"));
  add(Attribute(whole / "device/wwid"));
}

std::string LowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

std::string ListOf(const std::vector<FoundDisk>& disks) {
  std::string list;
  for (const FoundDisk& disk : disks) list += (list.empty() ? "" : "; ") + Describe(disk);
  return list;
}

tl::unexpected<Error> Several(const std::vector<FoundDisk>& disks) {
  return Fail(
      ErrorKind::kNoStateDisk, "several-state-disks",
      fmt::format("choose the state disk: {} disks could be it: {}", disks.size(), ListOf(disks)),
      "name the right one with --disk DEVICE or --disk UUID=<LUKS UUID>");
}

enum class By { kUuid, kLabel, kSerial };

struct Selector {
  By by = By::kUuid;
  std::string value;
  bool tagged = false;
  std::string_view what = "UUID";
};

Selector ParseSelector(const std::string& text) {
  if (text.starts_with("UUID=")) return {By::kUuid, LowerCase(text.substr(5)), true, "UUID"};
  if (text.starts_with("LABEL=")) return {By::kLabel, text.substr(6), true, "label"};
  if (text.starts_with("SERIAL=")) return {By::kSerial, text.substr(7), true, "serial number"};
  return {By::kUuid, LowerCase(text), false, "UUID"};
}

bool Matches(const Selector& wanted, const FoundDisk& disk) {
  if (wanted.value.empty()) return false;
  switch (wanted.by) {
    case By::kUuid:
      return LowerCase(disk.inside.uuid) == wanted.value;
    case By::kLabel:
      return disk.inside.label == wanted.value;
    case By::kSerial:
      return std::find(disk.names.begin(), disk.names.end(), wanted.value) != disk.names.end();
  }
  return false;
}

}  // namespace

Result<std::vector<FoundDisk>> FindDisksIn(const SystemPaths& system) {
  std::vector<FoundDisk> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(system.class_block, error)) {
    std::string name = entry.path().filename();
    if (IsPassedOver(name)) continue;
    // sysfs writes ! for the / of a node in a folder (cciss!c0d0).
    std::replace(name.begin(), name.end(), '!', '/');
    auto disk = ExaminePath(system.dev + "/" + name, system);
    // An empty drive, or a device that vanished meanwhile.
    if (!disk || disk->size == 0) continue;
    // A disk with partitions is its partitions; a LUKS2 header before them is somebody's doing, and
    // hiding it would help them.
    if (HasPartitions(entry.path()) && disk->inside.kind != ContentKind::kLuks2) continue;
    NameDrive(entry.path(), *disk);
    found.push_back(*std::move(disk));
  }
  if (error) {
    return Fail(ErrorKind::kOther, "io",
                fmt::format("list {}: {}", system.class_block, error.message()));
  }
  std::sort(found.begin(), found.end(),
            [](const FoundDisk& a, const FoundDisk& b) { return a.path < b.path; });
  return found;
}

Result<FoundDisk> ExamineDiskIn(const std::string& selector, const SystemPaths& system) {
  const Selector wanted = ParseSelector(selector);
  const bool tagged = wanted.tagged;
  if (!tagged && (selector.find('/') != std::string::npos || fs::exists(selector))) {
    return ExaminePath(selector, system);
  }
  ASSIGN_OR_RETURN(const auto disks, FindDisksIn(system));
  std::vector<FoundDisk> matching;
  for (const FoundDisk& disk : disks) {
    if (Matches(wanted, disk)) matching.push_back(disk);
  }
  if (matching.size() == 1) return matching.front();
  if (matching.size() > 1) return Several(matching);
  return Fail(ErrorKind::kNoStateDisk, "no-such-disk",
              fmt::format("find disk {}: no such device, and no disk has this {}",
                          Printable(selector), wanted.what),
              "etcd-rescue disks lists what is there");
}

Result<std::vector<FoundDisk>> FindDisks() { return FindDisksIn({}); }

Result<FoundDisk> ExamineDisk(const std::string& selector) { return ExamineDiskIn(selector, {}); }

Result<FoundDisk> ChooseDisk(const std::vector<FoundDisk>& disks) {
  std::vector<FoundDisk> candidates;
  for (const bool with_token : {true, false}) {
    for (const FoundDisk& disk : disks) {
      if (disk.is_candidate && disk.has_state_token == with_token) candidates.push_back(disk);
    }
    if (!candidates.empty()) break;
  }
  if (candidates.size() == 1) return candidates.front();
  if (candidates.size() > 1) return Several(candidates);
  return Fail(ErrorKind::kNoStateDisk, "no-state-disk",
              disks.empty() ? "find the state disk: there are no disks"
                            : "find the state disk: none of the disks is one: " + ListOf(disks),
              "attach the broken node's state disk, or name it with --disk DEVICE (unencrypted "
              "volumes are never chosen by themselves)");
}

std::string Describe(const FoundDisk& disk) {
  std::string text = fmt::format("{}  {}", disk.path, FormatSize(disk.size));
  if (!disk.inside.word.empty()) text += "  " + disk.inside.word;
  if (!disk.inside.uuid.empty()) text += " " + disk.inside.uuid;
  return text + ": " + disk.why;
}

}  // namespace rescue::disk
