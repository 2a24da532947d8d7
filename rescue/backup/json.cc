#include "rescue/backup/json.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

namespace rescue::backup {
namespace {

using nlohmann::json;

json ErrorJson(const Error& error) {
  return {{"code", error.code}, {"message", error.message}, {"hint", error.hint}};
}

json Paths(const std::vector<StoreObject>& objects) {
  json paths = json::array();
  for (const auto& object : objects) paths.push_back(object.path);
  return paths;
}

}  // namespace

std::string TimeText(std::int64_t seconds) {
  constexpr std::int64_t kYear10000 = 253'402'300'800;
  if (seconds < 0 || seconds >= kYear10000) return fmt::format("{}", seconds);
  return fmt::format("{:%FT%TZ}", fmt::gmtime(static_cast<std::time_t>(seconds)));
}

json ToJson(const SnapshotFile& snapshot) {
  json document = {{"verdict", Name(snapshot.verdict)},
                   {"reason", snapshot.reason},
                   {"size", snapshot.size},
                   {"backend_size", snapshot.backend_size},
                   {"page_size", snapshot.page_size},
                   {"revision", snapshot.revision},
                   {"compact_revision", snapshot.compacted}};
  if (snapshot.stored_digest) document["stored_sha256"] = ToHex(*snapshot.stored_digest);
  if (snapshot.digest) document["sha256"] = ToHex(*snapshot.digest);
  if (snapshot.check) {
    document["check"] = {{"pages", snapshot.check->pages},
                         {"problems", snapshot.check->problem_count}};
  }
  return document;
}

json ToJson(const SurveyedObject& found) {
  const ObjectName& name = found.object.name;
  json document = {{"path", found.object.path},
                   {"kind", Name(name.kind)},
                   {"start_revision", name.start},
                   {"last_revision", name.last},
                   {"created", name.created},
                   {"created_text", TimeText(name.created)},
                   {"compression", Name(name.compression)},
                   {"final", name.final},
                   {"layout", found.object.layout},
                   {"size", found.object.size},
                   {"state", found.problem ? "damaged"
                             : found.read  ? "whole"
                                           : "not-read"}};
  if (found.problem) document["problem"] = ErrorJson(*found.problem);
  if (found.snapshot) document["snapshot"] = ToJson(*found.snapshot);
  if (found.read && name.kind == ObjectKind::kDelta) {
    document["events"] = found.events;
    document["deletions"] = found.deletions;
  }
  return document;
}

json ToJson(const Chain& chain) {
  json document = {{"full", chain.full.path},
                   {"deltas", Paths(chain.deltas)},
                   {"contained", Paths(chain.contained)},
                   {"beyond_gap", Paths(chain.beyond)},
                   {"reachable_by_name", chain.reachable},
                   {"newest_by_name", chain.newest},
                   {"warnings", chain.warnings},
                   {"gap", nullptr}};
  if (chain.gap) {
    document["gap"] = {
        {"first", chain.gap->first}, {"last", chain.gap->last}, {"before", chain.gap->before}};
  }
  return document;
}

json ToJson(const StoreSurvey& survey) {
  json document = {{"prefix", survey.store.prefix},
                   {"objects", json::array()},
                   {"chain", nullptr},
                   {"reachable_revision", survey.reachable},
                   {"obstacle", nullptr}};
  for (const auto& object : survey.objects) document["objects"].push_back(ToJson(object));
  if (survey.chain) document["chain"] = ToJson(*survey.chain);
  if (survey.obstacle) document["obstacle"] = ErrorJson(*survey.obstacle);
  return document;
}

json ToJson(const ForeignFile& foreign) {
  return {{"path", foreign.path}, {"reason", foreign.reason}};
}

}  // namespace rescue::backup
