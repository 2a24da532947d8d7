#include "rescue/etcd/ids.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "rescue/base/bytes.h"
#include "rescue/base/checksum.h"
#include "rescue/base/endian.h"

namespace rescue::etcd {
namespace {

std::uint64_t FirstEightBytes(ByteView bytes) {
  const Sha1Digest digest = Sha1(bytes);
  ByteReader reader{ByteView(digest)};
  return reader.Read<ub64>()->Get();
}

struct UrlParts {
  std::string_view scheme;
  std::string_view authority;  // host:port, or what stands for it
};

std::optional<UrlParts> Split(std::string_view url) {
  const auto colon = url.find("://");
  if (colon == std::string_view::npos) return std::nullopt;
  return UrlParts{url.substr(0, colon), url.substr(colon + 3)};
}

bool IsPort(std::string_view text) {
  unsigned port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  return error == std::errc() && end == text.data() + text.size() && port <= 65535;
}

// Host and port as Go's net.SplitHostPort divides them; empty when it would refuse.
std::string_view HostOf(std::string_view authority) {
  const auto colon = authority.rfind(':');
  if (colon == std::string_view::npos || !IsPort(authority.substr(colon + 1))) return {};
  std::string_view host = authority.substr(0, colon);
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  if (bracketed) return host.substr(1, host.size() - 2);
  return host.find_first_of(":[]") == std::string_view::npos ? host : std::string_view();
}

Status CheckPeerUrl(std::string_view url) {
  const auto refuse = [&](std::string_view reason) {
    return Fail(ErrorKind::kUsage, "bad-peer-url",
                fmt::format("take peer URL {}: {}", Printable(url, 200), reason),
                "write it as in --initial-advertise-peer-urls: https://10.0.0.5:2380");
  };
  const auto parts = Split(url);
  if (!parts) return refuse("it has no scheme");
  const bool is_unix = parts->scheme == "unix" || parts->scheme == "unixs";
  if (!is_unix && parts->scheme != "http" && parts->scheme != "https") {
    return refuse("its scheme is neither http nor https");
  }
  const auto plain = [](char c) { return c > ' ' && c < 127 && c != '"' && c != '\\' && c != ','; };
  if (!std::all_of(url.begin(), url.end(), plain)) return refuse("it holds odd characters");
  if (parts->authority.find_first_of("/?#@") != std::string_view::npos) {
    return refuse("it holds more than host and port");
  }
  if (HostOf(parts->authority).empty()) return refuse("it is not host:port");
  return {};
}

}  // namespace

std::uint64_t DeriveMemberId(std::vector<std::string> peer_urls, std::string_view token) {
  std::sort(peer_urls.begin(), peer_urls.end());
  std::string text;
  for (const auto& url : peer_urls) text += url;
  text += token;
  return FirstEightBytes(AsBytes(text));
}

std::uint64_t DeriveClusterId(std::vector<std::uint64_t> member_ids) {
  std::sort(member_ids.begin(), member_ids.end());
  std::vector<ub64> digested(member_ids.begin(), member_ids.end());
  return FirstEightBytes(std::as_bytes(std::span(digested)));
}

Result<std::vector<std::string>> CheckPeerUrls(std::vector<std::string> urls) {
  for (const auto& url : urls) RETURN_IF_ERROR(CheckPeerUrl(url));
  std::sort(urls.begin(), urls.end());
  urls.erase(std::unique(urls.begin(), urls.end()), urls.end());
  return urls;
}

bool IsLoopback(std::string_view url) {
  const auto parts = Split(url);
  if (!parts) return false;
  const std::string_view host = HostOf(parts->authority);
  return host == "localhost" || host == "::1" || host.starts_with("127.");
}

}  // namespace rescue::etcd
