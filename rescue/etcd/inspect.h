// Looks at a data directory and reports what is there. Reads only.
#pragma once

#include <cstdint>
#include <functional>

#include "rescue/etcd/findings.h"

namespace rescue::etcd {

// Paths inside a data directory.
inline constexpr std::string_view kBackendPath = "member/snap/db";
inline constexpr std::string_view kSnapDirectory = "member/snap";
inline constexpr std::string_view kLogDirectory = "member/wal";

struct InspectOptions {
  // Check every page of the backend; without it only the pages are looked at that are needed.
  bool check_backend = true;
  // Bytes of the backend done and in all; called from time to time.
  std::function<void(std::uint64_t, std::uint64_t)> progress;
};

// `data` is rooted at the data directory. Missing or unreadable parts are findings, not errors;
// fails only when there is no member/ at all ("no-data-directory", kDataDamaged) or the device does
// not answer.
Result<Findings> Inspect(const FileView& data, const InspectOptions& options = {});

}  // namespace rescue::etcd
