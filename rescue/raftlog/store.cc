// The v2 store inside a .snap file. etcd: server/etcdserver/api/v2store/store.go (Save, Recovery),
// node.go; paths: server/etcdserver/api/membership/storev2.go.
#include <fmt/format.h>

#include "rescue/raftlog/json.h"
#include "rescue/raftlog/snap.h"

namespace rescue::raftlog {
namespace {

constexpr std::size_t kMaxDepth = 128;
constexpr std::size_t kMaxMembers = 10000;  // and as many removed ones; etcd forgets no removed ID

// A scalar's place in the tree of nodes: Root/Children/0/Children/version/Value gives the node
// {"0", "version"} and the field "Value".
struct NodeField {
  std::vector<std::string_view> node;
  std::string_view field;
};

std::optional<NodeField> FindNodeField(JsonPath path) {
  if (path.size() < 2 || path[0] != "Root") return std::nullopt;
  NodeField found;
  std::size_t at = 1;
  while (at + 2 < path.size() && path[at] == "Children") {
    found.node.push_back(path[at + 1]);
    at += 2;
  }
  if (at + 1 != path.size()) return std::nullopt;
  found.field = path[at];
  return found;
}

class StoreReader {
 public:
  bool Take(JsonPath path, const JsonScalar& value) {
    const auto place = FindNodeField(path);
    if (!place) return true;
    has_root_ = true;
    const auto& node = place->node;
    if (node.size() >= 2 && node[0] != "0") store_.has_user_keys = true;
    if (node.size() < 2 || node[0] != "0") return true;
    const auto* text = std::get_if<std::string_view>(&value);
    const bool is_value = place->field == "Value" && text != nullptr;
    if (node[1] == "version" && node.size() == 2 && is_value) store_.cluster_version = *text;
    if (node[1] == "removed_members" && node.size() == 3) return TakeRemoved(node[2]);
    if (node[1] == "members" && node.size() >= 3) {
      return TakeMember(node, is_value ? *text : std::string_view());
    }
    return true;
  }

  Result<StoreMembership> Finish(bool valid) {
    if (!valid || !has_root_) {
      return Fail(ErrorKind::kDataDamaged, "snap-store-malformed",
                  "decode v2 store: not a store as JSON");
    }
    return std::move(store_);
  }

 private:
  bool TakeRemoved(std::string_view name) {
    const auto id = ParseMemberId(name);
    if (id)
      store_.removed.insert(*id);
    else
      Note(fmt::format("removed member \"{}\": not an ID", Printable(name)));
    return store_.removed.size() <= kMaxMembers;
  }

  bool TakeMember(const std::vector<std::string_view>& node, std::string_view value) {
    const auto id = ParseMemberId(node[2]);
    if (!id) {
      Note(fmt::format("member \"{}\": not an ID", Printable(node[2])));
      return true;
    }
    Member& member = store_.members[*id];
    member.id = *id;
    if (node.size() == 4 && !value.empty()) TakeAttributes(member, node[3], value);
    return store_.members.size() <= kMaxMembers;
  }

  void TakeAttributes(Member& member, std::string_view kind, std::string_view value) {
    if (kind == "raftAttributes") {
      auto attributes = ParseRaftAttributes(value);
      if (!attributes) return Note(member, attributes.error());
      member.peer_urls = std::move(attributes->peer_urls);
      member.is_learner = attributes->is_learner;
    } else if (kind == "attributes") {
      auto attributes = ParseMemberAttributes(value);
      if (!attributes) return Note(member, attributes.error());
      member.name = std::move(attributes->name);
      member.client_urls = std::move(attributes->client_urls);
    }
  }

  void Note(const Member& member, const Error& error) {
    Note(fmt::format("member {}: {}", FormatMemberId(member.id), error.message));
  }
  void Note(std::string line) {
    // A node has several fields, and each comes here.
    if (store_.notes.empty() || store_.notes.back() != line)
      store_.notes.push_back(std::move(line));
  }

  StoreMembership store_;
  bool has_root_ = false;
};

// One node; `children` is the text of its fields when it is a directory.
std::string WriteNode(std::string_view path, std::string_view value,
                      const std::optional<std::string>& children) {
  return fmt::format(
      R"({{"Path":{},"CreatedIndex":0,"ModifiedIndex":0,"ExpireTime":"0001-01-01T00:00:00Z",)"
      R"("Value":{},"Children":{}}})",
      QuoteJson(path), QuoteJson(value), children ? '{' + *children + '}' : "null");
}

void AddChild(std::string& children, std::string_view name, const std::string& node) {
  if (!children.empty()) children += ',';
  children += QuoteJson(name) + ':' + node;
}

std::string WriteMemberNode(const Member& member, const std::string& path) {
  std::string children;
  if (!member.name.empty() || !member.client_urls.empty()) {
    AddChild(children, "attributes",
             WriteNode(path + "/attributes",
                       WriteMemberAttributes({member.name, member.client_urls}), {}));
  }
  AddChild(children, "raftAttributes",
           WriteNode(path + "/raftAttributes",
                     WriteRaftAttributes({member.peer_urls, member.is_learner}), {}));
  return WriteNode(path, "", children);
}

}  // namespace

Result<StoreMembership> ParseStoreJson(std::string_view json) {
  StoreReader reader;
  const bool valid = WalkJson(json, kMaxDepth, [&](JsonPath path, const JsonScalar& value) {
    return reader.Take(path, value);
  });
  return reader.Finish(valid);
}

std::string WriteStoreJson(const StoreMembership& store) {
  std::string members;
  for (const auto& [id, member] : store.members) {
    const std::string name = FormatMemberId(id);
    AddChild(members, name, WriteMemberNode(member, "/0/members/" + name));
  }
  std::string removed;
  for (const std::uint64_t id : store.removed) {
    const std::string name = FormatMemberId(id);
    AddChild(removed, name, WriteNode("/0/removed_members/" + name, "", {}));
  }
  std::string cluster;
  AddChild(cluster, "members", WriteNode("/0/members", "", members));
  AddChild(cluster, "removed_members", WriteNode("/0/removed_members", "", removed));
  if (!store.cluster_version.empty()) {
    AddChild(cluster, "version", WriteNode("/0/version", store.cluster_version, {}));
  }
  std::string root;
  AddChild(root, "0", WriteNode("/0", "", cluster));
  AddChild(root, "1", WriteNode("/1", "", ""));
  // WatcherHub and Stats may be left out; an event history without its 1000 slots may not be there.
  return fmt::format(R"({{"Root":{},"CurrentIndex":1,"CurrentVersion":2}})",
                     WriteNode("/", "", root));
}

}  // namespace rescue::raftlog
