// Sizes and durations as people read them.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace rescue {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

// "0 B", "512 B", "1.5 KiB", "64 MiB": at most one digit after the point.
std::string FormatSize(std::uint64_t bytes);
// "0.02 s", "3.80 s", "125 s".
std::string FormatSeconds(std::chrono::milliseconds duration);
// 16 lower-case digits, as etcd's log lines and file names show identifiers.
std::string Hex16(std::uint64_t id);

}  // namespace rescue
