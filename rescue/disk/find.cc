#include "rescue/disk/find.h"

#include <blkid/blkid.h>
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
constexpr std::uint64_t kMetadataReach = 2 * kMetadataSizes.back();

bool IsPassedOver(const std::string& name) {
  return std::any_of(kPassedOver.begin(), kPassedOver.end(), [&](std::string_view prefix) {
    return name.starts_with(prefix) && name.size() > prefix.size() &&
           std::isdigit(static_cast<unsigned char>(name[prefix.size()])) != 0;
  });
}

std::string Attribute(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  const std::size_t end = line.find_last_not_of(" \t");
  return Printable(line.substr(0, end == std::string::npos ? 0 : end + 1), 64);
}

bool HasPartitions(const fs::path& device) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(device, error)) {
    if (fs::exists(entry.path() / "partition", error)) return true;
  }
  return false;
}

// libblkid's word for what is there: a file system, a volume manager's member, a partition table.
std::string ContentWord(int fd) {
  const std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)> probe(blkid_new_probe(),
                                                                         blkid_free_probe);
  if (!probe || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) return {};
  (void)blkid_probe_enable_superblocks(probe.get(), 1);
  (void)blkid_probe_set_superblocks_flags(probe.get(), BLKID_SUBLKS_TYPE);
  (void)blkid_probe_enable_partitions(probe.get(), 1);
  if (blkid_do_safeprobe(probe.get()) != 0) return {};
  const char* word = nullptr;
  for (const char* name : {"TYPE", "PTTYPE"}) {
    if (blkid_probe_lookup_value(probe.get(), name, &word, nullptr) == 0)
      return Printable(word, 40);
  }
  return {};
}

Result<Bytes> FirstBytes(int fd, std::uint64_t size) {
  Bytes bytes(std::min(size, kMetadataReach));
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t got =
        ::pread(fd, bytes.data() + have, bytes.size() - have, static_cast<off_t>(have));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailErrno("read", "the first bytes", errno);
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  bytes.resize(have);
  return bytes;
}

bool HasStateToken(const Header& header) {
  return std::any_of(header.tokens.begin(), header.tokens.end(),
                     [](const Token& token) { return token.type == kStateTokenType; });
}

// What the bytes say; `why` is left for Judge where it depends on more.
void LookInside(int fd, FoundDisk& disk) {
  const auto bytes = FirstBytes(fd, disk.size);
  if (!bytes) {
    disk.why = "it cannot be read: " + bytes.error().message;
    return;
  }
  const auto header = ParseMetadata(*bytes);
  if (header) {
    disk.content = "LUKS2";
    disk.luks_uuid = header->uuid;
    disk.label = header->label;
    disk.has_state_token = HasStateToken(*header);
    return;
  }
  const std::string& code = header.error().code;
  if (code == "luks1") {
    disk.content = "LUKS1";
    disk.why = "LUKS1: Constellation's state disks are LUKS2";
  } else if (code == "not-luks") {
    disk.content = ContentWord(fd);
    disk.why = disk.content.empty() ? "no LUKS2 header, nothing known on it"
                                    : "no LUKS2 header: " + disk.content;
  } else {
    // A broken header is not chosen by itself, but it is named, and --disk says what is wrong.
    disk.content = "LUKS2";
    disk.why = "LUKS2 header not usable: " + header.error().message;
  }
}

void Judge(const DiskState& state, FoundDisk& disk) {
  if (!state.in_use.empty()) {
    disk.why = state.in_use;
    return;
  }
  if (!disk.why.empty()) return;
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
  LookInside(fd.get(), disk);
  Judge(state, disk);
  return disk;
}

void NameDrive(const fs::path& sys, FoundDisk& disk) {
  // A partition's drive is the folder above it.
  std::error_code error;
  const fs::path whole =
      fs::exists(sys / "partition", error) ? fs::canonical(sys, error).parent_path() : sys;
  disk.model = Attribute(whole / "device/model");
  for (const char* place : {"serial", "device/serial", "device/wwid"}) {
    disk.serial = Attribute(whole / place);
    if (!disk.serial.empty()) return;
  }
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

}  // namespace

Result<std::vector<FoundDisk>> FindDisksIn(const SystemPaths& system) {
  std::vector<FoundDisk> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(system.class_block, error)) {
    std::string name = entry.path().filename();
    if (IsPassedOver(name) || HasPartitions(entry.path())) continue;
    // sysfs writes ! for the / of a node in a folder (cciss!c0d0).
    std::replace(name.begin(), name.end(), '!', '/');
    auto disk = ExaminePath(system.dev + "/" + name, system);
    // An empty drive, or a device that vanished meanwhile.
    if (!disk || disk->size == 0) continue;
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
  const bool tagged = selector.starts_with("UUID=");
  const std::string uuid = LowerCase(tagged ? selector.substr(5) : selector);
  if (!tagged && (selector.find('/') != std::string::npos || fs::exists(selector))) {
    return ExaminePath(selector, system);
  }
  ASSIGN_OR_RETURN(const auto disks, FindDisksIn(system));
  std::vector<FoundDisk> matching;
  for (const FoundDisk& disk : disks) {
    if (!disk.luks_uuid.empty() && LowerCase(disk.luks_uuid) == uuid) matching.push_back(disk);
  }
  if (matching.size() == 1) return matching.front();
  if (matching.size() > 1) return Several(matching);
  return Fail(ErrorKind::kNoStateDisk, "no-such-disk",
              fmt::format("find disk {}: no such device, and no disk has this LUKS UUID",
                          Printable(selector)),
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
              "attach the broken node's state disk, or name it with --disk DEVICE");
}

std::string Describe(const FoundDisk& disk) {
  std::string text = fmt::format("{}  {}", disk.path, FormatSize(disk.size));
  if (!disk.content.empty()) text += "  " + disk.content;
  if (!disk.luks_uuid.empty()) text += " " + disk.luks_uuid;
  return text + ": " + disk.why;
}

}  // namespace rescue::disk
