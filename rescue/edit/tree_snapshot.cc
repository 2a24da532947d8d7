#include "rescue/edit/tree_snapshot.h"

#include <fmt/format.h>

#include <limits>
#include <vector>

namespace rescue::testing {

Result<Tree> SnapshotTree(const FileView& view, const std::string& skip) {
  Tree tree;
  std::vector<std::string> left = {""};
  while (!left.empty()) {
    const std::string path = std::move(left.back());
    left.pop_back();
    if (path == skip) continue;
    TreeEntry& entry = tree[path];
    ASSIGN_OR_RETURN(entry.status, view.Stat(path));
    if (entry.status.type == FileType::kRegular) {
      ASSIGN_OR_RETURN(entry.content,
                       ReadWhole(view, path, std::numeric_limits<std::uint64_t>::max()));
    }
    if (entry.status.type != FileType::kDirectory) continue;
    ASSIGN_OR_RETURN(const auto names, view.List(path));
    for (const DirectoryEntry& name : names) left.push_back(JoinPath(path, name.name));
  }
  return tree;
}

std::string FirstDifference(const Tree& a, const Tree& b) {
  for (const auto& [path, entry] : a) {
    const auto other = b.find(path);
    if (other == b.end()) return fmt::format("'{}' is missing", path);
    if (entry.content != other->second.content) return fmt::format("content of '{}'", path);
    const FileStatus& left = entry.status;
    const FileStatus& right = other->second.status;
    if (left.type != right.type) return fmt::format("type of '{}'", path);
    if (left.size != right.size) return fmt::format("size of '{}'", path);
    if (left.attributes != right.attributes) return fmt::format("attributes of '{}'", path);
    if (left.modified != right.modified) {
      return fmt::format("time of '{}': {} and {}", path, left.modified, right.modified);
    }
  }
  for (const auto& [path, entry] : b) {
    if (!a.contains(path)) return fmt::format("'{}' is new", path);
  }
  return std::string(kSame);
}

}  // namespace rescue::testing
