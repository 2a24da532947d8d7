#include "rescue/edit/overlay.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>

namespace rescue::edit {
namespace {

constexpr std::uint64_t kMaxFileSize = std::numeric_limits<std::int64_t>::max();

tl::unexpected<Error> Stale(std::string_view path, std::string_view reason) {
  return Fail(ErrorKind::kRefused, "plan-stale", fmt::format("{}: {}", Printable(path), reason),
              "the data directory is not the one that was planned for: make a new plan");
}

tl::unexpected<Error> NotFound(std::string_view path) {
  return Fail(ErrorKind::kOther, "not-found",
              fmt::format("open {}: No such file or directory", Printable(path)));
}

// What a regular file shows: its base, cut at base_limit, under disjoint pieces of new bytes.
struct Content {
  std::uint64_t base_limit = 0;
  std::map<std::uint64_t, Bytes> pieces;  // by offset

  void Cut(std::uint64_t from, std::uint64_t to);
  void Put(std::uint64_t offset, Bytes bytes) {
    Cut(offset, offset + bytes.size());
    if (!bytes.empty()) pieces[offset] = std::move(bytes);
  }
};

// Takes [from, to) out of the pieces; what sticks out on either side stays.
void Content::Cut(std::uint64_t from, std::uint64_t to) {
  auto it = pieces.lower_bound(from);
  if (it != pieces.begin()) --it;
  while (it != pieces.end() && it->first < to) {
    const std::uint64_t start = it->first;
    const std::uint64_t end = start + it->second.size();
    if (end <= from || from == to) {
      ++it;
      continue;
    }
    const Bytes old = std::move(it->second);
    it = pieces.erase(it);
    if (start < from) {
      const auto keep = static_cast<std::ptrdiff_t>(from - start);
      pieces[start] = Bytes(old.begin(), old.begin() + keep);
    }
    if (end > to) {
      const auto drop = static_cast<std::ptrdiff_t>(to - start);
      pieces[to] = Bytes(old.begin() + drop, old.end());
    }
  }
}

class OverlayFile final : public ReadableFile {
 public:
  OverlayFile(std::unique_ptr<ReadableFile> base, std::shared_ptr<const Content> content,
              std::uint64_t size)
      : base_(std::move(base)), content_(std::move(content)), size_(size) {}

  std::uint64_t size() const override { return size_; }

  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= size_) return std::size_t{0};
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), size_ - offset));
    into = into.first(count);
    std::fill(into.begin(), into.end(), std::byte{0});
    RETURN_IF_ERROR(ReadBase(offset, into));
    auto it = content_->pieces.upper_bound(offset);
    if (it != content_->pieces.begin()) --it;
    for (; it != content_->pieces.end() && it->first < offset + count; ++it) {
      const std::uint64_t start = std::max(it->first, offset);
      const std::uint64_t end = std::min(it->first + it->second.size(), offset + count);
      if (start >= end) continue;
      std::copy_n(it->second.begin() + static_cast<std::ptrdiff_t>(start - it->first), end - start,
                  into.begin() + static_cast<std::ptrdiff_t>(start - offset));
    }
    return count;
  }

 private:
  Status ReadBase(std::uint64_t offset, std::span<std::byte> into) const {
    if (!base_ || offset >= content_->base_limit) return {};
    const std::uint64_t visible = content_->base_limit - offset;
    into = into.first(static_cast<std::size_t>(std::min<std::uint64_t>(into.size(), visible)));
    ASSIGN_OR_RETURN([[maybe_unused]] const std::size_t got, base_->ReadAt(offset, into));
    return {};
  }

  std::unique_ptr<ReadableFile> base_;
  std::shared_ptr<const Content> content_;
  std::uint64_t size_;
};

}  // namespace

struct Overlay::Node {
  FileStatus status;
  // Where its unchanged content or entries are; a new entry has none.
  std::optional<std::string> base;
  std::map<std::string, std::unique_ptr<Node>> children;  // null: the name is gone
  std::shared_ptr<Content> content = std::make_shared<Content>();
};

struct Overlay::State {
  Node root;

