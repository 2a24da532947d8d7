// For the schema's test, which has thousands of jobs: reads jobs from standard input, one a line,
// and answers each with "good", or "bad" and the reason, as `run --check` would judge it.
#include <exception>
#include <iostream>
#include <string>

#include "rescue/session/job.h"

int main() {
  try {
    for (std::string line; std::getline(std::cin, line);) {
      const auto job = rescue::session::ParseJob(line);
      std::cout << (job ? "good" : "bad " + job.error().message) << "\n";
    }
    return std::cout.flush() ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
