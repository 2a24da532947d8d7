#include "rescue/node/flags.h"

#include <algorithm>
#include <array>
#include <optional>

namespace rescue::node {
namespace {

// etcd's boolean flags, 3.4 to 3.7 (server/etcdmain/config.go, embed/config.go AddFlags).
constexpr std::array<std::string_view, 36> kBooleanFlags = {
    "auto-tls",
    "client-cert-auth",
    "debug",
    "enable-grpc-gateway",
    "enable-log-rotation",
    "enable-pprof",
    "enable-v2",
    "experimental-compact-hash-check-enabled",
    "experimental-distributed-tracing",
    "experimental-enable-distributed-tracing",
    "experimental-enable-lease-checkpoint",
    "experimental-enable-lease-checkpoint-persist",
    "experimental-initial-corrupt-check",
    "experimental-memory-mlock",
    "experimental-stop-grpc-service-on-defrag",
    "experimental-txn-mode-write-with-shared-buffer",
    "compact-hash-check-enabled",
    "enable-distributed-tracing",
    "force-new-cluster",
    "h",
    "help",
    "initial-corrupt-check",
    "initial-election-tick-advance",
    "memory-mlock",
    "peer-auto-tls",
    "peer-client-cert-auth",
    "peer-skip-client-san-verification",
    "pre-vote",
    "proxy-enabled",
    "socket-reuse-address",
    "socket-reuse-port",
    "strict-reconfig-check",
    "txn-mode-write-with-shared-buffer",
    "unsafe-no-fsync",
    "v",
    "version",
};

bool IsBoolean(std::string_view flag) {
  return std::find(kBooleanFlags.begin(), kBooleanFlags.end(), flag) != kBooleanFlags.end();
}

// The flag without its dashes; nothing for a word that is none.
std::optional<std::string_view> FlagIn(std::string_view word) {
  if (word.size() < 2 || word[0] != '-') return std::nullopt;
  word.remove_prefix(word[1] == '-' ? 2 : 1);
  if (word.empty() || word[0] == '-' || word[0] == '=') return std::nullopt;
  return word;
}

}  // namespace

std::map<std::string, std::string> ParseFlags(const std::vector<std::string>& arguments) {
  std::map<std::string, std::string> values;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto flag = FlagIn(arguments[i]);
    if (!flag) break;
    const std::size_t equals = flag->find('=');
    if (equals != std::string_view::npos) {
      values[std::string(flag->substr(0, equals))] = std::string(flag->substr(equals + 1));
    } else if (IsBoolean(*flag)) {
      values[std::string(*flag)] = "true";
    } else if (i + 1 < arguments.size()) {
      values[std::string(*flag)] = arguments[++i];
    }
  }
  return values;
}

bool IsTrue(std::string_view value) {
  return value == "true" || value == "1" || value == "t" || value == "T" || value == "TRUE" ||
         value == "True";
}

std::string ExpandVariables(std::string_view text,
                            const std::map<std::string, std::string>& variables) {
  std::string expanded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      expanded.push_back(text[i]);
      continue;
    }
    if (text[i + 1] == '$') {
      expanded.push_back('$');
      ++i;
      continue;
    }
    const std::size_t close = text[i + 1] == '(' ? text.find(')', i) : std::string_view::npos;
    const auto known = close == std::string_view::npos
                           ? variables.end()
                           : variables.find(std::string(text.substr(i + 2, close - i - 2)));
    if (known == variables.end()) {
      expanded.push_back('$');
      continue;
    }
    expanded += known->second;
    i = close;
  }
  return expanded;
}

std::vector<std::string> SplitList(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    const std::string_view part = text.substr(0, comma);
    if (!part.empty()) parts.emplace_back(part);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  return parts;
}

}  // namespace rescue::node
