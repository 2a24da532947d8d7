// libcryptsetup, only ever fed with a checked header in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "rescue/base/result.h"
#include "rescue/base/unique_fd.h"
#include "rescue/disk/header.h"
#include "rescue/disk/volume.h"

struct crypt_device;

namespace rescue::disk {

// A checked header as libcryptsetup sees it: a file in memory that it takes for a detached header.
class CheckedHeader {
 public:
  // `data_device` may be empty when nothing is to be mapped. Fails (kVolumeRefused, "header-json")
  // when libcryptsetup understands the JSON text differently than our parser did.
  static Result<CheckedHeader> Load(const Header& header, const std::string& data_device);
  CheckedHeader(CheckedHeader&&) noexcept;
  CheckedHeader& operator=(CheckedHeader&&) noexcept;
  ~CheckedHeader();

  crypt_device* get() const { return device_.get(); }

  // Maps the segment as `name` (and `name`_dif below it, with integrity). Errors: kVolumeRefused
  // "activation-failed".
  Status Activate(const std::string& name, const SecretBytes& volume_key);
  // Removes both. Errors: kOther "not-sealed".
  Status Deactivate(const std::string& name);

 private:
  struct Free {
    void operator()(crypt_device* device) const;
  };
  CheckedHeader(UniqueFd file, crypt_device* device) : file_(std::move(file)), device_(device) {}

  UniqueFd file_;
  std::unique_ptr<crypt_device, Free> device_;
};

// The integrity mapping that libcryptsetup puts below `name`.
inline std::string IntegrityName(const std::string& name) { return name + "_dif"; }

// Takes the volume's keys out of this thread's kernel keyring, where libcryptsetup leaves them, and
// waits (20 seconds at most) until the kernel has wiped them. Errors: kOther "not-sealed".
Status DropKernelKeys(const std::string& luks_uuid);

// UnlockKey with this much memory available (bytes), for tests.
Result<Unlocked> UnlockKeyWithin(const Header& header, const secret::DiskKey& key,
                                 std::uint64_t available);

// MemAvailable of /proc/meminfo, in bytes.
Result<std::uint64_t> AvailableMemory();

}  // namespace rescue::disk
