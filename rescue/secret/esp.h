// The EFI system partition that the running image was booted from: the place on the boot disk where
// a sealed secret, or a job, can lie beside the image.
#pragma once

#include <optional>
#include <string>

#include "rescue/base/bytes.h"
#include "rescue/base/result.h"

namespace rescue::secret {

// Where a blob lies on the ESP. Not in loader/credentials or *.extra.d: what lies there is measured
// into PCR 12, and would change what the secret is sealed to.
inline constexpr const char* kBlobOnEsp = "etcd-rescue/tpm-secret";
// Where a job lies; for the same reason it is no credential of systemd-stub's.
inline constexpr const char* kJobOnEsp = "etcd-rescue/job.json";

// The device of the ESP, by the partition UUID that the boot stub left in an EFI variable; nothing
// when there is none (no UEFI, no stub).
std::optional<std::string> FindEsp();

// Both mount the partition for themselves (vfat, nosuid, nodev, noexec) and unmount it again.
// `name` is one of the above. Nothing when the file is not there. Errors: kOther "esp", also when
// it is larger than the limit (bytes).
Result<std::optional<Bytes>> ReadFromEsp(const std::string& device, const char* name,
                                         std::size_t limit);
// Writes the blob. Error kRefused "exists" for an existing file, unless `replace`; "read-only" when
// the boot disk cannot be written.
Status WriteToEsp(const std::string& device, ByteView content, bool replace);

}  // namespace rescue::secret
