#include "rescue/session/wishes.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>

#include "rescue/base/bytes.h"
#include "rescue/etcd/ids.h"

namespace rescue::session {
namespace {

constexpr std::string_view kSeparators = ", \t\r\n";
// What a plan takes at most (etcd/plan_parts.cc): revisions are signed 64-bit numbers.
constexpr std::uint64_t kLargestBump = (std::uint64_t{1} << 62) - 1;

}  // namespace

Result<std::vector<std::string>> ParsePeerUrls(std::string_view text) {
  std::vector<std::string> urls;
  while (true) {
    const auto begin = text.find_first_not_of(kSeparators);
    if (begin == std::string_view::npos) break;
    text.remove_prefix(begin);
    const auto end = std::min(text.find_first_of(kSeparators), text.size());
    urls.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  if (urls.empty()) return urls;
  for (const auto& url : urls) {
    if (!etcd::IsLoopback(url)) continue;
    return Fail(
        ErrorKind::kUsage, "bad-peer-url",
        fmt::format("take peer URL {}: it only reaches the machine itself", Printable(url, 200)),
        "name an address that other members can reach");
  }
  return etcd::CheckPeerUrls(std::move(urls));
}

std::string JoinPeerUrls(const std::vector<std::string>& urls) {
  return fmt::format("{}", fmt::join(urls, ", "));
}

Result<std::uint64_t> ParseBump(std::string_view text) {
  std::uint64_t bump = 0;
  if (text.empty()) return bump;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bump);
  if (error != std::errc() || end != text.data() + text.size() || bump > kLargestBump) {
    return Fail(ErrorKind::kUsage, "bad-bump",
                fmt::format("bump the revision by {}: not a number up to {}", Printable(text, 40),
                            kLargestBump),
                "1000000000 is plenty");
  }
  return bump;
}

}  // namespace rescue::session
