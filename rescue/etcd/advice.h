// Which strategy to use: every one is planned, and what each would lose is laid side by side.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "rescue/etcd/plan.h"

namespace rescue::etcd {

struct Alternative {
  Wishes wishes;
  std::string flags;           // of the command line: "--strategy restore --keep-ids"
  std::optional<Error> error;  // why it cannot be done at all
  Loss loss;
  std::vector<std::string> lost;  // one line each
  bool needs_acceptance = false;  // the flags hold an --accept-... that the operator did not give

  bool possible() const { return !error; }
};

struct Advice {
  std::vector<Alternative> alternatives;   // force-new-cluster, restore --keep-ids, restore
  std::optional<std::size_t> recommended;  // nothing when none is possible
  std::vector<std::string> reasons;        // one line each
};

// `base` holds the wishes that hold for every strategy (and a token); its strategy and keep_ids do
// not matter. An error only when the data cannot be read.
Result<Advice> Advise(const FileView& data, const Findings& findings, const Wishes& base);

// "nothing that reached this disk", "12 log entries (up to 12 revisions)", "2 damaged pages".
std::string Describe(const Loss& loss);

}  // namespace rescue::etcd
