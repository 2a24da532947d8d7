#include "rescue/node/node_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

namespace rescue::node {
namespace {

using nlohmann::json;

constexpr std::uint64_t kMaxStateBytes = std::uint64_t{64} * 1024;  // a real one has about 100
constexpr int kMaxDepth = 16;
constexpr std::string_view kDefaultPath = "constellation/node_state.json";
constexpr std::string_view kConsequence =
    "the node stops while it boots and will not rejoin; put the file back from a backup";

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// Go's encoding/json finds fields without regard to case.
const json* FindField(const json& object, std::string_view lower_name) {
  for (const auto& [name, value] : object.items()) {
    if (Lower(name) == lower_name) return &value;
  }
  return nullptr;
}

std::string SaltProblem(const json& state) {
  const json* salt = FindField(state, "measurementsalt");
  if (salt == nullptr || salt->is_null()) return "has no measurement salt";
  const auto bytes =
      salt->is_string() ? ParseBase64(salt->get_ref<const std::string&>()) : std::nullopt;
  if (!bytes) return "has a measurement salt that is not base64";
  if (bytes->size() == kMeasurementSaltBytes) return {};
  return fmt::format("has a measurement salt of {} bytes, {} are needed", bytes->size(),
                     kMeasurementSaltBytes);
}

std::string RoleOf(const json& state) {
  const json* role = FindField(state, "role");
  return role != nullptr && role->is_string() ? Printable(role->get_ref<const std::string&>(), 40)
                                              : std::string();
}

bool IsControlPlane(const std::string& role) {
  const std::string lower = Lower(role);
  return lower == "controlplane" || lower == "control-plane";
}

json ParseBounded(std::string_view text) {
  bool too_deep = false;
  json value = json::parse(
      text.begin(), text.end(),
      [&too_deep](int depth, json::parse_event_t, json&) {
        too_deep = too_deep || depth > kMaxDepth;
        return !too_deep;
      },
      /*allow_exceptions=*/false);
  return too_deep ? json(json::value_t::discarded) : value;
}

}  // namespace

Result<NodeState> ReadNodeState(const FileView& volume, const Layout& layout) {
  NodeState state;
  if (layout.kind != LayoutKind::kConstellation) return state;
  const std::string path(layout.node_state.empty() ? kDefaultPath : layout.node_state);
  const auto complain = [&](std::string_view problem) {
    state.problems.push_back(fmt::format("{} {}: {}", Printable(path), problem, kConsequence));
    state.stops_boot = true;
    return state;
  };

  const auto bytes = ReadWhole(volume, path, kMaxStateBytes);
  if (!bytes && IsNotFound(bytes.error())) return complain("is missing");
  state.present = true;
  if (!bytes && bytes.error().kind == ErrorKind::kDataDamaged) {
    return complain("is not a small regular file");
  }
  if (!bytes) return Fail(bytes.error());
  const json value = ParseBounded(AsText(*bytes));
  if (value.is_discarded() || !value.is_object()) return complain("is not a JSON object");
  if (const std::string problem = SaltProblem(value); !problem.empty()) return complain(problem);

  state.role = RoleOf(value);
  if (!IsControlPlane(state.role)) {
    state.problems.push_back(fmt::format(
        "{} says that this node is \"{}\", not a control plane node: is this the right disk?",
        Printable(path), state.role));
  }
  return state;
}

}  // namespace rescue::node
