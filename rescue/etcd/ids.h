// How etcd derives member and cluster IDs, and what it accepts as a peer URL.
//
// Sources: membership/member.go (computeMemberId), membership/cluster.go (genID), pkg/types/urls.go
// (NewURLs), the same in 3.4 to 3.7.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/result.h"

namespace rescue::etcd {

// The ID that a member with these peer URLs gets when a cluster with this token starts, or is
// restored: the first 8 bytes, big-endian, of SHA-1 over the URLs in byte order and the token. The
// name is no part of it.
std::uint64_t DeriveMemberId(std::vector<std::string> peer_urls, std::string_view token);

// The first 8 bytes, big-endian, of SHA-1 over all member IDs (8 bytes each, big-endian) in
// ascending order.
std::uint64_t DeriveClusterId(std::vector<std::uint64_t> member_ids);

// A list of peer URLs as etcd takes it: http or https (or unix, unixs), host and port, no path, no
// query; sorted. Error: kUsage "bad-peer-url".
Result<std::vector<std::string>> CheckPeerUrls(std::vector<std::string> urls);

// True for a URL that only reaches the machine itself (localhost, 127.0.0.0/8, ::1).
bool IsLoopback(std::string_view url);

}  // namespace rescue::etcd
