#include "rescue/disk/content.h"

#include <blkid/blkid.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>

#include "rescue/base/units.h"
#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

constexpr std::uint64_t kMetadataReach = 2 * kMetadataSizes.back();

// What has to be opened by other means first. Nothing here is assembled by us: a rescue does not
// start arrays, and volumes of the same name on several disks must not be mixed up.
struct Container {
  std::string_view word;  // libblkid's; a * at its end stands for anything
  std::string_view code;
  std::string_view name;
  std::string_view next;
};
constexpr std::array<Container, 10> kContainers = {{
    {"LVM2_member", "lvm", "a physical volume of LVM",
     "activate it (vgchange -ay) and name the logical volume: --disk /dev/VG/LV"},
    {"linux_raid_member", "raid", "a member of a Linux RAID",
     "assemble it (mdadm --assemble --readonly) and name the array: --disk /dev/mdN"},
    {"*_raid_member", "raid", "a member of a firmware RAID",
     "assemble it (mdadm --assemble) and name the array"},
    {"LUKS1", "luks1", "LUKS1, which has no tokens and no integrity",
     "Constellation's state disks are LUKS2: attach the state disk itself; another node's LUKS1 "
     "disk: open it with cryptsetup and name the mapping: --disk /dev/mapper/NAME"},
    {"crypto_LUKS", "luks1", "LUKS that is not LUKS2",
     "open it with cryptsetup and name the mapping: --disk /dev/mapper/NAME"},
    {"BitLocker", "bitlocker", "BitLocker",
     "no etcd node writes it; open it with cryptsetup bitlkOpen and name the mapping"},
    {"zfs_member", "zfs", "a member of a ZFS pool",
     "import the pool elsewhere and use --data-dir on the mounted file system"},
    {"bcache", "bcache", "a bcache device",
     "register it and name the cached device: --disk /dev/bcacheN"},
    {"DM_*", "raid", "a member of a firmware RAID", "assemble it and name the array"},
    {"VMFS*", "vmfs", "VMware's VMFS", "attach the virtual disk that lies on it"},
}};

// Where a data directory can lie without encryption, and be reached by this program.
constexpr std::array<std::string_view, 2> kFileSystems = {"ext4", "xfs"};

bool Matches(std::string_view pattern, std::string_view word) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return word == pattern;
  return word.size() + 1 >= pattern.size() && word.starts_with(pattern.substr(0, star)) &&
         word.ends_with(pattern.substr(star + 1));
}

const Container* FindContainer(std::string_view word) {
  const auto it = std::find_if(kContainers.begin(), kContainers.end(),
                               [&](const Container& c) { return Matches(c.word, word); });
  return it == kContainers.end() ? nullptr : &*it;
}

std::string Value(blkid_probe probe, const char* name) {
  const char* value = nullptr;
  if (blkid_probe_lookup_value(probe, name, &value, nullptr) != 0) return {};
  return Printable(value, 60);
}

// What libblkid finds: a file system, a volume manager's member, a partition table. Two of them at
// once ("ambivalent") are reported as nothing, as mount(8) does.
void Probe(int fd, Content& content) {
  const std::unique_ptr<blkid_struct_probe, void (*)(blkid_probe)> probe(blkid_new_probe(),
                                                                         blkid_free_probe);
  if (!probe || blkid_probe_set_device(probe.get(), fd, 0, 0) != 0) return;
  (void)blkid_probe_enable_superblocks(probe.get(), 1);
  (void)blkid_probe_set_superblocks_flags(
      probe.get(), BLKID_SUBLKS_TYPE | BLKID_SUBLKS_UUID | BLKID_SUBLKS_LABEL);
  (void)blkid_probe_enable_partitions(probe.get(), 1);
  const int code = blkid_do_safeprobe(probe.get());
  if (code == -2) {
    content.why = "it has the marks of several formats at once; it is left alone";
    return;
  }
  if (code != 0) return;
  content.word = Value(probe.get(), "TYPE");
  content.uuid = Value(probe.get(), "UUID");
  content.label = Value(probe.get(), "LABEL");
  if (!content.word.empty()) return;
  content.word = Value(probe.get(), "PTTYPE");
  if (!content.word.empty()) content.kind = ContentKind::kPartitioned;
}

// Everything but LUKS2.
void LookForOthers(int fd, Content& content) {
  Probe(fd, content);
  if (const Container* container = FindContainer(content.word)) {
    content.kind = ContentKind::kContainer;
    content.why = std::string(container->name);
  } else if (content.kind == ContentKind::kPartitioned) {
    content.why = fmt::format("a partition table ({})", content.word);
  } else if (std::find(kFileSystems.begin(), kFileSystems.end(), content.word) !=
             kFileSystems.end()) {
    content.kind = ContentKind::kFileSystem;
    content.why = fmt::format(
        "{} without encryption: looked into only when it is named with --disk", content.word);
  } else if (!content.word.empty()) {
    content.kind = ContentKind::kOther;
    content.why = fmt::format("{}: no file system that etcd-rescue opens", content.word);
  } else if (content.why.empty()) {
    content.why = "no LUKS2 header, nothing known on it";
  }
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

}  // namespace

Content LookInside(int fd, std::uint64_t size) {
  Content content;
  const auto bytes = FirstBytes(fd, size);
  if (!bytes) {
    content.why = "it cannot be read: " + bytes.error().message;
    return content;
  }
  auto header = ParseMetadata(*bytes);
  if (header) {
    content.kind = ContentKind::kLuks2;
    content.word = "LUKS2";
    content.uuid = header->uuid;
    content.label = header->label;
    content.header = *std::move(header);
  } else if (header.error().code == "luks1") {
    content.kind = ContentKind::kContainer;
    content.word = "LUKS1";
    content.why = "LUKS1: Constellation's state disks are LUKS2";
  } else if (header.error().code == "not-luks") {
    LookForOthers(fd, content);
  } else {
    // A broken header is not chosen by itself, but it is named, and --disk says what is wrong.
    content.kind = ContentKind::kLuks2;
    content.word = "LUKS2";
    content.why = "LUKS2 header not usable: " + header.error().message;
  }
  return content;
}

Status CheckOpenable(const std::string& path, const Content& content) {
  const auto refuse = [&](std::string_view code, std::string_view what, std::string_view next) {
    return Fail(ErrorKind::kVolumeRefused, std::string(code),
                fmt::format("open {}: it is {}", path, what), std::string(next));
  };
  switch (content.kind) {
    case ContentKind::kLuks2:
    case ContentKind::kFileSystem:
      return {};
    case ContentKind::kContainer: {
      const Container* container = FindContainer(content.word);
      return refuse(container->code, container->name, container->next);
    }
    case ContentKind::kPartitioned:
      return refuse("partition-table", fmt::format("a partition table ({})", content.word),
                    "name a partition (etcd-rescue disks lists them); for an image file make them "
                    "appear with losetup --partscan --read-only and name that");
    case ContentKind::kOther:
      return refuse("file-system-unsupported", content.word,
                    "etcd-rescue opens LUKS2 disks, ext4 and xfs; mount others yourself and use "
                    "--data-dir");
    case ContentKind::kUnknown:
      break;
  }
  return Fail(ErrorKind::kVolumeRefused, "not-luks", fmt::format("open {}: {}", path, content.why),
              "check that this is the state disk; a header backup can be restored with cryptsetup "
              "luksHeaderRestore");
}

}  // namespace rescue::disk
