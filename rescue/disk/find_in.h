// FindDisks over given folders, so that tests need no devices.
#pragma once

#include "rescue/disk/block_device.h"
#include "rescue/disk/find.h"

namespace rescue::disk {

Result<std::vector<FoundDisk>> FindDisksIn(const SystemPaths& system);
Result<FoundDisk> ExamineDiskIn(const std::string& selector, const SystemPaths& system);

}  // namespace rescue::disk
