#include "rescue/etcd/look_json.h"

#include "rescue/base/units.h"

namespace rescue::etcd {
namespace {

using nlohmann::json;

json ToJson(const ListedKey& key) {
  json document = {{"key", ToBase64(key.key)},         {"create_revision", key.create_revision},
                   {"mod_revision", key.mod_revision}, {"version", key.version},
                   {"lease", Hex16(key.lease)},        {"value_size", key.value_size}};
  if (key.value) document["value"] = ToBase64(*key.value);
  return document;
}

json ToJson(const SurvivorSummary& survivor) {
  json document = {{"place", survivor.label},
                   {"cluster_id", Hex16(survivor.cluster_id)},
                   {"member_id", Hex16(survivor.member_id)},
                   {"member_name", survivor.member_name},
                   {"cluster_version", survivor.cluster_version},
                   {"server_version", survivor.server_version},
                   {"has_log", survivor.has_log},
                   {"term", survivor.term},
                   {"last_term", survivor.last_term},
                   {"last_index", survivor.last_index},
                   {"commit", survivor.commit},
                   {"has_backend", survivor.has_backend},
                   {"consistent_index", survivor.consistent_index},
                   {"revision", survivor.revision},
                   {"compact_revision", survivor.compact_revision},
                   {"learner", survivor.learner},
                   {"removed", survivor.removed},
                   {"alone", survivor.alone},
                   {"damage", survivor.damage}};
  if (survivor.hash) document["hash"] = survivor.hash->hash;
  return document;
}

}  // namespace

json ToJson(const KeySpaceHash& hash) {
  return {{"hash", hash.hash},
          {"revision", hash.revision},
          {"compact_revision", hash.compact_revision},
          {"latest_revision", hash.latest_revision},
          {"compaction_pending", hash.compaction_pending},
          {"records", hash.records}};
}

json ToJson(const SnapshotStatus& status) {
  json document = {{"hash", status.hash},
                   {"revision", status.revision},
                   {"total_keys", status.total_keys},
                   {"live_keys", status.live_keys},
                   {"total_size", status.total_size},
                   {"storage_version", status.storage_version},
                   {"file_size", status.file_size},
                   {"sha256", Name(status.trailer)},
                   {"checked", status.check.has_value()}};
  if (status.stored_digest) document["sha256_stored"] = ToHex(*status.stored_digest);
  if (status.digest) document["sha256_computed"] = ToHex(*status.digest);
  if (status.check) document["problems"] = status.check->problem_count;
  return document;
}

json ToJson(const KeyListing& range) {
  json keys = json::array();
  for (const auto& key : range.keys) keys.push_back(ToJson(key));
  return {{"revision", range.revision},
          {"latest_revision", range.latest_revision},
          {"compact_revision", range.compact_revision},
          {"matching", range.matching},
          {"keys", std::move(keys)}};
}

json ToJson(const MembershipAudit& audit) {
  json places = json::array();
  for (const auto& place : audit.places) {
    places.push_back({{"place", Name(place.place)},
                      {"present", place.present},
                      {"note", place.note},
                      {"index", place.index}});
  }
  json members = json::array();
  for (const auto& row : audit.rows) {
    json roles = json::object();
    for (std::size_t i = 0; i < audit.places.size(); ++i) {
      if (audit.places[i].present) roles[Name(audit.places[i].place)] = Name(row.roles[i]);
    }
    members.push_back({{"id", Hex16(row.id)},
                       {"name", row.name},
                       {"peer_urls", row.peer_urls},
                       {"survivor", row.survivor},
                       {"roles", std::move(roles)},
                       {"differs", row.differs}});
  }
  return {{"cluster_id", Hex16(audit.cluster_id)},
          {"survivor", Hex16(audit.survivor)},
          {"places", std::move(places)},
          {"members", std::move(members)},
          {"differences", audit.differences}};
}

json ToJson(const Comparison& comparison) {
  json survivors = json::array();
  for (const auto& survivor : comparison.survivors) survivors.push_back(ToJson(survivor));
  json ranking = json::array();
  for (const std::size_t position : comparison.ranking) {
    ranking.push_back(comparison.survivors[position].label);
  }
  json document = {{"survivors", std::move(survivors)},
                   {"ranking", std::move(ranking)},
                   {"recommended", nullptr},
                   {"common_revision", nullptr},
                   {"reasons", comparison.reasons},
                   {"warnings", comparison.warnings},
                   {"divergence", comparison.divergence}};
  if (comparison.recommended) {
    document["recommended"] = comparison.survivors[*comparison.recommended].label;
  }
  if (comparison.common) {
    document["common_revision"] = {{"revision", comparison.common->revision},
                                   {"compact_revision", comparison.common->compact_revision}};
  }
  return document;
}

}  // namespace rescue::etcd
