#include "rescue/etcd/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

namespace rescue::etcd {
namespace {

using raftlog::Member;

// Everyone that any place names, newest knowledge last.
struct Crowd {
  std::map<std::uint64_t, Member> members;
  std::set<std::uint64_t> removed;

  void Know(const Member& member) {
    if (removed.contains(member.id)) return;
    Member& known = members[member.id];
    Member merged = member;
    if (merged.name.empty()) merged.name = known.name;
    if (merged.peer_urls.empty()) merged.peer_urls = known.peer_urls;
    if (merged.client_urls.empty()) merged.client_urls = known.client_urls;
    known = std::move(merged);
  }
  void Remove(std::uint64_t id) {
    removed.insert(id);
    members.erase(id);
  }
};

Crowd CrowdFromBackend(const Findings& findings, bool trust_log) {
  Crowd crowd;
  if (!findings.snaps.empty()) {
    const auto& store = findings.snaps.front().store;
    for (const std::uint64_t id : store.removed) crowd.Remove(id);
    for (const auto& [id, member] : store.members) crowd.Know(member);
  }
  for (const std::uint64_t id : findings.backend->removed) crowd.Remove(id);
  for (const auto& member : findings.backend->members) crowd.Know(member);
  if (!trust_log) return crowd;
  // Configuration changes that are readable, although the log as a whole cannot be replayed.
  for (const auto& at : findings.conf_changes) {
    if (!at.change) continue;
    if (at.change->type == raftlog::ConfChangeType::kRemoveNode) {
      crowd.Remove(at.change->node_id);
      continue;
    }
    const auto context = raftlog::ParseMemberContext(AsText(at.change->context));
    if (!context || context->member.id != at.change->node_id) continue;
    if (!context->is_promote) crowd.Know(context->member);
  }
  for (const auto& at : findings.published) {
    const auto it = crowd.members.find(at.attributes.member_id);
    if (it == crowd.members.end()) continue;
    it->second.name = at.attributes.name;
    it->second.client_urls = at.attributes.client_urls;
  }
  return crowd;
}

std::optional<Crowd> CrowdFromReplay(const Findings& findings) {
  if (!findings.log) return std::nullopt;
  const auto state = Replay(findings, RuleFor(findings), findings.LastIndex());
  if (!state) return std::nullopt;
  Crowd crowd;
  crowd.members = state->store.members;
  crowd.removed = state->store.removed;
  for (const std::uint64_t id : state->voters) {
    if (!crowd.removed.contains(id)) crowd.members[id].id = id;
  }
  for (const std::uint64_t id : state->learners) {
    if (!crowd.removed.contains(id)) crowd.members[id].id = id;
  }
  // Names may stand in either place, depending on the version.
  for (const auto& member : findings.backend->members) {
    const auto it = crowd.members.find(member.id);
    if (it != crowd.members.end() && it->second.name.empty()) it->second.name = member.name;
  }
  return crowd;
}

// Which member this is, when no log says so.
Result<std::uint64_t> GuessSelf(const Crowd& crowd, const std::string& name) {
  std::vector<std::uint64_t> candidates;
  for (const auto& [id, member] : crowd.members) {
    if (name.empty() || member.name == name) candidates.push_back(id);
  }
  if (candidates.size() == 1) return candidates.front();
  if (!name.empty() && candidates.empty()) return std::uint64_t{0};
  std::string names;
  for (const auto& [id, member] : crowd.members) {
    names += (names.empty() ? "" : ", ") + (member.name.empty() ? "(no name)" : member.name);
  }
  return Fail(
      ErrorKind::kUsage, "no-name",
      fmt::format("tell which member this is: the log that would say so is missing, and the "
                  "backend knows {} members{}",
                  crowd.members.size(), names.empty() ? "" : ": " + names),
      "give its name with --name (etcd's --name on this node)");
}

bool Knows(const Findings& findings, std::uint64_t id) {
  const auto& backend = *findings.backend;
  const auto is_it = [&](const Member& member) { return member.id == id; };
  if (std::any_of(backend.members.begin(), backend.members.end(), is_it)) return true;
  if (std::find(backend.removed.begin(), backend.removed.end(), id) != backend.removed.end()) {
    return true;
  }
  for (const auto& snap : findings.snaps) {
    if (snap.store.members.contains(id) || snap.store.removed.contains(id)) return true;
  }
  // What the backend has applied already would show there.
  const std::uint64_t ci = findings.ConsistentIndex();
  return std::any_of(
      findings.conf_changes.begin(), findings.conf_changes.end(),
      [&](const auto& at) { return at.index > ci && at.change && at.change->node_id == id; });
}

// What was ever said about a member, also if it is gone.
Member LastKnown(const Findings& findings, std::uint64_t id) {
  Crowd crowd;
  for (auto snap = findings.snaps.rbegin(); snap != findings.snaps.rend(); ++snap) {
    const auto it = snap->store.members.find(id);
    if (it != snap->store.members.end()) crowd.Know(it->second);
  }
  for (const auto& at : findings.conf_changes) {
    if (!at.change || at.change->node_id != id) continue;
    const auto context = raftlog::ParseMemberContext(AsText(at.change->context));
    if (context && !context->is_promote && context->member.id == id) crowd.Know(context->member);
  }
  for (const auto& member : findings.backend->members) {
    if (member.id == id) crowd.Know(member);
  }
  for (const auto& at : findings.published) {
    if (at.attributes.member_id != id) continue;
    crowd.members[id].name = at.attributes.name;
    crowd.members[id].client_urls = at.attributes.client_urls;
  }
  return crowd.members[id];
}

}  // namespace

bool LogIsForeign(const Findings& findings) {
  if (!findings.log || !findings.backend) return false;
  const std::uint64_t self = findings.log->metadata.node_id;
  const bool members_known = !findings.backend->members.empty() || !findings.snaps.empty();
  if (members_known && !Knows(findings, self)) return true;
  const auto* entry = findings.log->Find(findings.ConsistentIndex());
  return entry != nullptr && findings.backend->term != 0 && entry->term != findings.backend->term;
}

Result<Identity> Identify(const Findings& findings, const std::string& name) {
  const bool foreign = LogIsForeign(findings);
  std::optional<Crowd> replayed;
  if (!foreign) replayed = CrowdFromReplay(findings);
  const Crowd crowd = replayed ? *std::move(replayed) : CrowdFromBackend(findings, !foreign);

  Identity identity;
  std::uint64_t self = 0;
  if (findings.log && !foreign) {
    self = findings.log->metadata.node_id;
    identity.cluster_id = findings.log->metadata.cluster_id;
  } else {
    ASSIGN_OR_RETURN(self, GuessSelf(crowd, name));
  }
  identity.self_removed = crowd.removed.contains(self);
  identity.removed = {crowd.removed.begin(), crowd.removed.end()};
  const auto it = crowd.members.find(self);
  identity.self = it != crowd.members.end() ? it->second : LastKnown(findings, self);
  identity.self.id = self;
  for (const auto& [id, member] : crowd.members) {
    if (id != self) identity.others.push_back(member);
  }
  return identity;
}

}  // namespace rescue::etcd
