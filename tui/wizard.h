// The wizard as a program: consoles, engine and model in one loop that never waits for any of them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tui/engine.h"
#include "tui/model.h"

namespace rescue::tui {

struct WizardOptions {
  Setup setup;
  enum class Face { kAuto, kScreen, kLines };
  Face face = Face::kAuto;
  // Terminals to use ("/dev/ttyS0"); none: the one that the program was started on. With several,
  // the first key takes the wizard, and the others watch.
  std::vector<std::string> consoles;
  bool mono = false;
};

// What the machine says beside the command line: the credentials etcd-rescue.master-secret and
// etcd-rescue.ui, the kernel option etcd-rescue.ui=line, and where a report would be saved.
void CompleteFromSurroundings(WizardOptions& options);

// Until the operator leaves. The exit code (rescue/base/result.h).
int RunWizard(const WizardOptions& options, std::unique_ptr<Engine> engine);

}  // namespace rescue::tui
