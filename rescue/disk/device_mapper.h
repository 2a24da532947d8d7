// The few device-mapper calls that libcryptsetup does not make for us. Works with udev (waits for
// it) and without (libdevmapper makes the nodes below /dev/mapper itself; DM_DISABLE_UDEV=1 forces
// that).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "rescue/base/result.h"

namespace rescue::disk {

// One line of a mapping's table or status.
struct MappingLine {
  std::uint64_t start = 0;   // sectors of 512 bytes
  std::uint64_t length = 0;  // sectors
  std::string target;        // "crypt", "integrity", "snapshot"
  // The target's words. A key that the kernel shows in hexadecimal is replaced by "key:<bytes>"
  // before it gets here.
  std::string words;

  bool operator==(const MappingLine&) const = default;
};

struct Mapping {
  dev_t device = 0;
  bool read_only = false;
  std::vector<MappingLine> lines;
};

// True when the kernel's device-mapper answers; else kRefused "no-device-mapper".
Status CheckDeviceMapper();

// Maps `name` as a snapshot of `origin` (opened read-only by the kernel) whose changed 4 KiB chunks
// go to `store`, not kept over a removal. Returns the new device's path.
Result<std::string> CreateSnapshot(const std::string& name, dev_t origin, dev_t store,
                                   std::uint64_t sectors);
Status RemoveMapping(const std::string& name);
Result<Mapping> ReadTable(const std::string& name);
Result<Mapping> ReadStatus(const std::string& name);
// All mappings of the machine.
Result<std::vector<std::string>> ListMappings();

std::string MappingPath(const std::string& name);

}  // namespace rescue::disk
