// etcd's static pod manifest: the flags that etcd was, and will be, started with on this node.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "rescue/base/file.h"

namespace rescue::node {

// A hostPath volume as the etcd container sees it.
struct Mount {
  std::string container_path;
  std::string host_path;
  bool operator==(const Mount&) const = default;
};

// Flags win over ETCD_* variables, the last occurrence of a flag over earlier ones, as in etcd
// (server/etcdmain/config.go parse, pkg/flags SetFlagsFromEnv). Empty means: not given.
struct Manifest {
  std::string name;      // --name
  std::string data_dir;  // --data-dir, a path inside the container
  std::string wal_dir;   // --wal-dir, a path inside the container
  std::string image;     // the container's image
  std::string version;   // "3.5.16" from a tag such as "3.5.16-0"; empty without a usable tag
  std::vector<std::string> initial_advertise_peer_urls;
  std::vector<std::string> listen_peer_urls;
  std::vector<std::string> advertise_client_urls;
  std::vector<std::string> listen_client_urls;
  // Member name and one peer URL; a name with several URLs comes several times.
  std::vector<std::pair<std::string, std::string>> initial_cluster;
  std::string initial_cluster_state;
  std::string initial_cluster_token;
  bool force_new_cluster = false;
  std::vector<std::string> flags;  // every argument after the program's name, as written

  std::string config_file;     // --config-file: etcd then ignores all other flags
  bool shell_command = false;  // started through a shell: the flags above may be incomplete
  std::vector<Mount> mounts;

  bool operator==(const Manifest&) const = default;
};

inline constexpr std::uint64_t kMaxManifestBytes = std::uint64_t{1} << 20;

// Errors: "not-found" when there is none; "manifest-damaged" (kDataDamaged) for anything that is
// not a pod with an etcd container, is larger than kMaxManifestBytes, nests deeper than a manifest
// can, or uses YAML aliases (which may expand without limit).
Result<Manifest> ReadManifest(const FileView& volume, std::string_view path);
// The same from text; `path` is used in messages only.
Result<Manifest> ParseManifest(std::string_view text, std::string_view path);

// A path inside the container as a path on the node, by the longest mount that covers it; nothing
// when no hostPath volume does (then it is lost with the container).
std::optional<std::string> HostPath(const Manifest& manifest, std::string_view container_path);

}  // namespace rescue::node
