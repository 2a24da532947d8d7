#include "rescue/node/layout.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace rescue::node {
namespace {

// Where a directory of the running node lies below the volume's root.
struct Place {
  std::string_view node;
  std::string_view volume;
};

// A place where a data directory may be, with what belongs to it.
struct Candidate {
  LayoutKind kind;
  std::string_view data_directory;
  std::string_view manifest;  // "" where this layout cannot have one
};

constexpr std::string_view kConstellationManifest = "kubernetes/manifests/etcd.yaml";
constexpr std::string_view kKubeadmManifest = "etc/kubernetes/manifests/etcd.yaml";

constexpr std::array<Candidate, 4> kCandidates = {{
    {LayoutKind::kConstellation, "var/lib/etcd", kConstellationManifest},
    {LayoutKind::kKubeadm, "var/lib/etcd", kKubeadmManifest},
    {LayoutKind::kKubeadm, "lib/etcd", ""},  // a partition for /var
    {LayoutKind::kBare, "", ""},
}};

Result<bool> IsDirectory(const FileView& volume, std::string_view path) {
  const auto status = volume.Stat(path);
  if (status) return status->type == FileType::kDirectory;
  if (IsNotFound(status.error())) return false;
  return Fail(status.error());
}

// An existing path, or "".
Result<std::string> IfThere(const FileView& volume, std::string_view path) {
  ASSIGN_OR_RETURN(const bool exists, Exists(volume, path));
  return exists ? std::string(path) : std::string();
}

// A data directory holds member/ (etcd, server/storage/datadir). A link out of the volume cannot
// be followed and does not count.
bool HoldsMember(const FileView& volume, std::string_view path) {
  const auto member = IsDirectory(volume, JoinPath(path, "member"));
  if (member && *member) return true;
  const auto snap = IsDirectory(volume, JoinPath(path, "member/snap"));
  return snap && *snap;
}

// Both layouts put the data in var/lib/etcd; what stands beside var/ tells them apart.
Result<bool> LooksLike(const FileView& volume, const Candidate& candidate) {
  if (candidate.manifest.empty()) return true;
  ASSIGN_OR_RETURN(const bool state, IsDirectory(volume, "constellation"));
  ASSIGN_OR_RETURN(const bool kubernetes, IsDirectory(volume, "kubernetes"));
  ASSIGN_OR_RETURN(const bool etc, IsDirectory(volume, "etc/kubernetes"));
  const bool constellation = state || (kubernetes && !etc);
  return constellation == (candidate.kind == LayoutKind::kConstellation);
}

// Nothing for a path that a hostile manifest made up ("/var/../..").
std::optional<std::string> Below(std::string_view node_path, const Place& place) {
  if (!node_path.starts_with(place.node)) return std::nullopt;
  std::string_view rest = node_path.substr(place.node.size());
  if (!place.node.ends_with('/') && !rest.empty() && rest.front() != '/') return std::nullopt;
  while (rest.starts_with('/')) rest.remove_prefix(1);
  std::string path = JoinPath(place.volume, rest);
  if (!IsCleanPath(path)) return std::nullopt;
  return path;
}

// "/var//lib/./etcd/" -> "/var/lib/etcd"
std::string Normal(std::string_view path) {
  std::string normal;
  while (!path.empty()) {
    const std::size_t slash = path.find('/');
    const std::string_view part = path.substr(0, slash);
    if (!part.empty() && part != ".") normal += fmt::format("/{}", part);
    if (slash == std::string_view::npos) break;
    path.remove_prefix(slash + 1);
  }
  return normal.empty() ? "/" : normal;
}

std::string Shown(std::string_view path) { return path.empty() ? "the root" : Printable(path); }

std::string Joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

tl::unexpected<Error> NoDataDirectory(const std::vector<std::string>& looked,
                                      std::string_view why = {}) {
  return Fail(ErrorKind::kDataDamaged, "no-data-directory",
              fmt::format("find the data directory: no member/ in {}{}", Joined(looked), why),
              "if it is elsewhere, name it with --data-dir");
}

class Finder {
 public:
  explicit Finder(const FileView& volume) : volume_(volume) {}

  Result<Layout> Find() {
    std::vector<Layout> found;
    for (const Candidate& candidate : kCandidates) {
      ASSIGN_OR_RETURN(const bool fits, LooksLike(volume_, candidate));
      if (!fits) continue;
      ASSIGN_OR_RETURN(Layout layout, Complete(candidate));
      if (!layout.manifest.empty()) {
        ASSIGN_OR_RETURN(const bool decided, FollowManifest(layout));
        if (decided) return layout;
      }
      Look(layout, found);
    }
    if (found.empty()) return NoDataDirectory(looked_);
    if (found.size() == 1) return std::move(found.front());
    std::vector<std::string> list;
    list.reserve(found.size());
    for (const Layout& layout : found) list.push_back(Shown(layout.data_directory));
    return Fail(ErrorKind::kRefused, "ambiguous-data-directory",
                fmt::format("find the data directory: there is more than one: {}", Joined(list)),
                "name the right one with --data-dir");
  }

