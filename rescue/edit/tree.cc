#include "rescue/edit/tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "rescue/edit/draft.h"
#include "rescue/edit/names.h"

namespace rescue::edit {
namespace {

constexpr int kMaxDepth = 8;
// The digest of a larger file would cost as much as reading it.
constexpr std::uint64_t kShortFile = std::uint64_t{1} << 20;

tl::unexpected<Error> Unlike(std::string_view path, std::string_view reason) {
  return Fail(ErrorKind::kRefused, "build-tree",
              fmt::format("look at {}: {}", Printable(path), reason));
}

// Calls `visit` for everything below and including `path`, what is inside first.
Status Walk(const FileView& data, const std::string& path, FileType type, int depth,
            std::size_t& count, const std::function<Status(const std::string&, FileType)>& visit) {
  if (depth > kMaxDepth) return Unlike(path, "too deep");
  if (++count > kMaxBuiltEntries) return Unlike(path, "too many entries");
  if (type == FileType::kDirectory) {
    ASSIGN_OR_RETURN(const auto entries, data.List(path));
    for (const DirectoryEntry& entry : entries) {
      RETURN_IF_ERROR(Walk(data, JoinPath(path, entry.name), entry.type, depth + 1, count, visit));
    }
  }
  return visit(path, type);
}

Status WalkTree(const FileView& data, std::string_view path,
                const std::function<Status(const std::string&, FileType)>& visit) {
  std::size_t count = 0;
  return Walk(data, std::string(path), FileType::kDirectory, 0, count, visit);
}

}  // namespace

Status SyncTree(FileSystem& data, std::string_view path) {
  return WalkTree(data, path, [&](const std::string& entry, FileType type) -> Status {
    if (type == FileType::kRegular) return data.SyncFile(entry);
    if (type == FileType::kDirectory) return data.SyncDirectory(entry);
    return Unlike(entry, "neither file nor directory");
  });
}

Result<std::vector<After>> DescribeTree(const FileView& data, std::string_view path) {
  std::vector<After> list;
  RETURN_IF_ERROR(WalkTree(data, path, [&](const std::string& entry, FileType type) -> Status {
    if (type == FileType::kDirectory) return {};
    if (type != FileType::kRegular) return Unlike(entry, "neither file nor directory");
    ASSIGN_OR_RETURN(const FileStatus status, data.Stat(entry));
    After after;
    after.path = entry;
    after.size = status.size;
    after.modified = status.modified;
    if (status.size > 0 && status.size <= kShortFile) after.written = {{0, status.size}};
    ASSIGN_OR_RETURN(after.digest, DigestOf(data, entry, after.written));
    list.push_back(std::move(after));
    return {};
  }));
  std::sort(list.begin(), list.end(),
            [](const After& a, const After& b) { return a.path < b.path; });
  return list;
}

Status RemoveTree(FileSystem& data, std::string_view path) {
  std::vector<std::string> entries;
  RETURN_IF_ERROR(WalkTree(data, path, [&](const std::string& entry, FileType) -> Status {
    entries.push_back(entry);
    return {};
  }));
  for (const std::string& entry : entries) {
    Status removed = data.Remove(entry);
    if (!removed && !IsNotFound(removed.error())) return removed;
  }
  return {};
}

std::vector<After> BuiltAt(const Journal& journal, std::size_t step) {
  const auto names = NameEdits(journal.plan.edits);
  std::vector<After> list;
  for (After after : journal.built) {
    // The build that made it: the first one whose directory holds it.
    for (std::size_t i = 0; i < std::min(step, names.size()); ++i) {
      const auto* build = std::get_if<BuildDirectory>(names[i]);
      if (build == nullptr || !after.path.starts_with(build->path + "/")) continue;
      if (const auto path = LaterPath(names, i + 1, step, after.path)) {
        after.path = *path;
        list.push_back(std::move(after));
      }
      break;
    }
  }
  return list;
}

}  // namespace rescue::edit
