// What the command line says about opening a disk: its secret, and what may be in its header.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "rescue/session/pipeline.h"

namespace rescue::cli {

struct UnlockOptions {
  std::string key_file;
  std::string passphrase_file;
  bool token = false;
  std::string profile = "constellation";
  std::vector<std::string> accept;  // "header:CODE"
};

void AddUnlock(CLI::App& command, UnlockOptions& options);

// Puts them into a request; its `secret` is replaced when one of these options names another one.
// Errors: kUsage.
Status TakeUnlock(const UnlockOptions& options, session::Request& request);

// The whole content of a file ("-": standard input), unchanged, as cryptsetup's --key-file.
Result<secret::Secret> ReadKeyFile(const std::string& path);
// The first line of a file ("-": standard input; a terminal is asked without echo).
Result<secret::Secret> ReadPassphrase(const std::string& path);

}  // namespace rescue::cli
