// A TPM 2.0 that runs as a process (Debian's swtpm) behind a Unix socket, for unit tests.
#pragma once

#include <string>

#include "tests/support/fixtures.h"

namespace rescue::testing {

// Its state, as that of a real one, outlives a power cycle; the process ends with the object, and
// also when the test dies. Throws when swtpm is missing or does not start: a test that needs a TPM
// must not pass without one.
class SoftwareTpm {
 public:
  SoftwareTpm() { PowerOn(); }
  ~SoftwareTpm() { PowerOff(); }
  SoftwareTpm(const SoftwareTpm&) = delete;
  SoftwareTpm& operator=(const SoftwareTpm&) = delete;

  std::string path() const { return (directory_.path() / "socket").string(); }
  void PowerOn();
  void PowerOff();
  // PCRs start over, and everything transient is gone.
  void Reboot() {
    PowerOff();
    PowerOn();
  }

 private:
  TemporaryDirectory directory_;
  int pid_ = -1;
};

}  // namespace rescue::testing
