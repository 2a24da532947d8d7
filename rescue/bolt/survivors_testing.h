// The backends in a folder of packed survivors, for tests.
#pragma once

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "rescue/base/real_file_system.h"
#include "tests/support/fixtures.h"

namespace rescue::bolt::testing {

inline std::vector<std::filesystem::path> Archives(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    const bool packed = name.ends_with(".tar.xz") || name.ends_with(".tar.gz");
    if (entry.is_regular_file() && packed) found.push_back(entry.path());
  }
  return found;
}

// Unpacks one archive after the other, only the backends (the log segments beside them are large),
// and gives the number of backends.
inline std::size_t ForEachBackend(
    const std::filesystem::path& folder,
    const std::function<void(const FileView& files, const std::string& path)>& visit) {
  std::size_t visited = 0;
  for (const auto& archive : Archives(folder)) {
    CAPTURE(archive);
    const rescue::testing::TemporaryDirectory directory;
    const std::string command = "tar --sparse --wildcards -xf '" + archive.string() + "' -C '" +
                                directory.path().string() + "' '*/snap/db'";
    REQUIRE(std::system(command.c_str()) == 0);  // NOLINT(cert-env33-c)
    const auto root = RealFileSystem::OpenRoot(directory.path().string());
    REQUIRE(root);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path())) {
      if (entry.path().filename() != "db") continue;
      visit(**root, entry.path().lexically_relative(directory.path()).string());
      ++visited;
    }
  }
  return visited;
}

}  // namespace rescue::bolt::testing
