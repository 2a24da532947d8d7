#include "rescue/edit/names.h"

#include <set>

namespace rescue::edit {
namespace {

// `path` with its leading `from` replaced by `to`, when it is `from` or lies below it.
std::optional<std::string> Moved(std::string_view path, std::string_view from,
                                 std::string_view to) {
  if (path == from) return std::string(to);
  if (!path.starts_with(from) || path[from.size()] != '/') return std::nullopt;
  return std::string(to) + std::string(path.substr(from.size()));
}

std::string Exchanged(std::string_view path, const Exchange& both) {
  if (auto moved = Moved(path, both.first, both.second)) return *std::move(moved);
  if (auto moved = Moved(path, both.second, both.first)) return *std::move(moved);
  return std::string(path);
}

}  // namespace

bool ChangesNames(const Edit& edit) {
  return std::holds_alternative<CreateFile>(edit) || std::holds_alternative<MakeDirectory>(edit) ||
         std::holds_alternative<BuildDirectory>(edit) || std::holds_alternative<Rename>(edit) ||
         std::holds_alternative<Exchange>(edit) || std::holds_alternative<Remove>(edit);
}

std::vector<const Edit*> NameEdits(const EditList& edits) {
  std::vector<const Edit*> names;
  for (const Edit& edit : edits) {
    if (ChangesNames(edit)) names.push_back(&edit);
  }
  return names;
}

std::vector<std::string> PathsOf(const Edit& edit) {
  if (const auto* rename = std::get_if<Rename>(&edit)) return {rename->from, rename->to};
  if (const auto* both = std::get_if<Exchange>(&edit)) return {both->first, both->second};
  return std::visit(
      [](const auto& e) -> std::vector<std::string> {
        if constexpr (requires { e.path; }) return {e.path};
        return {};
      },
      edit);
}

std::vector<std::string> NamedPaths(const EditList& edits) {
  std::set<std::string> paths;
  for (const Edit* edit : NameEdits(edits)) {
    for (std::string& path : PathsOf(*edit)) paths.insert(std::move(path));
    if (const auto* both = std::get_if<Exchange>(edit)) {
      for (const std::string& place : {both->first, both->second}) {
        paths.insert(JoinPath(place, both->marker));
      }
    }
  }
  return {paths.begin(), paths.end()};
}

std::optional<std::string> FormerPath(const std::vector<const Edit*>& names, std::size_t done,
                                      std::string_view path) {
  std::string now(path);
  for (std::size_t step = done; step > 0; --step) {
    const Edit& edit = *names[step - 1];
    if (const auto* rename = std::get_if<Rename>(&edit)) {
      if (auto before = Moved(now, rename->to, rename->from)) now = std::move(*before);
    } else if (const auto* both = std::get_if<Exchange>(&edit)) {
      now = Exchanged(now, *both);
    } else if (const auto* build = std::get_if<BuildDirectory>(&edit)) {
      if (Moved(now, build->path, build->path)) return std::nullopt;
    } else if (!std::holds_alternative<Remove>(edit) && PathsOf(edit).front() == now) {
      return std::nullopt;
    }
  }
  return now;
}

std::optional<std::string> LaterPath(const std::vector<const Edit*>& names, std::size_t from,
                                     std::size_t to, std::string_view path) {
  std::string now(path);
  for (std::size_t step = from; step < to; ++step) {
    const Edit& edit = *names[step];
    if (const auto* rename = std::get_if<Rename>(&edit)) {
      if (auto after = Moved(now, rename->from, rename->to)) now = std::move(*after);
    } else if (const auto* both = std::get_if<Exchange>(&edit)) {
      now = Exchanged(now, *both);
    } else if (const auto* remove = std::get_if<Remove>(&edit); remove && remove->path == now) {
      return std::nullopt;
    }
  }
  return now;
}

}  // namespace rescue::edit