 private:
  Result<Layout> Complete(const Candidate& candidate) {
    Layout layout;
    layout.kind = candidate.kind;
    layout.data_directory = std::string(candidate.data_directory);
    if (candidate.manifest.empty()) return layout;
    ASSIGN_OR_RETURN(layout.manifest, IfThere(volume_, candidate.manifest));
    const bool constellation = candidate.kind == LayoutKind::kConstellation;
    ASSIGN_OR_RETURN(
        layout.pki_directory,
        IfThere(volume_, constellation ? "kubernetes/pki/etcd" : "etc/kubernetes/pki/etcd"));
    if (constellation) {
      ASSIGN_OR_RETURN(layout.node_state, IfThere(volume_, "constellation/node_state.json"));
    }
    return layout;
  }

  // True when the manifest names the data directory. One that cannot be read decides nothing; one
  // that names a place without data is an error: what lies in the usual place may be years old.
  Result<bool> FollowManifest(Layout& layout) {
    const auto manifest = ReadManifest(volume_, layout.manifest);
    if (!manifest && manifest.error().kind != ErrorKind::kDataDamaged) {
      return Fail(manifest.error());
    }
    if (!manifest || manifest->data_dir.empty()) return false;
    const std::string node_path =
        HostPath(*manifest, manifest->data_dir).value_or(manifest->data_dir);
    const auto path = PathOnVolume(volume_, layout.kind, node_path);
    if (path && HoldsMember(volume_, *path)) {
      if (*path != layout.data_directory && HoldsMember(volume_, layout.data_directory)) {
        layout.warnings.push_back(fmt::format(
            "there is another data directory in {}: the manifest names {}, that one is left alone",
            Shown(layout.data_directory), Shown(*path)));
      }
      layout.data_directory = *path;
      return true;
    }
    return NoDataDirectory(
        {Printable(node_path)},
        fmt::format(" (named by {}{})", layout.manifest, path ? "" : "; it is not on this volume"));
  }

  void Look(const Layout& layout, std::vector<Layout>& found) {
    looked_.push_back(Shown(layout.data_directory));
    if (HoldsMember(volume_, layout.data_directory)) found.push_back(layout);
  }

  const FileView& volume_;
  std::vector<std::string> looked_;
};

}  // namespace

std::string_view Name(LayoutKind kind) {
  switch (kind) {
    case LayoutKind::kConstellation:
      return "constellation";
    case LayoutKind::kKubeadm:
      return "kubeadm";
    case LayoutKind::kBare:
      return "bare";
  }
  return "bare";
}

std::optional<std::string> PathOnVolume(const FileView& volume, LayoutKind kind,
                                        std::string_view node_path) {
  if (!node_path.starts_with('/')) return std::nullopt;
  const std::string path = Normal(node_path);
  if (kind == LayoutKind::kConstellation) {
    for (const Place& place : {Place{"/run/state", ""}, Place{"/var/run/state", ""},
                               Place{"/var", "var"}, Place{"/etc/kubernetes", "kubernetes"}}) {
      if (auto below = Below(path, place)) return below;
    }
    return std::nullopt;
  }
  if (kind == LayoutKind::kBare) return std::nullopt;
  const auto root = IsDirectory(volume, "var/lib");
  if (root && *root) return Below(path, {"/", ""});
  return Below(path, {"/var", ""});
}

Result<Layout> FindLayout(const FileView& volume) { return Finder(volume).Find(); }

std::vector<std::string> ManifestWarnings(const Manifest& manifest, const Layout& layout) {
  std::vector<std::string> warnings;
  const std::string where = Printable(layout.manifest);
  const auto warn = [&](std::string text) { warnings.push_back(where + ": " + std::move(text)); };
  if (manifest.force_new_cluster) {
    warn(
        "--force-new-cluster is set: at every start etcd drops the end of its log, and with it "
        "acknowledged writes; remove the flag");
  }
  if (!manifest.config_file.empty()) {
    warn(
        fmt::format("etcd reads {} and ignores its other flags: what is shown from them may not "
                    "be in force",
                    Printable(manifest.config_file)));
  }
  if (manifest.shell_command) {
    warn("etcd is started through a shell: its flags could not be read");
  }
  if (!manifest.wal_dir.empty()) {
    warn(fmt::format("the log is not in the data directory but in {} (--wal-dir)",
                     Printable(manifest.wal_dir)));
  }
  if (!manifest.data_dir.empty() && !HostPath(manifest, manifest.data_dir)) {
    warn(
        fmt::format("--data-dir {} is in no hostPath volume: etcd's data would be lost with its "
                    "container",
                    Printable(manifest.data_dir)));
  }
  const std::string usual = layout.kind == LayoutKind::kBare ? "" : "var/lib/etcd";
  if (!manifest.data_dir.empty() && layout.kind != LayoutKind::kBare &&
      layout.data_directory != usual && layout.data_directory != "lib/etcd") {
    warn(fmt::format("--data-dir {} is not the usual place; working on {}",
                     Printable(manifest.data_dir), Shown(layout.data_directory)));
  }
  return warnings;
}

}  // namespace rescue::node
