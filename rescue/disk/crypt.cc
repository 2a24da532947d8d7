#include "rescue/disk/crypt.h"

#include <fmt/format.h>
#include <libcryptsetup.h>
#include <linux/keyctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "rescue/base/units.h"
#include "rescue/disk/device_mapper.h"
#include "rescue/disk/luks2.h"
#include "rescue/disk/unlock_cost.h"

namespace rescue::disk {
namespace {

using Json = nlohmann::json;

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
  // A node writes the token with its first passphrase, a random one, and says "initialised" only
  // after it has replaced that by the derived one (Constellation: disk-mapper/internal/setup,
  // bootstrapper/internal/diskencryption).
  if (HasStateToken(header) && !IsInitialized(header)) {
    return Fail(
        ErrorKind::kCannotUnlock, "disk-not-initialised",
        fmt::format("unlock disk {}: its token says that it was never initialised, and the secret "
                    "opens none of its key slots ({} tried)",
                    header.uuid, tried),
        "such a disk still has the random passphrase of its first boot, which no master secret "
        "opens: the node had not joined the cluster, look for another survivor");
  }
  return Fail(ErrorKind::kCannotUnlock, "wrong-secret",
              fmt::format("unlock disk {}: the secret opens none of its key slots ({} tried)",
                          header.uuid, tried),
              "check that this secret belongs to the cluster of this disk");
}

tl::unexpected<Error> NotEnoughMemory(const Header& header, const KeySlot& slot,
                                      std::uint64_t available) {
  const std::uint64_t needed = MemoryFor(slot);
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
  return Fail(ErrorKind::kOther, "not-sealed", fmt::format("close {}: {}", name, Reason(code)),
              fmt::format("see who uses it (fuser -v {}), then cryptsetup close {}",
                          MappingPath(name), name));
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
  std::string damage;
  int tried = 0;
  for (const KeySlot* slot : UsableKeySlots(header)) {
    if (MemoryFor(*slot) > available) {
      too_large = slot;
      continue;
    }
    ++tried;
    last_complaint.clear();
    SecretBytes volume_key(slot->key_size);
    std::size_t size = volume_key.size();
    const int code = crypt_volume_key_get(
        checked.get(), slot->number, reinterpret_cast<char*>(volume_key.Reveal().data()), &size,
        reinterpret_cast<const char*>(passphrase.data()), passphrase.size());
    if (code >= 0) {
      volume_key.Shrink(size);
      return Unlocked{std::move(volume_key), slot->number, tried, -1};
    }
    if (code == -ENOMEM) {
      too_large = slot;
    } else if (code != -EPERM) {
      // The others may still be good.
      damage = fmt::format("key slot {}: {}", slot->number, Reason(code));
    }
  }
  if (too_large != nullptr) return NotEnoughMemory(header, *too_large, available);
  if (damage.empty()) return WrongSecret(header, tried);
  return Fail(ErrorKind::kCannotUnlock, "unlock-failed",
              fmt::format("unlock disk {}: {} ({} tried)", header.uuid, damage, tried),
              "the key slot itself seems damaged: restore a header backup");
}

Result<Unlocked> UnlockKey(const Header& header, const secret::DiskKey& key) {
  ASSIGN_OR_RETURN(const std::uint64_t available, AvailableMemory());
  return UnlockKeyWithin(header, key, available);
}

namespace {

// systemd-cryptenroll's tokens; libcryptsetup loads systemd's plugin for them.
constexpr std::string_view kTpm2Token = "systemd-tpm2";

tl::unexpected<Error> TokenFailed(std::string_view code, std::string message, std::string hint) {
  return Fail(ErrorKind::kCannotUnlock, std::string(code), std::move(message), std::move(hint));
}

struct FreeContext {
  void operator()(crypt_keyslot_context* context) const { crypt_keyslot_context_free(context); }
};

// One token. The reason why it did not work is left in `trouble`.
Result<std::optional<Unlocked>> TryToken(const CheckedHeader& checked, const Token& token,
                                         std::uint64_t key_size, const SecretBytes* pin,
                                         std::string& trouble) {
  const char* type = nullptr;
  const auto status = crypt_token_status(checked.get(), token.number, &type);
  if (status != CRYPT_TOKEN_EXTERNAL) {
    return TokenFailed(
        "token-plugin-missing",
        fmt::format("open with token {} of type {}: libcryptsetup has no plugin for it",
                    token.number, kTpm2Token),
        "install systemd's plugin (Debian 12: package systemd; 13: systemd-cryptsetup), or give a "
        "passphrase or a recovery key");
  }
  const char* pin_text =
      pin == nullptr ? nullptr : reinterpret_cast<const char*>(pin->Reveal().data());
  crypt_keyslot_context* raw = nullptr;
  const int made =
      crypt_keyslot_context_init_by_token(checked.get(), token.number, kTpm2Token.data(), pin_text,
                                          pin == nullptr ? 0 : pin->size(), nullptr, &raw);
  const std::unique_ptr<crypt_keyslot_context, FreeContext> context(raw);
  SecretBytes volume_key(key_size);
  std::size_t size = volume_key.size();
  const int code =
      made < 0 ? made
               : crypt_volume_key_get_by_keyslot_context(
                     checked.get(), CRYPT_ANY_SLOT,
                     reinterpret_cast<char*>(volume_key.Reveal().data()), &size, context.get());
  if (code >= 0) {
    volume_key.Shrink(size);
    return Unlocked{std::move(volume_key), code, 1, token.number};
  }
  if (code == -ENOANO) {
    return TokenFailed("pin-needed",
                       fmt::format("open with token {}: it needs a PIN{}", token.number,
                                   pin == nullptr ? "" : ", and this one is wrong"),
                       "give the PIN with --passphrase-file (every wrong one counts against the "
                       "TPM's lockout)");
  }
  // What systemd's plugin says so that its caller waits for a device to appear.
  if (code == -EAGAIN) {
    return TokenFailed("no-tpm",
                       fmt::format("open with token {}: this machine has no TPM", token.number),
                       "a token opens a disk only on the machine that it was enrolled on; give a "
                       "passphrase or a recovery key");
  }
  trouble = fmt::format("token {}: {}", token.number, Reason(code));
  return std::optional<Unlocked>();
}

}  // namespace

Result<Unlocked> UnlockWithToken(const Header& header, const SecretBytes* pin) {
  ASSIGN_OR_RETURN(const CheckedHeader checked, CheckedHeader::Load(header, {}));
  const auto slots = UsableKeySlots(header);
  std::string trouble;
  // Every token is tried: libcryptsetup's own iteration stops at the first failure.
  for (const Token& token : header.tokens) {
    if (token.type != kTpm2Token || slots.empty()) continue;
    last_complaint.clear();
    ASSIGN_OR_RETURN(auto unlocked,
                     TryToken(checked, token, slots.front()->key_size, pin, trouble));
    if (unlocked) return *std::move(unlocked);
  }
  if (trouble.empty()) {
    return TokenFailed(
        "no-token",
        fmt::format("unlock disk {}: it has no token of type {}", header.uuid, kTpm2Token),
        "give the passphrase (--passphrase-file) or key file (--key-file)");
  }
  return TokenFailed("token-failed", fmt::format("unlock disk {}: {}", header.uuid, trouble),
                     "a TPM opens it only on the machine, and with the boot state, that it was "
                     "enrolled for; give a passphrase or a recovery key instead");
}

namespace {

long KeyControl(int operation, unsigned long a, unsigned long b, unsigned long c) {
  return ::syscall(SYS_keyctl, operation, a, b, c, 0UL);
}

// "cryptsetup:<uuid>-d0" and the like, as /proc/keys shows them: number first, description last.
std::vector<long> KernelKeysOf(const std::string& luks_uuid) {
  std::vector<long> keys;
  std::ifstream file("/proc/keys");
  for (std::string line; std::getline(file, line);) {
    if (line.find("cryptsetup:" + luks_uuid) == std::string::npos) continue;
    keys.push_back(std::strtol(line.c_str(), nullptr, 16));
  }
  return keys;
}

// Waits until the kernel has collected the dropped keys; a worker of its own does that, and wipes
// them, some time after the last link is gone. It tells nobody, so its list has to be asked again.
// Returns a key that stays all the same, or 0.
long AwaitKernelKeysGone(const std::string& luks_uuid) {
  constexpr auto kPatience = std::chrono::seconds(20);
  constexpr auto kPause = std::chrono::milliseconds(20);
  const auto end = std::chrono::steady_clock::now() + kPatience;
  for (;;) {
    const auto left = KernelKeysOf(luks_uuid);
    if (left.empty()) return 0;
    if (std::chrono::steady_clock::now() >= end) return left.front();
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

Status DropKernelKeys(const std::string& luks_uuid) {
  for (const long key : KernelKeysOf(luks_uuid)) {
    // Unlinked here, it is gone unless somebody else has linked it.
    (void)KeyControl(KEYCTL_UNLINK, static_cast<unsigned long>(key),
                     static_cast<unsigned long>(static_cast<long>(KEY_SPEC_THREAD_KEYRING)), 0);
    if (KeyControl(KEYCTL_DESCRIBE, static_cast<unsigned long>(key), 0, 0) < 0) continue;
    (void)KeyControl(KEYCTL_INVALIDATE, static_cast<unsigned long>(key), 0, 0);
  }
  const long left = AwaitKernelKeysGone(luks_uuid);
  if (left == 0) return {};
  return Fail(
      ErrorKind::kOther, "not-sealed",
      fmt::format("drop the volume key: the kernel's keyring still has it (key {:x})", left),
      "another program opened this disk: close it there; the key is gone when the machine "
      "is off");
}

}  // namespace rescue::disk
