// Files on a disk that is not rescued: where an operator brings the secret, and takes the report.
#pragma once

#include <string>

#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"
#include "rescue/disk/find.h"

namespace rescue::session {

// A disk or partition with a file system that is taken for this: vfat or ext4. No
// state disk.
bool CanHoldFiles(const disk::FoundDisk& disk);

// The file's content. The disk is mounted for the time of the call only, without following links
// out of it; a dirty ext4 journal is replayed by that. Errors: kCannotUnlock as ReadSecretFd;
// kUsage "not-found"; those of mounting.
Result<SecretBytes> ReadSecretOn(const disk::FoundDisk& disk, const std::string& path);

// PATH.txt and PATH.json on that disk, as SaveReport.
Status SaveReportOn(const disk::FoundDisk& disk, const std::string& path, const std::string& text,
                    const std::string& json);

}  // namespace rescue::session
