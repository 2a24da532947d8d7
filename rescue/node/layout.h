// Where things lie inside an open volume.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/node/manifest.h"

namespace rescue::node {

enum class LayoutKind {
  // The state disk's root is /run/state on the node; var/ is mounted on /var, kubernetes/ on
  // /etc/kubernetes (Constellation, image/base/mkosi.skeleton/etc/fstab).
  kConstellation,
  // A root file system, or a partition for /var, of a node made with kubeadm.
  kKubeadm,
  // The root is the data directory.
  kBare,
};

// "constellation", "kubeadm", "bare": for reports and JSON.
std::string_view Name(LayoutKind kind);

// Paths below the volume's root; "" stands for the root itself in data_directory, and for "is not
// there" in the others.
struct Layout {
  LayoutKind kind = LayoutKind::kBare;
  std::string data_directory;  // holds member/
  std::string manifest;        // etcd's static pod
  std::string pki_directory;   // etcd's certificates
  std::string node_state;      // Constellation's node_state.json
  // One line each for the operator, about the places only; see ManifestWarnings for the rest.
  std::vector<std::string> warnings;

  bool operator==(const Layout&) const = default;
};

// Finds the one data directory of a volume. Where etcd's manifest names another place than the
// layout's default, the manifest wins (its --data-dir followed through its hostPath volumes).
// Errors: "no-data-directory" (kDataDamaged) lists where it looked; "ambiguous-data-directory"
// (kRefused) lists the candidates when there is more than one and no manifest to tell which.
Result<Layout> FindLayout(const FileView& volume);

// The path below the volume's root of a path on the running node ("/var/lib/etcd"); nothing when it
// is not on this volume.
std::optional<std::string> PathOnVolume(const FileView& volume, LayoutKind kind,
                                        std::string_view node_path);

// What the operator should know before the node starts with this manifest again: a
// --force-new-cluster that was left in it, a data directory or log outside the usual place, a
// command that could not be read.
std::vector<std::string> ManifestWarnings(const Manifest& manifest, const Layout& layout);

}  // namespace rescue::node
