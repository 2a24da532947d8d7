#include "rescue/cli/guard.h"

#include <sys/prctl.h>
#include <sys/resource.h>

namespace rescue::cli {

void GuardSecrets() {
  const rlimit none{0, 0};
  (void)::setrlimit(RLIMIT_CORE, &none);
  (void)::prctl(PR_SET_DUMPABLE, 0);
}

}  // namespace rescue::cli
