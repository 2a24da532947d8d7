#include "rescue/disk/crypt.h"

#include <fmt/format.h>
#include <libcryptsetup.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

#include "rescue/base/units.h"
#include "rescue/disk/device_mapper.h"
#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

using Json = nlohmann::json;

// Beside argon2's blocks: libcryptsetup, the stripes of a key slot, ourselves.
constexpr std::uint64_t kMemoryReserve = 48 * kMiB;

thread_local std::string last_complaint;

void RememberComplaint(int level, const char* text, void* /*unused*/) {
  if (level != CRYPT_LOG_ERROR) return;
  last_complaint = text;
  while (last_complaint.ends_with('\n')) last_complaint.pop_back();
}

std::string Reason(int code) {
  return last_complaint.empty() ? std::strerror(-code) : last_complaint;
}

Result<UniqueFd> MemoryFile(ByteView content) {
  UniqueFd fd(::memfd_create("luks2-header", MFD_CLOEXEC));
  if (!fd) return FailErrno("create", "a header in memory", errno);
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t put = ::write(fd.get(), content.data() + done, content.size() - done);
    if (put < 0) return FailErrno("write", "a header in memory", errno);
    done += static_cast<std::size_t>(put);
  }
  return fd;
}

// libcryptsetup has its own JSON parser (json-c). What it reads must be what was checked.
Status CompareUnderstanding(crypt_device* device, const Header& header) {
  const char* text = nullptr;
  if (crypt_dump_json(device, &text, 0) == 0 && text != nullptr &&
      Json::parse(text, nullptr, false) == Json::parse(header.json, nullptr, false) &&
      header.uuid == crypt_get_uuid(device)) {
    return {};
  }
  return Fail(ErrorKind::kVolumeRefused, "header-json",
              "compare the header: libcryptsetup reads it differently than we do",
              "the metadata was edited to confuse parsers: restore a header backup");
}

tl::unexpected<Error> WrongSecret(const Header& header, int tried) {
  return Fail(ErrorKind::kCannotUnlock, "wrong-secret",
              fmt::format("unlock disk {}: the secret opens none of its key slots ({} tried)",
                          header.uuid, tried),
              "check that this master secret belongs to the cluster of this disk");
}

tl::unexpected<Error> NotEnoughMemory(const Header& header, const KeySlot& slot,
                                      std::uint64_t available) {
  const std::uint64_t needed = slot.derivation.memory_kib * kKiB + kMemoryReserve;
  return Fail(
      ErrorKind::kCannotUnlock, "not-enough-memory",
      fmt::format("unlock disk {}: key slot {} needs {} MiB of memory, this machine has {} MiB",
                  header.uuid, slot.number, needed / kMiB, available / kMiB),
      fmt::format("start the machine with at least {} MiB more memory",
                  (needed - std::min(needed, available)) / kMiB + 1));
}

}  // namespace

void CheckedHeader::Free::operator()(crypt_device* device) const { crypt_free(device); }
CheckedHeader::CheckedHeader(CheckedHeader&&) noexcept = default;
CheckedHeader& CheckedHeader::operator=(CheckedHeader&&) noexcept = default;
CheckedHeader::~CheckedHeader() = default;

Result<CheckedHeader> CheckedHeader::Load(const Header& header, const std::string& data_device) {
  // Set for all devices of the process: by default messages go to standard output.
  crypt_set_log_callback(nullptr, RememberComplaint, nullptr);
  last_complaint.clear();
  ASSIGN_OR_RETURN(UniqueFd file, MemoryFile(CheckedArea(header)));
  const std::string name = fmt::format("/proc/self/fd/{}", file.get());
  crypt_device* device = nullptr;
  const int made = data_device.empty()
                       ? crypt_init(&device, name.c_str())
                       : crypt_init_data_device(&device, name.c_str(), data_device.c_str());
  if (made < 0) {
    return Fail(ErrorKind::kVolumeRefused, "activation-failed",
                fmt::format("open disk {} with libcryptsetup: {}", header.uuid, Reason(made)),
                "check that libcryptsetup is 2.4 or later");
  }
  CheckedHeader checked(std::move(file), device);
  // A private file in memory needs no lock against other programs, and there may be no
  // /run/cryptsetup.
  (void)crypt_metadata_locking(device, 0);
  const int loaded = crypt_load(device, CRYPT_LUKS2, nullptr);
  if (loaded < 0) {
    return Fail(ErrorKind::kVolumeRefused, "activation-failed",
                fmt::format("load the checked header of disk {}: {}", header.uuid, Reason(loaded)),
                "the header passed our checks but not libcryptsetup's: restore a header backup");
  }
  RETURN_IF_ERROR(CompareUnderstanding(device, header));
  return checked;
}

