// The command serve: JSON-RPC on a line of the machine.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <string>
#include <vector>

#include "rescue/cli/supply_options.h"

namespace rescue::cli {

struct ServeWords {
  std::string port;  // a device; "auto": what the machine has; empty: standard input and output
  std::vector<std::string> consoles;
  SupplyOptions supply;
  bool appliance = false;
};

void DeclareServe(CLI::App& app, ServeWords& words, const std::function<void()>& chosen);

// The whole command; the exit code.
int RunServe(const ServeWords& words);

}  // namespace rescue::cli
