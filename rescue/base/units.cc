#include "rescue/base/units.h"

#include <fmt/format.h>

#include <array>
#include <string_view>

namespace rescue {

std::string FormatSize(std::uint64_t bytes) {
  if (bytes < kKiB) return fmt::format("{} B", bytes);
  static constexpr std::array<std::string_view, 5> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  // 1023.95 would be shown as 1024 of the smaller unit.
  while (value >= 1023.95 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  std::string number = fmt::format("{:.1f}", value);
  if (number.ends_with(".0")) number.resize(number.size() - 2);
  return fmt::format("{} {}", number, kUnits[unit]);
}

std::string FormatSeconds(std::chrono::milliseconds duration) {
  const double seconds = std::chrono::duration<double>(duration).count();
  return seconds < 100 ? fmt::format("{:.2f} s", seconds) : fmt::format("{:.0f} s", seconds);
}

std::string Hex16(std::uint64_t id) { return fmt::format("{:016x}", id); }

}  // namespace rescue
