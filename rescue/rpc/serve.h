// A service on a line, from its first byte to its last.
#pragma once

#include <string>

#include "rescue/rpc/service.h"

namespace rescue::rpc {

struct ServeOptions {
  std::string port;  // a device; empty: standard input and output
  Help help;
};

// Serves until standard input ends and nothing runs any more, until SIGTERM or SIGINT, or until the
// machine is to go off. The exit code of the last final record. A device that goes away is waited
// for; the first time it must be there. Errors: those of opening it.
Result<int> Serve(ServeOptions options);

}  // namespace rescue::rpc
