// Constellation's node_state.json: without it a perfect etcd does not help, because the node's
// disk mapper stops the boot before Kubernetes starts.
//
// Source: edgelesssys/constellation internal/nodestate/nodestate.go (NodeState) and
// disk-mapper/internal/setup/setup.go (readMeasurementSalt refuses any salt that is not
// crypto.RNGLengthDefault bytes long).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/node/layout.h"

namespace rescue::node {

// crypto.RNGLengthDefault.
inline constexpr std::size_t kMeasurementSaltBytes = 32;

struct NodeState {
  bool present = false;
  std::string role;  // "ControlPlane", "Worker"; empty when the file does not say
  // One line each for the operator; empty means that the node can rejoin as far as this file goes.
  std::vector<std::string> problems;
  // One of them makes the node stop while it boots; the others are only worth a question.
  bool stops_boot = false;

  bool operator==(const NodeState&) const = default;
};

// Never fails because of the file's content, only when the volume cannot be read. For layouts other
// than Constellation's there is nothing to find and nothing to complain about.
Result<NodeState> ReadNodeState(const FileView& volume, const Layout& layout);

}  // namespace rescue::node
