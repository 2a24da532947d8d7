#include "rescue/node/layout.h"

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <string>

#include "rescue/base/real_file_system.h"
#include "rescue/node/manifest_fixture.h"
#include "tests/support/fixtures.h"

namespace rescue::node {
namespace {

namespace fs = std::filesystem;

struct Volume {
  rescue::testing::TemporaryDirectory directory;

  void Add(const std::string& path, std::string_view content = {}) const {
    fs::create_directories((directory.path() / path).parent_path());
    rescue::testing::WriteFileBytes(directory.path() / path, AsBytes(content));
  }
  void AddMember(const std::string& data_directory) const {
    Add((fs::path(data_directory) / "member/snap/db").string(), "db");
  }
  std::unique_ptr<RealFileSystem> View() const {
    auto view = RealFileSystem::OpenRoot(directory.path().string());
    REQUIRE(view);
    return *std::move(view);
  }
  Layout Find() const {
    const auto layout = FindLayout(*View());
    INFO((layout ? std::string() : layout.error().message));
    REQUIRE(layout);
    return *layout;
  }
  Error FindError() const {
    const auto layout = FindLayout(*View());
    REQUIRE_FALSE(layout);
    return layout.error();
  }
};

std::string WithDataDir(const std::string& data_dir, const std::string& host_path) {
  std::string text(rescue::testing::kConstellationManifest);
  const auto replace = [&](const std::string& what, const std::string& with) {
    const std::size_t at = text.find(what);
    REQUIRE(at != std::string::npos);
    text.replace(at, what.size(), with);
  };
  replace("--data-dir=/var/lib/etcd", "--data-dir=" + data_dir);
  replace("mountPath: /var/lib/etcd", "mountPath: " + data_dir);
  replace("path: /var/lib/etcd\n      type", "path: " + host_path + "\n      type");
  return text;
}

bool Contains(const Error& error, std::string_view text) {
  return error.message.find(text) != std::string::npos;
}

}  // namespace

TEST_CASE("Finds everything on a Constellation state disk") {
  Volume volume;
  volume.AddMember("var/lib/etcd");
  volume.Add("kubernetes/manifests/etcd.yaml", rescue::testing::kConstellationManifest);
  volume.Add("kubernetes/pki/etcd/ca.crt", "x");
  volume.Add("constellation/node_state.json", "{}");
  const Layout layout = volume.Find();
  CHECK(layout.kind == LayoutKind::kConstellation);
  CHECK(Name(layout.kind) == "constellation");
  CHECK(layout.data_directory == "var/lib/etcd");
  CHECK(layout.manifest == "kubernetes/manifests/etcd.yaml");
  CHECK(layout.pki_directory == "kubernetes/pki/etcd");
  CHECK(layout.node_state == "constellation/node_state.json");
  CHECK(layout.warnings.empty());
}

TEST_CASE("Finds a Constellation disk whose manifest is gone or broken") {
  Volume volume;
  volume.AddMember("var/lib/etcd");
  volume.Add("constellation/node_state.json", "{}");
  CHECK(volume.Find().manifest.empty());
  volume.Add("kubernetes/manifests/etcd.yaml", "[broken");
  const Layout layout = volume.Find();
  CHECK(layout.kind == LayoutKind::kConstellation);
  CHECK(layout.data_directory == "var/lib/etcd");
  CHECK(layout.manifest == "kubernetes/manifests/etcd.yaml");
}

TEST_CASE("Finds a kubeadm node by its root or its /var, and a bare data directory") {
  {
    Volume root;
    root.AddMember("var/lib/etcd");
    root.Add("etc/kubernetes/manifests/etcd.yaml", rescue::testing::kConstellationManifest);
    const Layout layout = root.Find();
    CHECK(layout.kind == LayoutKind::kKubeadm);
    CHECK(layout.data_directory == "var/lib/etcd");
    CHECK(layout.manifest == "etc/kubernetes/manifests/etcd.yaml");
  }
  {
    Volume var;
    var.AddMember("lib/etcd");
    CHECK(var.Find().kind == LayoutKind::kKubeadm);
    CHECK(var.Find().data_directory == "lib/etcd");
  }
  {
    Volume bare;
    bare.AddMember("");
    CHECK(bare.Find().kind == LayoutKind::kBare);
    CHECK(bare.Find().data_directory.empty());
  }
}

TEST_CASE("Works where the manifest says, not where data usually is") {
  Volume volume;
  volume.AddMember("var/lib/etcd");
  volume.AddMember("var/data/etcd-2");
  volume.Add("constellation/node_state.json", "{}");
  volume.Add("kubernetes/manifests/etcd.yaml", WithDataDir("/inside", "/var/data/etcd-2/"));
  const Layout layout = volume.Find();
  CHECK(layout.data_directory == "var/data/etcd-2");
  REQUIRE(layout.warnings.size() == 1);
  CHECK(layout.warnings.front().find("another data directory in var/lib/etcd") !=
        std::string::npos);
}

TEST_CASE("Does not fall back to the usual place when the manifest names another disk") {
  Volume volume;
  volume.AddMember("var/lib/etcd");
  volume.Add("constellation/node_state.json", "{}");
  volume.Add("kubernetes/manifests/etcd.yaml", WithDataDir("/inside", "/mnt/fast-disk"));
  const Error error = volume.FindError();
  CHECK(error.code == "no-data-directory");
  CHECK(Contains(error, "/mnt/fast-disk"));
  CHECK(Contains(error, "not on this volume"));
}

TEST_CASE("A manifest cannot lead out of the volume") {
  for (const char* path : {"/var/../../etc", "/var/lib/..", "relative", "/", ""}) {
    Volume volume;
    volume.AddMember("var/lib/etcd");
    volume.Add("constellation/node_state.json", "{}");
    volume.Add("kubernetes/manifests/etcd.yaml", WithDataDir("/inside", path));
    const auto layout = FindLayout(*volume.View());
    // An empty host path is no mount: then --data-dir is taken as it is, and is not here either.
    REQUIRE_FALSE(layout);
    CHECK(layout.error().code == "no-data-directory");
  }
}

TEST_CASE("Lists where it looked when there is no data directory") {
  Volume volume;
  volume.Add("var/lib/etcd/nothing", "x");
  const Error error = volume.FindError();
  CHECK(error.code == "no-data-directory");
  CHECK(error.kind == ErrorKind::kDataDamaged);
  CHECK(Contains(error, "var/lib/etcd, lib/etcd, the root"));
  CHECK_FALSE(error.hint.empty());
}

TEST_CASE("Refuses to choose between two data directories") {
  Volume volume;
  volume.AddMember("var/lib/etcd");
  volume.AddMember("");
  const Error error = volume.FindError();
  CHECK(error.code == "ambiguous-data-directory");
  CHECK(error.kind == ErrorKind::kRefused);
  CHECK(Contains(error, "var/lib/etcd, the root"));
}

TEST_CASE("A link out of the volume is no data directory, a link inside is followed") {
  Volume volume;
  rescue::testing::TemporaryDirectory outside;
  fs::create_directories(outside.path() / "member/snap");
  fs::create_directories(volume.directory.path() / "var/lib");
  fs::create_directory_symlink(outside.path(), volume.directory.path() / "var/lib/etcd");
  CHECK(volume.FindError().code == "no-data-directory");

  fs::remove(volume.directory.path() / "var/lib/etcd");
  volume.AddMember("var/elsewhere");
  fs::create_directory_symlink("../elsewhere", volume.directory.path() / "var/lib/etcd");
  CHECK(volume.Find().data_directory == "var/lib/etcd");
}

TEST_CASE("Maps the running node's paths to the volume") {
  Volume volume;
  const auto view = volume.View();
  const auto on_disk = [&](LayoutKind kind, std::string_view path) {
    return PathOnVolume(*view, kind, path);
  };
  CHECK(on_disk(LayoutKind::kConstellation, "/var/lib/etcd") == "var/lib/etcd");
  CHECK(on_disk(LayoutKind::kConstellation, "/var//lib/./etcd/") == "var/lib/etcd");
  CHECK(on_disk(LayoutKind::kConstellation, "/etc/kubernetes/pki") == "kubernetes/pki");
  CHECK(on_disk(LayoutKind::kConstellation, "/run/state/opt") == "opt");
  CHECK(on_disk(LayoutKind::kConstellation, "/variable") == std::nullopt);
  CHECK(on_disk(LayoutKind::kConstellation, "/etc/hosts") == std::nullopt);
  CHECK(on_disk(LayoutKind::kKubeadm, "/var/lib/etcd") == "lib/etcd");
  fs::create_directories(volume.directory.path() / "var/lib");
  CHECK(on_disk(LayoutKind::kKubeadm, "/var/lib/etcd") == "var/lib/etcd");
  CHECK(on_disk(LayoutKind::kBare, "/var/lib/etcd") == std::nullopt);
}

TEST_CASE("Warns of what a start with this manifest would do") {
  Layout layout;
  layout.kind = LayoutKind::kConstellation;
  layout.data_directory = "var/lib/etcd";
  layout.manifest = "kubernetes/manifests/etcd.yaml";
  const auto sound = ParseManifest(rescue::testing::kConstellationManifest, layout.manifest);
  REQUIRE(sound);
  CHECK(ManifestWarnings(*sound, layout).empty());

  const auto warning = [&](auto change) {
    Manifest manifest = *sound;
    change(manifest);
    const auto warnings = ManifestWarnings(manifest, layout);
    REQUIRE(warnings.size() == 1);
    CHECK(warnings.front().starts_with("kubernetes/manifests/etcd.yaml: "));
    return warnings.front();
  };
  CHECK(warning([](Manifest& m) { m.force_new_cluster = true; }).find("remove the flag") !=
        std::string::npos);
  CHECK(warning([](Manifest& m) { m.wal_dir = "/w\n"; }).find("/w\\x0a") != std::string::npos);
  CHECK(warning([](Manifest& m) { m.mounts.clear(); }).find("hostPath") != std::string::npos);
  CHECK(warning([](Manifest& m) { m.config_file = "/c"; }).find("/c") != std::string::npos);
  CHECK(warning([](Manifest& m) { m.shell_command = true; }).find("shell") != std::string::npos);
  layout.data_directory = "var/data";
  CHECK(warning([](Manifest&) {}).find("var/data") != std::string::npos);
}

}  // namespace rescue::node
