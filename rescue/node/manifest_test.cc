#include "rescue/node/manifest.h"

#include <catch2/catch_test_macros.hpp>
#include <string>

#include "rescue/node/manifest_fixture.h"
#include "tests/support/fixtures.h"

namespace rescue::node {
namespace {

using testing::kConstellationManifest;
using Pairs = std::vector<std::pair<std::string, std::string>>;
using Texts = std::vector<std::string>;

// A pod with this container part ("    command: ..." lines).
std::string Pod(const std::string& container) {
  return "apiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - name: etcd\n" + container;
}

Manifest Parsed(const std::string& text) {
  const auto manifest = ParseManifest(text, "etcd.yaml");
  REQUIRE(manifest);
  return *manifest;
}

std::string Refusal(std::string_view text) {
  const auto manifest = ParseManifest(text, "etcd.yaml");
  REQUIRE_FALSE(manifest);
  CHECK(manifest.error().code == "manifest-damaged");
  CHECK(manifest.error().kind == ErrorKind::kDataDamaged);
  return manifest.error().message;
}

}  // namespace

TEST_CASE("Reads what kubeadm wrote on a Constellation node") {
  const Manifest manifest = Parsed(std::string(kConstellationManifest));
  CHECK(manifest.name == "constell-cp-0");
  CHECK(manifest.data_dir == "/var/lib/etcd");
  CHECK(manifest.wal_dir.empty());
  CHECK(manifest.version == "3.5.16");
  CHECK(manifest.initial_advertise_peer_urls == Texts{"https://10.9.0.4:2380"});
  CHECK(manifest.listen_peer_urls == Texts{"https://10.9.0.4:2380"});
  CHECK(manifest.advertise_client_urls == Texts{"https://10.9.0.4:2379"});
  CHECK(manifest.listen_client_urls == Texts{"https://127.0.0.1:2379", "https://10.9.0.4:2379"});
  CHECK(manifest.initial_cluster == Pairs{{"constell-cp-1", "https://10.9.0.5:2380"},
                                          {"constell-cp-0", "https://10.9.0.4:2380"},
                                          {"constell-cp-2", "https://10.9.0.6:2380"}});
  CHECK(manifest.initial_cluster_state == "existing");
  CHECK_FALSE(manifest.force_new_cluster);
  CHECK_FALSE(manifest.shell_command);
  CHECK(manifest.flags.size() == 20);
  CHECK(HostPath(manifest, "/var/lib/etcd") == "/var/lib/etcd");
  CHECK(HostPath(manifest, "/etc/kubernetes/pki/etcd/server.key") ==
        "/etc/kubernetes/pki/etcd/server.key");
}

TEST_CASE("Takes a flag's value from the same word or the next one") {
  const Manifest manifest =
      Parsed(Pod("    command: [etcd, --name, cp-0, -data-dir=/d]\n"
                 "    args: [--force-new-cluster, --wal-dir, /w, --initial-cluster-token=t=1]\n"));
  CHECK(manifest.name == "cp-0");
  CHECK(manifest.data_dir == "/d");
  CHECK(manifest.wal_dir == "/w");
  CHECK(manifest.initial_cluster_token == "t=1");
  CHECK(manifest.force_new_cluster);
}

TEST_CASE("Knows that --force-new-cluster=false is off and that later flags win") {
  CHECK_FALSE(Parsed(Pod("    command: [etcd, --force-new-cluster=false]\n")).force_new_cluster);
  CHECK_FALSE(Parsed(Pod("    command: [etcd, --force-new-cluster, --force-new-cluster=false]\n"))
                  .force_new_cluster);
  // "true" here is no value but the first word that is no flag: it ends the flags, as in etcd.
  const Manifest stopped =
      Parsed(Pod("    command: [etcd, --force-new-cluster, 'true', --name=x]\n"));
  CHECK(stopped.force_new_cluster);
  CHECK(stopped.name.empty());
  CHECK(Parsed(Pod("    command: [etcd, --name=a, --name=b]\n")).name == "b");
}

TEST_CASE("Takes ETCD_ variables, but flags win over them") {
  const Manifest manifest = Parsed(
      Pod("    command: [/usr/local/bin/etcd, --name=from-flag]\n"
          "    env:\n"
          "    - {name: ETCD_NAME, value: from-env}\n"
          "    - {name: ETCD_DATA_DIR, value: /from/env}\n"
          "    - {name: ETCD_FORCE_NEW_CLUSTER, value: 'true'}\n"
          "    - {name: ETCD_INITIAL_CLUSTER_TOKEN, valueFrom: {fieldRef: {fieldPath: x}}}\n"));
  CHECK(manifest.name == "from-flag");
  CHECK(manifest.data_dir == "/from/env");
  CHECK(manifest.force_new_cluster);
  CHECK(manifest.initial_cluster_token.empty());
}

TEST_CASE("Expands the variables that the manifest itself defines") {
  const Manifest manifest =
      Parsed(Pod("    command: [etcd, --name=$(HOST), --data-dir=/$$(HOST)/$(UNKNOWN)]\n"
                 "    env: [{name: HOST, value: cp-7}]\n"));
  CHECK(manifest.name == "cp-7");
  CHECK(manifest.data_dir == "/$(HOST)/$(UNKNOWN)");
}

TEST_CASE("Says when the flags cannot be known") {
  const Manifest shell = Parsed(Pod("    command: [/bin/sh, -c, 'exec etcd --name=x']\n"));
  CHECK(shell.shell_command);
  CHECK(shell.name.empty());
  CHECK(Parsed(Pod("    command: [etcd, --config-file=/etc/etcd.conf]\n")).config_file ==
        "/etc/etcd.conf");
}

TEST_CASE("Takes a version from an image only when it is one") {
  const auto version = [](const std::string& image) {
    return Parsed(Pod("    image: '" + image + "'\n    command: [etcd]\n")).version;
  };
  CHECK(version("registry.k8s.io/etcd:3.5.16-0@sha256:c6a9d11c") == "3.5.16");
  CHECK(version("localhost:5000/etcd:v3.4.23") == "3.4.23");
  CHECK(version("localhost:5000/etcd").empty());
  CHECK(version("etcd:latest").empty());
  CHECK(version("etcd:3.5").empty());
  CHECK(version("etcd:3..5.1").empty());
  CHECK(version("").empty());
}

TEST_CASE("Follows the longest mount from the container to the node") {
  Manifest manifest;
  manifest.mounts = {{"/data", "/mnt/a"}, {"/data/deep/", "/mnt/b/"}, {"/d", "/mnt/c"}};
  CHECK(HostPath(manifest, "/data/etcd") == "/mnt/a/etcd");
  CHECK(HostPath(manifest, "/data/deep/etcd/") == "/mnt/b/etcd");
  CHECK(HostPath(manifest, "/data/deep") == "/mnt/b");
  CHECK(HostPath(manifest, "/database") == std::nullopt);
  manifest.mounts = {{"/", "/"}};
  CHECK(HostPath(manifest, "/var/lib/etcd") == "/var/lib/etcd");
}

TEST_CASE("Refuses what is not etcd's pod") {
  CHECK(Refusal("").find("empty") != std::string::npos);
  Refusal("42");
  Refusal("[]");
  Refusal("kind: Deployment");
  Refusal("kind: Pod");
  Refusal("kind: Pod\nspec: {containers: [1, 2]}");
  Refusal("kind: Pod\nspec: {containers: [{name: a}, {name: b}]}");
  Refusal("kind: Pod\n---\nkind: Pod\n");
  Refusal("kind: Pod\nspec: [unclosed");
}

TEST_CASE("Refuses aliases, deep nesting and size before it builds anything from them") {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 20; ++i) {
    const std::string before = std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 9; ++j) bomb += (j > 0 ? ",*a" : "*a") + before;
    bomb += "]\n";
  }
  CHECK(Refusal(bomb).find("anchor") != std::string::npos);
  CHECK(Refusal(std::string(100'000, '[')).find("deep") != std::string::npos);
  CHECK_FALSE(Refusal(std::string(100'000, '{')).empty());
  std::string many = "[";
  for (int i = 0; i < 50'000; ++i) many += "1,";
  CHECK(Refusal(many + "1]").find("too many") != std::string::npos);
  CHECK(Refusal(std::string(kMaxManifestBytes + 1, ' ')).find("1 MiB") != std::string::npos);
}

TEST_CASE("A manifest cut at any length is read or refused, never worse") {
  int read = 0;
  testing::ForEveryTruncation(AsBytes(kConstellationManifest), [&](ByteView text) {
    if (ParseManifest(AsText(text), "etcd.yaml")) ++read;
  });
  CHECK(read > 0);
}

TEST_CASE("A damaged manifest is read or refused, never worse") {
  int read = 0;
  int refused = 0;
  testing::ForRandomMutations(AsBytes(kConstellationManifest), 7, 10'000, [&](ByteView text) {
    const auto manifest = ParseManifest(AsText(text), "etcd.yaml");
    ++(manifest ? read : refused);
  });
  CHECK(read > 0);
  CHECK(refused > 0);
}

}  // namespace rescue::node
