// Everything below the root of a view as one value, for tests that compare trees.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "rescue/base/file.h"

namespace rescue::testing {

struct TreeEntry {
  FileStatus status;
  Bytes content;  // of a regular file
  bool operator==(const TreeEntry&) const = default;
};
using Tree = std::map<std::string, TreeEntry>;  // by path; "" is the root itself

// `skip` and what is below it are left out. Fails when anything cannot be read.
Result<Tree> SnapshotTree(const FileView& view, const std::string& skip = "\n");

// The first difference, for a message; kSame when the trees are equal.
inline constexpr std::string_view kSame = "the same";
std::string FirstDifference(const Tree& a, const Tree& b);

}  // namespace rescue::testing
