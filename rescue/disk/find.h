// Which block device is the state disk: looked up by content, never by size or position.
//
// Everything here opens devices read-only and writes nothing. Devices that the running system uses
// (mounted, swap, held by another mapping) are listed but are no candidates.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "rescue/base/result.h"
#include "rescue/disk/content.h"

namespace rescue::disk {

struct FoundDisk {
  std::string path;        // "/dev/vdb", or the image file's path
  std::uint64_t size = 0;  // bytes
  std::string model;       // as the drive says, may be empty
  std::string serial;
  std::vector<std::string> names;  // the serial and whatever else identifies the drive (WWID)
  bool read_only = false;          // the device, or the image file, cannot be written
  bool is_image_file = false;      // a regular file, opened through a loop device
  std::string content;    // "LUKS2", "LUKS1", else libblkid's word: "ext4", "LVM2_member"; ""
  std::string luks_uuid;  // as in the header; "" without a LUKS2 header
  std::string label;      // of the LUKS header or the file system
  Content inside;         // all that was found
  bool is_candidate = false;
  bool has_state_token = false;  // a token of type constellation-state-disk, whatever it says
  std::string why;               // one line: why it is or is not a candidate

  bool operator==(const FoundDisk&) const = default;
};

// All disks and partitions of /sys/class/block, sorted by path; without loop, device-mapper, RAM,
// zram, floppy and optical devices.
Result<std::vector<FoundDisk>> FindDisks();

// One disk, named by the operator: a device path, an image file, "UUID=<uuid>" or the bare UUID (of
// the LUKS header or the file system), "LABEL=<label>", "SERIAL=<serial or WWID of the drive>".
// Whatever it holds is reported, not refused. Errors: kNoStateDisk "no-such-disk",
// "several-state-disks" (two disks carry this name).
Result<FoundDisk> ExamineDisk(const std::string& selector);

// The one candidate. Disks with Constellation's token go before LUKS2 disks without it. Errors:
// kNoStateDisk "no-state-disk" or "several-state-disks", with the list in the message.
Result<FoundDisk> ChooseDisk(const std::vector<FoundDisk>& disks);

// "/dev/vdb  30 GiB  LUKS2 1234-...: state disk with Constellation's token": for lists.
std::string Describe(const FoundDisk& disk);

}  // namespace rescue::disk