  // An entry is either a node here or untouched in the base.
  struct Located {
    const Node* node = nullptr;
    std::string base_path;
  };
  Result<Located> Find(std::string_view path) const;
  // The directory node that holds the last name of `path`, made from the base where needed.
  Result<Node*> Parent(const FileView& base, std::string_view path);
  Result<Node*> Child(const FileView& base, Node& parent, std::string_view name,
                      std::string_view path);
  Result<Node*> Entry(const FileView& base, std::string_view path);
  // The directory for a new name, which must be free.
  Result<Node*> ParentOfNew(const FileView& base, std::string_view path);
};

namespace {

std::string_view LastName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace

Result<Overlay::State::Located> Overlay::State::Find(std::string_view path) const {
  if (!IsCleanPath(path)) {
    return Fail(ErrorKind::kRefused, "bad-path",
                fmt::format("use {}: not a path below the directory", Printable(path)));
  }
  const Node* node = &root;
  std::string_view rest = path;
  while (!rest.empty()) {
    const std::size_t slash = rest.find('/');
    const auto it = node->children.find(std::string(rest.substr(0, slash)));
    if (it == node->children.end()) {
      if (!node->base) return NotFound(path);
      return Located{nullptr, JoinPath(*node->base, rest)};
    }
    if (!it->second) return NotFound(path);
    node = it->second.get();
    rest = slash == std::string_view::npos ? std::string_view{} : rest.substr(slash + 1);
  }
  return Located{node, {}};
}

Result<Overlay::Node*> Overlay::State::Child(const FileView& base, Node& parent,
                                             std::string_view name, std::string_view path) {
  const auto it = parent.children.find(std::string(name));
  if (it != parent.children.end()) {
    if (!it->second) return NotFound(path);
    return it->second.get();
  }
  if (!parent.base) return NotFound(path);
  auto node = std::make_unique<Node>();
  node->base = JoinPath(*parent.base, name);
  ASSIGN_OR_RETURN(node->status, base.Stat(*node->base));
  node->content->base_limit = node->status.size;
  return (parent.children[std::string(name)] = std::move(node)).get();
}

Result<Overlay::Node*> Overlay::State::Parent(const FileView& base, std::string_view path) {
  if (path.empty() || !IsCleanPath(path)) {
    return Fail(ErrorKind::kRefused, "bad-path",
                fmt::format("edit {}: not a path below the directory", Printable(path)));
  }
  Node* node = &root;
  std::string_view rest = path;
  for (std::size_t slash = rest.find('/'); slash != std::string_view::npos;
       slash = rest.find('/')) {
    ASSIGN_OR_RETURN(node, Child(base, *node, rest.substr(0, slash), path));
    // Two names for one file would make the record of what is overwritten wrong.
    if (node->status.type == FileType::kSymlink) {
      return Fail(ErrorKind::kRefused, "edit-through-symlink",
                  fmt::format("edit {}: the path goes through a symbolic link", Printable(path)),
                  "work on the directory that the link points to");
    }
    if (node->status.type != FileType::kDirectory) return NotFound(path);
    rest = rest.substr(slash + 1);
  }
  return node;
}

Result<Overlay::Node*> Overlay::State::Entry(const FileView& base, std::string_view path) {
  ASSIGN_OR_RETURN(Node * parent, Parent(base, path));
  return Child(base, *parent, LastName(path), path);
}

Result<Overlay::Node*> Overlay::State::ParentOfNew(const FileView& base, std::string_view path) {
  ASSIGN_OR_RETURN(Node * parent, Parent(base, path));
  const auto taken = Child(base, *parent, LastName(path), path);
  if (taken) return Stale(path, "the name is taken");
  if (!IsNotFound(taken.error())) return Fail(taken.error());
  return parent;
}

Overlay::Overlay(const FileView& base) : base_(base), state_(std::make_unique<State>()) {}
Overlay::~Overlay() = default;

Result<std::unique_ptr<Overlay>> Overlay::Make(const FileView& base, const EditList& edits,
                                               const Observer& after_each) {
  std::unique_ptr<Overlay> overlay(new Overlay(base));
  overlay->state_->root.base = "";
  ASSIGN_OR_RETURN(overlay->state_->root.status, base.Stat(""));
  for (std::size_t i = 0; i < edits.size(); ++i) {
    auto done = overlay->Apply(edits[i]);
    if (done) {
      if (after_each) RETURN_IF_ERROR(after_each(*overlay, i));
      continue;
    }
    Error error = std::move(done).error();
    if (IsNotFound(error)) {
      error.kind = ErrorKind::kRefused;
      error.code = "plan-stale";
      error.hint = "the data directory is not the one that was planned for: make a new plan";
    }
    return Fail(
        error.Within(fmt::format("edit {} of {} ({})", i + 1, edits.size(), Describe(edits[i]))));
  }
  return overlay;
}

Status Overlay::Apply(const Edit& edit) {
  State& state = *state_;
  const FileView& base = base_;

  struct Visitor {
    State& state;
    const FileView& base;

    Result<Node*> RegularFile(std::string_view path) const {
      ASSIGN_OR_RETURN(Node * node, state.Entry(base, path));
      if (node->status.type != FileType::kRegular) return Stale(path, "not a regular file");
      return node;
    }
    Status operator()(const WriteRange& e) const {
      if (e.offset > kMaxFileSize || e.bytes.size() > kMaxFileSize - e.offset) {
        return Stale(e.path, "the file would become too large");
      }
      ASSIGN_OR_RETURN(Node * node, RegularFile(e.path));
      node->content->Put(e.offset, e.bytes);
      if (!e.bytes.empty()) {
        node->status.size = std::max<std::uint64_t>(node->status.size, e.offset + e.bytes.size());
      }
      return {};
    }
    Status operator()(const Truncate& e) const {
      if (e.size > kMaxFileSize) return Stale(e.path, "the file would become too large");
      ASSIGN_OR_RETURN(Node * node, RegularFile(e.path));
      node->content->Cut(e.size, std::numeric_limits<std::uint64_t>::max());
      node->content->base_limit = std::min(node->content->base_limit, e.size);
      node->status.size = e.size;
      return {};
    }
    Status Add(std::string_view path, FileType type, const Attributes& attributes,
               const Bytes& content) const {
      ASSIGN_OR_RETURN(Node * parent, state.ParentOfNew(base, path));
      auto node = std::make_unique<Node>();
      node->status.type = type;
      node->status.size = content.size();
      node->status.attributes = attributes;
      node->content->Put(0, content);
      parent->children[std::string(LastName(path))] = std::move(node);
      return {};
    }
    Status operator()(const CreateFile& e) const {
      return Add(e.path, FileType::kRegular, e.attributes, e.content);
    }
    Status operator()(const MakeDirectory& e) const {
      return Add(e.path, FileType::kDirectory, e.attributes, {});
    }
    // What will be in it is not known before it is built.
    Status operator()(const BuildDirectory& e) const {
      return Add(e.path, FileType::kDirectory, e.attributes, {});
    }
    Status operator()(const Exchange& e) const {
      if (std::string_view(e.first).starts_with(e.second + "/") ||
          std::string_view(e.second).starts_with(e.first + "/") || e.first == e.second) {
        return Stale(e.first, "cannot change places with what holds it");
      }
      for (const std::string& path : {e.first, e.second}) {
        ASSIGN_OR_RETURN(const Node* node, state.Entry(base, path));
        if (node->status.type != FileType::kDirectory) return Stale(path, "not a directory");
      }
      ASSIGN_OR_RETURN(Node * one, state.Parent(base, e.first));
      ASSIGN_OR_RETURN(Node * other, state.Parent(base, e.second));
      std::swap(one->children[std::string(LastName(e.first))],
                other->children[std::string(LastName(e.second))]);
      return {};
    }
    Status operator()(const Rename& e) const {
      ASSIGN_OR_RETURN(Node * source, state.Parent(base, e.from));
      ASSIGN_OR_RETURN(Node * moved, state.Entry(base, e.from));
      if (moved->status.type != FileType::kRegular && moved->status.type != FileType::kDirectory) {
        return Stale(e.from, "neither a regular file nor a directory");
      }
      if (e.to == e.from || std::string_view(e.to).starts_with(e.from + "/")) {
        return Stale(e.to, "a directory cannot be moved into itself");
      }
      ASSIGN_OR_RETURN(Node * target, state.ParentOfNew(base, e.to));
      auto& slot = source->children[std::string(LastName(e.from))];
      target->children[std::string(LastName(e.to))] = std::move(slot);
      source->children[std::string(LastName(e.from))] = nullptr;
      return {};
    }
    Status operator()(const Remove& e) const {
      ASSIGN_OR_RETURN(Node * parent, state.Parent(base, e.path));
      ASSIGN_OR_RETURN(const Node* node, state.Entry(base, e.path));
      if (node->status.type == FileType::kDirectory) {
        ASSIGN_OR_RETURN(const bool empty, IsEmpty(*node));
        if (!empty) return Stale(e.path, "the directory is not empty");
      } else if (node->status.type != FileType::kRegular) {
        return Stale(e.path, "neither a regular file nor a directory");
      }
      parent->children[std::string(LastName(e.path))] = nullptr;
      return {};
    }
    Result<bool> IsEmpty(const Node& directory) const {
      for (const auto& [name, child] : directory.children) {
        if (child) return false;
      }
      if (!directory.base) return true;
      ASSIGN_OR_RETURN(const auto entries, base.List(*directory.base));
      return std::all_of(entries.begin(), entries.end(), [&](const DirectoryEntry& entry) {
        return directory.children.contains(entry.name);
      });
    }
    Status operator()(const SetAttributes& e) const {
      ASSIGN_OR_RETURN(Node * node, state.Entry(base, e.path));
      if (node->status.type != FileType::kRegular && node->status.type != FileType::kDirectory) {
        return Stale(e.path, "neither a regular file nor a directory");
      }
      node->status.attributes = e.attributes;
      return {};
    }
  };

  return std::visit(Visitor{state, base}, edit);
}

Result<std::unique_ptr<ReadableFile>> Overlay::Open(std::string_view path) const {
  ASSIGN_OR_RETURN(const State::Located at, state_->Find(path));
  if (at.node == nullptr) return base_.Open(at.base_path);
  if (at.node->status.type == FileType::kSymlink && at.node->base)
    return base_.Open(*at.node->base);
  if (at.node->status.type != FileType::kRegular) {
    return Fail(ErrorKind::kDataDamaged, "not-a-file",
                fmt::format("open {}: not a regular file", Printable(path)));
  }
  std::unique_ptr<ReadableFile> base;
  if (at.node->base) {
    ASSIGN_OR_RETURN(base, base_.Open(*at.node->base));
  }
  return std::make_unique<OverlayFile>(std::move(base), at.node->content, at.node->status.size);
}

Result<FileStatus> Overlay::Stat(std::string_view path) const {
  ASSIGN_OR_RETURN(const State::Located at, state_->Find(path));
  if (at.node == nullptr) return base_.Stat(at.base_path);
  return at.node->status;
}

Result<std::vector<DirectoryEntry>> Overlay::List(std::string_view path) const {
  ASSIGN_OR_RETURN(const State::Located at, state_->Find(path));
  if (at.node == nullptr) return base_.List(at.base_path);
  if (at.node->status.type != FileType::kDirectory) return NotFound(path);
  std::map<std::string, FileType> names;
  if (at.node->base) {
    ASSIGN_OR_RETURN(const auto entries, base_.List(*at.node->base));
    for (const DirectoryEntry& entry : entries) names[entry.name] = entry.type;
  }
  for (const auto& [name, child] : at.node->children) {
    if (child) {
      names[name] = child->status.type;
    } else {
      names.erase(name);
    }
  }
  std::vector<DirectoryEntry> entries;
  entries.reserve(names.size());
  for (const auto& [name, type] : names) entries.push_back({name, type});
  return entries;
}

}  // namespace rescue::edit
