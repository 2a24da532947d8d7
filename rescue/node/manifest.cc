#include "rescue/node/manifest.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <exception>
#include <map>

#include "rescue/node/flags.h"
#include "rescue/node/yaml_guard.h"

namespace rescue::node {
namespace {

using Variables = std::map<std::string, std::string>;

tl::unexpected<Error> Damaged(std::string_view path, std::string_view reason) {
  return Fail(ErrorKind::kDataDamaged, "manifest-damaged",
              fmt::format("read manifest {}: {}", Printable(path), reason),
              "the data can be repaired without it; put a sound manifest back before the node "
              "starts");
}

// Text of a scalar; empty for anything else.
std::string Text(const YAML::Node& node) {
  return node.IsDefined() && node.IsScalar() ? node.Scalar() : std::string();
}

YAML::Node Field(const YAML::Node& node, const char* key) {
  if (!node.IsDefined() || !node.IsMap()) return YAML::Node(YAML::NodeType::Undefined);
  return node[key];
}

std::vector<YAML::Node> Items(const YAML::Node& node) {
  if (!node.IsDefined() || !node.IsSequence()) return {};
  return {node.begin(), node.end()};
}

std::vector<std::string> Texts(const YAML::Node& node) {
  std::vector<std::string> texts;
  for (const YAML::Node& item : Items(node)) texts.push_back(Text(item));
  return texts;
}

std::string_view BaseName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool IsShell(std::string_view program) {
  const std::string_view name = BaseName(program);
  return name == "sh" || name == "bash" || name == "ash" || name == "dash";
}

// The container that runs etcd: by name, by program, or because it is alone.
YAML::Node EtcdContainer(const YAML::Node& pod) {
  const auto containers = Items(Field(Field(pod, "spec"), "containers"));
  for (const YAML::Node& container : containers) {
    if (Text(Field(container, "name")) == "etcd") return container;
  }
  for (const YAML::Node& container : containers) {
    const auto command = Texts(Field(container, "command"));
    if (!command.empty() && BaseName(command.front()) == "etcd") return container;
  }
  return containers.size() == 1 && containers.front().IsMap()
             ? containers.front()
             : YAML::Node(YAML::NodeType::Undefined);
}

Variables ReadVariables(const YAML::Node& container) {
  Variables variables;
  for (const YAML::Node& entry : Items(Field(container, "env"))) {
    const std::string name = Text(Field(entry, "name"));
    // A value from elsewhere (valueFrom) is not known here.
    if (name.empty() || Field(entry, "valueFrom").IsDefined()) continue;
    variables[name] = ExpandVariables(Text(Field(entry, "value")), variables);
  }
  return variables;
}

std::vector<Mount> ReadMounts(const YAML::Node& pod, const YAML::Node& container) {
  std::map<std::string, std::string> host_paths;
  for (const YAML::Node& volume : Items(Field(Field(pod, "spec"), "volumes"))) {
    const std::string path = Text(Field(Field(volume, "hostPath"), "path"));
    if (!path.empty()) host_paths[Text(Field(volume, "name"))] = path;
  }
  std::vector<Mount> mounts;
  for (const YAML::Node& mount : Items(Field(container, "volumeMounts"))) {
    const auto host = host_paths.find(Text(Field(mount, "name")));
    const std::string at = Text(Field(mount, "mountPath"));
    if (host == host_paths.end() || at.empty()) continue;
    std::string below = Text(Field(mount, "subPath"));
    mounts.push_back({at, below.empty() ? host->second : host->second + "/" + below});
  }
  return mounts;
}

// "registry.k8s.io/etcd:3.5.16-0@sha256:..." -> "3.5.16"
std::string VersionOf(std::string_view image) {
  image = image.substr(0, image.find('@'));
  const std::size_t colon = image.rfind(':');
  if (colon == std::string_view::npos || image.find('/', colon) != std::string_view::npos)
    return {};
  std::string_view tag = image.substr(colon + 1);
  if (tag.starts_with('v')) tag.remove_prefix(1);
  std::size_t end = 0;
  std::size_t dots = 0;
  while (end < tag.size() &&
         (std::isdigit(static_cast<unsigned char>(tag[end])) || tag[end] == '.')) {
    dots += tag[end] == '.' ? 1 : 0;
    ++end;
  }
  tag = tag.substr(0, end);
  const bool usable = dots == 2 && tag.find("..") == std::string_view::npos &&
                      !tag.starts_with('.') && !tag.ends_with('.');
  return usable ? std::string(tag) : std::string();
}

// ETCD_INITIAL_CLUSTER_STATE -> initial-cluster-state
Variables EtcdVariables(const Variables& variables) {
  constexpr std::string_view kPrefix = "ETCD_";
  Variables values;
  for (const auto& [name, value] : variables) {
    if (!name.starts_with(kPrefix) || value.empty()) continue;
    std::string flag = name.substr(kPrefix.size());
    std::transform(flag.begin(), flag.end(), flag.begin(), [](unsigned char c) {
      return c == '_' ? '-' : static_cast<char>(std::tolower(c));
    });
    values[flag] = value;
  }
  return values;
}

std::vector<std::pair<std::string, std::string>> ParseInitialCluster(std::string_view text) {
  std::vector<std::pair<std::string, std::string>> members;
  for (const std::string& part : SplitList(text)) {
    const std::size_t equals = part.find('=');
    if (equals == std::string::npos) continue;
    members.emplace_back(part.substr(0, equals), part.substr(equals + 1));
  }
  return members;
}

void TakeValues(Manifest& manifest, const Variables& values) {
  const auto value = [&](const char* flag) {
    const auto it = values.find(flag);
    return it == values.end() ? std::string() : it->second;
  };
  manifest.name = value("name");
  manifest.data_dir = value("data-dir");
  manifest.wal_dir = value("wal-dir");
  manifest.initial_advertise_peer_urls = SplitList(value("initial-advertise-peer-urls"));
  manifest.listen_peer_urls = SplitList(value("listen-peer-urls"));
  manifest.advertise_client_urls = SplitList(value("advertise-client-urls"));
  manifest.listen_client_urls = SplitList(value("listen-client-urls"));
  manifest.initial_cluster = ParseInitialCluster(value("initial-cluster"));
  manifest.initial_cluster_state = value("initial-cluster-state");
  manifest.initial_cluster_token = value("initial-cluster-token");
  manifest.force_new_cluster = IsTrue(value("force-new-cluster"));
  manifest.config_file = value("config-file");
}

Result<Manifest> FromPod(const YAML::Node& pod, std::string_view path) {
  if (Text(Field(pod, "kind")) != "Pod") return Damaged(path, "it is not a pod");
  const YAML::Node container = EtcdContainer(pod);
  if (!container.IsDefined()) return Damaged(path, "it has no container that runs etcd");

  Manifest manifest;
  manifest.image = Text(Field(container, "image"));
  manifest.version = VersionOf(manifest.image);
  manifest.mounts = ReadMounts(pod, container);
  const Variables variables = ReadVariables(container);
  std::vector<std::string> words = Texts(Field(container, "command"));
  // Without a command, the image's own entry point is etcd and args are its arguments.
  if (words.empty()) words.emplace_back("etcd");
  manifest.shell_command = IsShell(words.front());
  const auto arguments = Texts(Field(container, "args"));
  words.insert(words.end(), arguments.begin(), arguments.end());
  for (std::size_t i = 1; i < words.size(); ++i) {
    manifest.flags.push_back(ExpandVariables(words[i], variables));
  }

  Variables values = EtcdVariables(variables);
  if (!manifest.shell_command) {
    for (auto& [flag, value] : ParseFlags(manifest.flags)) values[flag] = value;
  }
  TakeValues(manifest, values);
  return manifest;
}

std::string WithoutTrailingSlashes(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

}  // namespace

Result<Manifest> ParseManifest(std::string_view text, std::string_view path) {
  if (text.size() > kMaxManifestBytes) return Damaged(path, "it is larger than 1 MiB");
  if (const std::string problem = YamlProblem(text); !problem.empty()) {
    return Damaged(path, problem);
  }
  try {
    return FromPod(YAML::Load(std::string(text)), path);
  } catch (const std::exception& exception) {
    return Damaged(path, Printable(std::string_view(exception.what())));
  }
}

Result<Manifest> ReadManifest(const FileView& volume, std::string_view path) {
  const auto bytes = ReadWhole(volume, path, kMaxManifestBytes);
  if (!bytes && bytes.error().code == "too-large") return Damaged(path, "it is larger than 1 MiB");
  if (!bytes) return Fail(bytes.error());
  return ParseManifest(AsText(*bytes), path);
}

std::optional<std::string> HostPath(const Manifest& manifest, std::string_view container_path) {
  const std::string path = WithoutTrailingSlashes(container_path);
  const Mount* best = nullptr;
  std::string best_at;
  for (const Mount& mount : manifest.mounts) {
    const std::string at = WithoutTrailingSlashes(mount.container_path);
    const bool covers = at == "/" || path == at || path.starts_with(at + "/");
    if (covers && (best == nullptr || at.size() > best_at.size())) {
      best = &mount;
      best_at = at;
    }
  }
  if (best == nullptr) return std::nullopt;
  const std::string rest = best_at == "/" ? path : path.substr(best_at.size());
  const std::string host = WithoutTrailingSlashes(best->host_path);
  if (rest.empty() || rest == "/") return host;
  return (host == "/" ? std::string() : host) + rest;
}

}  // namespace rescue::node
