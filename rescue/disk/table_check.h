// Does the kernel map what the header said? The last look before a byte is trusted or written: the
// table is the kernel's own account of cipher, integrity, position and underlying device.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>

#include "rescue/base/result.h"
#include "rescue/disk/device_mapper.h"
#include "rescue/disk/header.h"

namespace rescue::disk {

struct ExpectedMapping {
  dev_t data_device = 0;               // disk or view that carries the segment
  std::uint64_t data_device_size = 0;  // bytes
};

// `integrity` is the mapping below `crypt`, when the segment has integrity. Errors: kVolumeRefused
// "table-mismatch", with the words that differ (never a key).
Status CheckTables(const Header& header, const ExpectedMapping& expected, const Mapping& crypt,
                   const std::optional<Mapping>& integrity);

}  // namespace rescue::disk