Status CheckedHeader::Activate(const std::string& name, const SecretBytes& volume_key) {
  last_complaint.clear();
  const auto key = volume_key.Reveal();
  // PRIVATE: no udev rules, no links, no probing by others. No flag that touches the integrity
  // journal.
  const int code = crypt_activate_by_volume_key(device_.get(), name.c_str(),
                                                reinterpret_cast<const char*>(key.data()),
                                                key.size(), CRYPT_ACTIVATE_PRIVATE);
  if (code >= 0) return {};
  return Fail(
      ErrorKind::kVolumeRefused, "activation-failed",
      fmt::format("map the volume as {}: {}", name, Reason(code)),
      "check the kernel's modules dm-crypt, dm-integrity, xts, authenc, hmac and its log (dmesg)");
}

Status CheckedHeader::Deactivate(const std::string& name) {
  last_complaint.clear();
  const int code = crypt_deactivate_by_name(device_.get(), name.c_str(), 0);
  if (code >= 0 || code == -ENODEV) return {};
  return Fail(
      ErrorKind::kOther, "not-sealed", fmt::format("close {}: {}", name, Reason(code)),
      fmt::format("see who uses it (lsof {}), then cryptsetup close {}", MappingPath(name), name));
}

Result<std::uint64_t> AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    std::uint64_t kib = 0;
    if (word == "MemAvailable:" && file >> kib) return kib * kKiB;
  }
  return Fail(ErrorKind::kOther, "io", "read MemAvailable from /proc/meminfo: it is not there");
}

Result<Unlocked> UnlockKeyWithin(const Header& header, const secret::DiskKey& key,
                                 std::uint64_t available) {
  ASSIGN_OR_RETURN(const CheckedHeader checked, CheckedHeader::Load(header, {}));
  const auto passphrase = key.bytes.Reveal();
  const KeySlot* too_large = nullptr;
  int tried = 0;
  for (const KeySlot& slot : header.key_slots) {
    if (slot.derivation.memory_kib * kKiB + kMemoryReserve > available) {
      too_large = &slot;
      continue;
    }
    ++tried;
    last_complaint.clear();
    SecretBytes volume_key(slot.key_size);
    std::size_t size = volume_key.size();
    const int code = crypt_volume_key_get(
        checked.get(), slot.number, reinterpret_cast<char*>(volume_key.Reveal().data()), &size,
        reinterpret_cast<const char*>(passphrase.data()), passphrase.size());
    if (code >= 0) {
      volume_key.Shrink(size);
      return Unlocked{std::move(volume_key), slot.number, tried};
    }
    if (code == -ENOMEM) {
      too_large = &slot;
    } else if (code != -EPERM) {
      return Fail(
          ErrorKind::kCannotUnlock, "unlock-failed",
          fmt::format("unlock disk {}: key slot {}: {}", header.uuid, slot.number, Reason(code)),
          "the key slot itself seems damaged: restore a header backup");
    }
  }
  if (too_large != nullptr) return NotEnoughMemory(header, *too_large, available);
  return WrongSecret(header, tried);
}

Result<Unlocked> UnlockKey(const Header& header, const secret::DiskKey& key) {
  ASSIGN_OR_RETURN(const std::uint64_t available, AvailableMemory());
  return UnlockKeyWithin(header, key, available);
}

}  // namespace rescue::disk
