// The command line: words in, lines and JSON out. It asks session/ to do the work.
#pragma once

namespace rescue::cli {

// Parses, runs, prints; returns the exit code (rescue/base/result.h).
int Main(int argc, const char* const* argv);

}  // namespace rescue::cli
