// Would the node, when it boots from this disk, accept it? Its own conditions, asked beforehand:
// what a node does not accept it formats, or it stops before etcd is even started.
//
// Source: Constellation v2.24.0: disk-mapper/cmd/main.go and internal/setup (token 0, header check,
// measurement salt), image/base/mkosi.skeleton/etc/fstab (x-systemd.makefs makes a new file system
// where none is recognised).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "rescue/disk/header.h"
#include "rescue/node/layout.h"
#include "rescue/node/node_state.h"

namespace rescue::session {

struct BootSafety {
  enum class Answer { kYes, kNo, kNotJudged };
  // How much was looked at: before the disk is unlocked only its header is known.
  enum class Basis { kNothing, kHeader, kVolume, kSealedDisk };

  Answer answer = Answer::kNotJudged;
  Basis basis = Basis::kNothing;
  std::vector<std::string> because;  // one line each; empty for "yes"

  bool operator==(const BootSafety&) const = default;
};

std::string_view Name(BootSafety::Answer answer);  // "yes", "no", "not-judged"
std::string_view Name(BootSafety::Basis basis);    // "nothing", "header", "volume", "sealed-disk"

struct BootQuestion {
  const disk::Header* header = nullptr;  // nullptr: the disk is not encrypted
  disk::Profile profile = disk::Profile::kConstellation;
  BootSafety::Basis basis = BootSafety::Basis::kHeader;
  // The rest only from BootSafety::Basis::kVolume on.
  std::string file_system;  // "" when none is recognised
  const node::Layout* layout = nullptr;
  const node::NodeState* node_state = nullptr;
  std::string unfinished_journal;  // of an apply that was interrupted
};

// "Not judged" for disks of other nodes: their rules are not known.
BootSafety JudgeBoot(const BootQuestion& question);

}  // namespace rescue::session
