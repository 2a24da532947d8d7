// The plan of a restore from a backup; the building is in restore.cc.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "rescue/backup/restore.h"
#include "rescue/base/units.h"
#include "rescue/etcd/identity.h"
#include "rescue/etcd/ids.h"
#include "rescue/etcd/inspect.h"

namespace rescue::backup {
namespace {

constexpr std::string_view kMember = "member";
constexpr std::string_view kFresh = "member.new";
constexpr std::string_view kAside = "member.before-restore";
// A short text in the restored member: what it was restored from. It also tells the two members
// apart while they change places.
constexpr std::string_view kMarker = "restored";

// What the API server may have handed out since the backup was made: etcd's own documentation
// recommends this amount for clusters with up to a thousand writes a second
// (etcd.io/docs, op-guide/recovery, "Restoring with revision bump").
constexpr std::uint64_t kRecommendedBump = 1'000'000'000;

Result<std::string> FreeName(const FileView& data, std::string_view directory,
                             std::string_view wanted) {
  for (int number = 1; number < 1000; ++number) {
    std::string name(wanted);
    if (number > 1) name += fmt::format("-{}", number);
    ASSIGN_OR_RETURN(const bool taken, Exists(data, JoinPath(directory, name)));
    if (!taken) return name;
  }
  return Fail(ErrorKind::kRefused, "too-many-restores",
              fmt::format("plan restore: 999 earlier restores left their {}", wanted),
              "remove the ones that are not needed any more");
}

// Whose name and URLs the restored member gets.
Status CompleteMember(const etcd::Findings* old, etcd::Wishes& wishes, etcd::Plan& plan) {
  if (old != nullptr && old->backend) {
    if (const auto identity = etcd::Identify(*old, wishes.name)) {
      if (wishes.name.empty()) wishes.name = identity->self.name;
      if (wishes.peer_urls.empty()) wishes.peer_urls = identity->self.peer_urls;
      plan.former_cluster_id = identity->cluster_id;
      plan.former_member_id = identity->self.id;
      plan.removed = identity->others;
    }
  }
  if (wishes.name.empty()) {
    return Fail(ErrorKind::kUsage, "no-name",
                "plan restore: the data directory does not say which member this is",
                "give its name with --name (etcd's --name on this node)");
  }
  if (wishes.peer_urls.empty()) {
    return Fail(ErrorKind::kUsage, "no-peer-url",
                "plan restore: the data directory does not say this member's peer URL",
                "give --peer-url (etcd's --initial-advertise-peer-urls on this node)");
  }
  ASSIGN_OR_RETURN(wishes.peer_urls, etcd::CheckPeerUrls(wishes.peer_urls));
  return {};
}

std::string Recipe(const Source& source, const etcd::Wishes& wishes) {
  nlohmann::json recipe = {{"base", source.base_path},
                           {"size", source.base_size},
                           {"from", source.label},
                           {"name", wishes.name},
                           {"peer-urls", wishes.peer_urls},
                           {"token", wishes.token},
                           {"bump-revision", wishes.bump_revision},
                           {"mark-compacted", wishes.mark_compacted},
                           {"clear-alarms", wishes.clear_alarms},
                           {"accept-hash-mismatch", source.wishes.accept_hash_mismatch}};
  if (source.wishes.to_revision) recipe["to-revision"] = *source.wishes.to_revision;
  for (const StoreObject& delta : source.deltas) {
    recipe["deltas"].push_back({delta.path, delta.size});
  }
  return recipe.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
}

Result<Attributes> DirectoryAttributes(const FileView& data, bool has_member) {
  ASSIGN_OR_RETURN(FileStatus status, data.Stat(has_member ? kMember : ""));
  if (!has_member) status.attributes.mode = 0700;
  return status.attributes;
}

Result<Attributes> FileAttributes(const FileView& data, const Attributes& directory) {
  const auto status = data.Stat(etcd::kBackendPath);
  if (status && status->type == FileType::kRegular) return status->attributes;
  if (!status && !IsNotFound(status.error())) return Fail(status.error());
  Attributes attributes = directory;
  attributes.mode = 0600;
  return attributes;
}

Result<edit::EditList> MakeEdits(const FileView& data, const Source& source, bool keeps_old,
                                 const Attributes& directory, const Attributes& file,
                                 const etcd::Wishes& wishes) {
  const std::string fresh(kFresh);
  ASSIGN_OR_RETURN(const bool taken, Exists(data, fresh));
  if (taken) {
    return Fail(ErrorKind::kRefused, "name-taken",
                fmt::format("plan restore: {} is there already", fresh),
                "look what it is and move it away");
  }
  edit::EditList edits;
  edits.push_back(
      edit::BuildDirectory{fresh, Recipe(source, wishes), source.restored_bytes(), directory});
  ASSIGN_OR_RETURN(const std::string marker, FreeName(data, keeps_old ? kMember : fresh, kMarker));
  const std::string text =
      fmt::format("restored from {}{}\n", source.label,
                  source.target == 0 ? std::string() : fmt::format(", revision {}", source.target));
  Attributes plain = file;
  plain.mode = 0600;
  edits.push_back(edit::CreateFile{JoinPath(fresh, marker), ToBytes(AsBytes(text)), plain});
  if (!keeps_old) {
    edits.push_back(edit::Rename{fresh, std::string(kMember)});
    return edits;
  }
  ASSIGN_OR_RETURN(const std::string aside, FreeName(data, "", kAside));
  edits.push_back(edit::Exchange{std::string(kMember), fresh, marker});
  edits.push_back(edit::Rename{fresh, aside});
  return edits;
}

std::string DescribeSource(const Source& source) {
  std::string text =
      fmt::format("the key space of {} ({})", source.base_path, FormatSize(source.base_size));
  if (!source.deltas.empty()) {
    text += fmt::format(" and {} deltas, revisions {} to {}", source.deltas.size(),
                        source.deltas.front().name.start, source.deltas.back().name.last);
  }
  if (source.target != 0) {
    text += fmt::format("; ends with revision {}", source.target);
  } else if (source.base_revision) {
    text += fmt::format("; ends with revision {}", *source.base_revision);
  }
  return text;
}

// What the survivor has and the backup has not, as far as both can tell.
void ExplainLoss(const etcd::Findings* old, const Source& source, etcd::Plan& plan) {
  if (old == nullptr || !old->backend) {
    plan.lost.emplace_back("everything after the backup; no survivor says how much that is");
    plan.loss.unknown = true;
    return;
  }
  plan.revision_before = old->backend->latest.main;
  const std::uint64_t most = plan.revision_before + old->tail.may_write;
  const std::uint64_t reached =
      source.target != 0 ? source.target : source.base_revision.value_or(0);
  if (reached == 0) {
    plan.lost.push_back(fmt::format(
        "everything after the backup; the survivor holds revision {} and up to {} more in its log",
        plan.revision_before, old->tail.may_write));
    plan.loss.unknown = true;
  } else if (most > reached) {
    plan.loss.revisions = most - reached;
    plan.lost.push_back(fmt::format(
        "up to {} revisions: the survivor reaches {}, the backup {}; if the survivor is sound, "
        "restore from it instead (leave --from out)",
        plan.loss.revisions, most, reached));
  } else {
    plan.lost.emplace_back("nothing that this survivor holds; everything after the backup");
  }
}

void ExplainBump(const etcd::Wishes& wishes, etcd::Plan& plan) {
  if (wishes.bump_revision > 0) {
    plan.kept.push_back(fmt::format(
        "every key with its revisions; new writes start {} later{}", wishes.bump_revision,
        wishes.mark_compacted ? ", and what is older counts as compacted, so watchers "
                                "list again"
                              : ""));
    return;
  }
  std::uint64_t bump = kRecommendedBump;
  while (bump < plan.loss.revisions && bump < (std::uint64_t{1} << 60)) bump *= 10;
  plan.warnings.push_back(fmt::format(
      "revisions go back: clients that watched the old cluster would miss changes; recommended: "
      "--bump-revision {} --mark-compacted",
      bump));
}

}  // namespace

Result<RestorePlan> PlanRestoreFrom(const FileView& data, const etcd::Findings* old,
                                    const Source& source, const etcd::Wishes& wishes,
                                    bool discard_old) {
  if (wishes.keep_ids) {
    return Fail(ErrorKind::kUsage, "not-for-strategy",
                "plan restore: a backup does not keep the IDs of the cluster that it was made of",
                "leave --keep-ids out");
  }
  if (wishes.mark_compacted && wishes.bump_revision == 0) {
    return Fail(ErrorKind::kUsage, "bad-bump", "mark compacted: there is no bump",
                "give --bump-revision, too");
  }
  RestorePlan restore;
  restore.wishes = wishes;
  restore.wishes.strategy = etcd::Strategy::kRestore;
  etcd::Plan& plan = restore.plan;
  plan.strategy = etcd::Strategy::kRestore;
  RETURN_IF_ERROR(CompleteMember(old, restore.wishes, plan));
  plan.survivor.name = restore.wishes.name;
  plan.survivor.peer_urls = restore.wishes.peer_urls;
  plan.survivor.id = etcd::DeriveMemberId(plan.survivor.peer_urls, restore.wishes.token);
  plan.cluster_id = etcd::DeriveClusterId({plan.survivor.id});
  plan.token = restore.wishes.token;

  ASSIGN_OR_RETURN(const bool has_member, Exists(data, kMember));
  restore.discards_old = discard_old && has_member;
  const bool keeps_old = has_member && !discard_old;
  ASSIGN_OR_RETURN(const Attributes directory, DirectoryAttributes(data, has_member));
  ASSIGN_OR_RETURN(restore.file, FileAttributes(data, directory));
  ASSIGN_OR_RETURN(plan.edits,
                   MakeEdits(data, source, keeps_old, directory, restore.file, restore.wishes));
  plan.fingerprint = edit::Fingerprint(plan.edits);
  plan.backend_pages = 1;  // a backend that has to be checked afterwards

  plan.kept.push_back(DescribeSource(source));
  ExplainLoss(old, source, plan);
  plan.revision_after = (source.target != 0 ? source.target : source.base_revision.value_or(0)) +
                        restore.wishes.bump_revision;
  ExplainBump(restore.wishes, plan);
  plan.warnings.push_back(
      fmt::format("new cluster ID {} and member ID {} (token {}): no former member can come back",
                  Hex16(plan.cluster_id), Hex16(plan.survivor.id), plan.token));
  for (const std::string& note : source.notes) plan.warnings.push_back(note);
  if (keeps_old) {
    plan.kept.push_back(fmt::format("the old member, as {} beside the new one: undo brings it back",
                                    std::get<edit::Rename>(plan.edits.back()).to));
  } else if (restore.discards_old) {
    plan.lost.emplace_back(
        "the old member: it is removed before the backup is restored, as asked "
        "(--discard-old), and no undo brings it back");
  }
  if (!source.deltas.empty()) {
    plan.warnings.emplace_back(
        "deltas do not hold leases: keys whose lease was granted after the full backup keep its "
        "ID and never expire");
  }
  plan.next_steps.emplace_back(
      "start etcd on this node with its old flags; do not use --force-new-cluster");
  if (plan.former_cluster_id != 0) {
    plan.next_steps.push_back(fmt::format(
        "former members belong to cluster {} and are answered \"cluster ID mismatch\": wipe them, "
        "then add them as new members",
        Hex16(plan.former_cluster_id)));
  }
  plan.next_steps.emplace_back(
      "etcdctl member list; then, one at a time: etcdctl member add NAME --peer-urls=URL and start "
      "that member with --initial-cluster-state=existing");
  plan.next_steps.emplace_back(
      "restart the API servers, controllers and kubelets: they may remember objects as they were");
  if (keeps_old) {
    plan.next_steps.push_back(
        fmt::format("when all is well, remove {}", std::get<edit::Rename>(plan.edits.back()).to));
  }
  return restore;
}

}  // namespace rescue::backup
