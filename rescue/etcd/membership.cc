#include "rescue/etcd/membership.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/units.h"

namespace rescue::etcd {
namespace {

PlaceView Absent(MembershipPlace place, std::string note) {
  PlaceView view;
  view.place = place;
  view.note = std::move(note);
  return view;
}

void TakeConfState(const raftlog::ConfState& state, PlaceView& view) {
  const auto take = [&](const std::vector<std::uint64_t>& ids, MemberRole role) {
    for (const std::uint64_t id : ids) view.roles[id] = role;
  };
  take(state.learners, MemberRole::kLearner);
  take(state.learners_next, MemberRole::kLearner);
  take(state.voters_outgoing, MemberRole::kVoter);
  take(state.voters, MemberRole::kVoter);
}

PlaceView Configuration(MembershipPlace place, const raftlog::ConfState& state,
                        std::uint64_t index) {
  PlaceView view;
  view.place = place;
  view.present = true;
  view.index = index;
  TakeConfState(state, view);
  return view;
}

PlaceView SnapView(const Findings& findings) {
  if (findings.snaps.empty()) {
    return Absent(MembershipPlace::kSnapConfState, "no readable .snap file");
  }
  const auto& metadata = findings.snaps.front().metadata;
  return Configuration(MembershipPlace::kSnapConfState, metadata.conf_state, metadata.index);
}

void ApplyChange(const raftlog::ConfChange& change, PlaceView& view) {
  // A member that was removed never comes back under the same ID; etcd ignores the attempt.
  const bool removed = view.RoleOf(change.node_id) == MemberRole::kRemoved;
  switch (change.type) {
    case raftlog::ConfChangeType::kAddNode:
      if (!removed) view.roles[change.node_id] = MemberRole::kVoter;
      return;
    case raftlog::ConfChangeType::kAddLearnerNode:
      if (!removed) view.roles[change.node_id] = MemberRole::kLearner;
      return;
    case raftlog::ConfChangeType::kRemoveNode:
      view.roles[change.node_id] = MemberRole::kRemoved;
      return;
    case raftlog::ConfChangeType::kUpdateNode:
      return;
  }
}

PlaceView LogView(const Findings& findings) {
  if (!findings.log) return Absent(MembershipPlace::kLog, "the log cannot be read");
  PlaceView view;
  view.place = MembershipPlace::kLog;
  view.present = true;
  view.index = findings.LastIndex();
  // Where the replay starts: the snapshot, or what 3.5 and later wrote beside its index.
  std::uint64_t start = 0;
  const raftlog::SnapshotMark* const mark = findings.log->newest_mark();
  if (mark != nullptr) {
    start = mark->index;
    const auto snap =
        std::find_if(findings.snaps.begin(), findings.snaps.end(),
                     [&](const auto& file) { return file.metadata.index == mark->index; });
    if (snap != findings.snaps.end()) {
      TakeConfState(snap->metadata.conf_state, view);
    } else if (mark->conf_state) {
      TakeConfState(*mark->conf_state, view);
    } else if (start > 0) {
      return Absent(MembershipPlace::kLog,
                    fmt::format("no snapshot of index {} to start from", start));
    }
  }
  for (const auto& at : findings.conf_changes) {
    if (at.index > start && at.change) ApplyChange(*at.change, view);
  }
  return view;
}

PlaceView BackendConfStateView(const Findings& findings) {
  if (!findings.backend) {
    return Absent(MembershipPlace::kBackendConfState, "the backend cannot be read");
  }
  if (!findings.backend->conf_state) {
    return Absent(MembershipPlace::kBackendConfState, "not there (3.4 does not write it)");
  }
  return Configuration(MembershipPlace::kBackendConfState, *findings.backend->conf_state,
                       findings.ConsistentIndex());
}

template <typename Members>
void TakeMembers(const Members& members, PlaceView& view) {
  for (const raftlog::Member& member : members) {
    view.roles[member.id] = member.is_learner ? MemberRole::kLearner : MemberRole::kVoter;
  }
}

PlaceView BackendMembersView(const Findings& findings) {
  if (!findings.backend) {
    return Absent(MembershipPlace::kBackendMembers, "the backend cannot be read");
  }
  PlaceView view;
  view.place = MembershipPlace::kBackendMembers;
  view.present = true;
  view.index = findings.ConsistentIndex();
  TakeMembers(findings.backend->members, view);
  for (const std::uint64_t id : findings.backend->removed) view.roles[id] = MemberRole::kRemoved;
  return view;
}

PlaceView StoreView(const Findings& findings) {
  if (findings.snaps.empty()) {
    return Absent(MembershipPlace::kStoreV2, "no readable .snap file");
  }
  const auto& store = findings.snaps.front().store;
  PlaceView view;
  view.place = MembershipPlace::kStoreV2;
  view.present = true;
  view.index = findings.snaps.front().metadata.index;
  std::vector<raftlog::Member> members;
  for (const auto& [id, member] : store.members) members.push_back(member);
  TakeMembers(members, view);
  for (const std::uint64_t id : store.removed) view.roles[id] = MemberRole::kRemoved;
  return view;
}

// Fills name and URLs from `member` where nothing better is known.
void Describe(const raftlog::Member& member, std::map<std::uint64_t, MembershipRow>& rows) {
  const auto row = rows.find(member.id);
  if (row == rows.end()) return;
  if (row->second.name.empty()) row->second.name = member.name;
  if (row->second.peer_urls.empty()) row->second.peer_urls = member.peer_urls;
}

void DescribeAll(const Findings& findings, std::map<std::uint64_t, MembershipRow>& rows) {
  // Newest word first: what a member published last is in the log, or in what was applied from it.
  for (auto at = findings.published.rbegin(); at != findings.published.rend(); ++at) {
    raftlog::Member member;
    member.id = at->attributes.member_id;
    member.name = at->attributes.name;
    Describe(member, rows);
  }
  for (auto at = findings.conf_changes.rbegin(); at != findings.conf_changes.rend(); ++at) {
    if (!at->change || at->change->context.empty()) continue;
    const auto context = raftlog::ParseMemberContext(AsText(at->change->context));
    if (context && !context->is_promote) Describe(context->member, rows);
  }
  if (findings.backend) {
    for (const auto& member : findings.backend->members) Describe(member, rows);
  }
  if (!findings.snaps.empty()) {
    for (const auto& [id, member] : findings.snaps.front().store.members) Describe(member, rows);
  }
}

// A place that has no memory of removals says "absent" where another says "removed".
bool SameWord(MemberRole a, MemberRole b) {
  const auto gone = [](MemberRole role) {
    return role == MemberRole::kAbsent || role == MemberRole::kRemoved;
  };
  return a == b || (gone(a) && gone(b));
}

void Judge(const MembershipAudit& audit, MembershipRow& row, std::vector<std::string>& lines) {
  // One group of places for each word.
  std::map<MemberRole, std::vector<std::string>> said;
  std::optional<MemberRole> first;
  for (std::size_t i = 0; i < audit.places.size(); ++i) {
    if (!audit.places[i].present) continue;
    if (!first) first = row.roles[i];
    if (!SameWord(*first, row.roles[i])) row.differs = true;
    said[row.roles[i]].push_back(
        fmt::format("{} ({})", Name(audit.places[i].place), audit.places[i].index));
  }
  if (!row.differs) return;
  std::string text = fmt::format("{}:", Hex16(row.id));
  std::string_view separator = " ";
  for (const auto& [role, places] : said) {
    text += fmt::format("{}{} in {}", separator, Name(role), fmt::join(places, ", "));
    separator = "; ";
  }
  lines.push_back(std::move(text));
}

}  // namespace

std::string_view Name(MembershipPlace place) {
  switch (place) {
    case MembershipPlace::kSnapConfState:
      return ".snap";
    case MembershipPlace::kLog:
      return "log";
    case MembershipPlace::kBackendConfState:
      return "confState";
    case MembershipPlace::kBackendMembers:
      return "members";
    case MembershipPlace::kStoreV2:
      return "v2 store";
  }
  return "?";
}

std::string_view Name(MemberRole role) {
  switch (role) {
    case MemberRole::kAbsent:
      return "absent";
    case MemberRole::kVoter:
      return "voter";
    case MemberRole::kLearner:
      return "learner";
    case MemberRole::kRemoved:
      return "removed";
  }
  return "?";
}

MemberRole PlaceView::RoleOf(std::uint64_t id) const {
  const auto found = roles.find(id);
  return found == roles.end() ? MemberRole::kAbsent : found->second;
}

MembershipAudit AuditMembership(const Findings& findings) {
  MembershipAudit audit;
  if (findings.log) {
    audit.cluster_id = findings.log->metadata.cluster_id;
    audit.survivor = findings.log->metadata.node_id;
  }
  audit.places = {SnapView(findings), LogView(findings), BackendConfStateView(findings),
                  BackendMembersView(findings), StoreView(findings)};
  std::map<std::uint64_t, MembershipRow> rows;
  for (const auto& place : audit.places) {
    for (const auto& [id, role] : place.roles) rows[id].id = id;
  }
  if (audit.survivor != 0) rows[audit.survivor].id = audit.survivor;
  DescribeAll(findings, rows);
  for (auto& [id, row] : rows) {
    row.survivor = id == audit.survivor;
    for (const auto& place : audit.places) row.roles.push_back(place.RoleOf(id));
    Judge(audit, row, audit.differences);
    audit.rows.push_back(std::move(row));
  }
  return audit;
}

}  // namespace rescue::etcd
