#include "rescue/session/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "rescue/base/bytes.h"

namespace rescue::session {
namespace {

using nlohmann::json;

tl::unexpected<Error> BadJob(std::string reason) {
  return Fail(ErrorKind::kUsage, "bad-job", "read the job: " + std::move(reason),
              "see the job format in the README, and correct the document");
}

Status CheckFields(const json& object, std::string_view where,
                   std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    return BadJob(fmt::format("unknown field {}{}", where, Printable(key, 60)));
  }
  return {};
}

// A string field of `object`; "" when absent.
Result<std::string> TextField(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end()) return std::string();
  if (!found->is_string() || found->get_ref<const std::string&>().empty()) {
    return BadJob(fmt::format("{} is not a text", field));
  }
  return found->get<std::string>();
}

Result<json> ObjectField(const json& object, const char* field) {
  const auto found = object.find(field);
  if (found == object.end()) return json::object();
  if (!found->is_object()) return BadJob(fmt::format("{} is not an object", field));
  return *found;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

Result<std::string> ReadDisk(const json& document) {
  ASSIGN_OR_RETURN(const json disk, ObjectField(document, "disk"));
  RETURN_IF_ERROR(CheckFields(disk, "disk.", {"luks-uuid", "path"}));
  ASSIGN_OR_RETURN(const auto uuid, TextField(disk, "luks-uuid"));
  ASSIGN_OR_RETURN(const auto path, TextField(disk, "path"));
  if (!uuid.empty() && !path.empty()) {
    return BadJob("disk names both a luks-uuid and a path");
  }
  return uuid.empty() ? path : "UUID=" + Lower(uuid);
}

}  // namespace

Result<etcd::Strategy> ParseStrategy(std::string_view name) {
  if (name == etcd::Name(etcd::Strategy::kForceNewCluster)) {
    return etcd::Strategy::kForceNewCluster;
  }
  return Fail(
      ErrorKind::kUsage, "unknown-strategy",
      fmt::format("choose strategy {}: there is only force-new-cluster", Printable(name, 40)));
}

Result<Job> ParseJob(std::string_view text) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return BadJob("it is not a JSON object");
  RETURN_IF_ERROR(CheckFields(
      document, "", {"version", "strategy", "accept-cut-tail", "disk", "consent", "secret"}));
  const auto version = document.find("version");
  if (version == document.end() || *version != 1) return BadJob("version is not 1");

  Job job;
  ASSIGN_OR_RETURN(const auto strategy, TextField(document, "strategy"));
  if (!strategy.empty()) {
    ASSIGN_OR_RETURN(job.strategy, ParseStrategy(strategy));
  }
  if (const auto cut = document.find("accept-cut-tail"); cut != document.end()) {
    if (!cut->is_boolean()) return BadJob("accept-cut-tail is not true or false");
    job.accept_cut_tail = cut->get<bool>();
  }
  ASSIGN_OR_RETURN(job.disk, ReadDisk(document));
  ASSIGN_OR_RETURN(const json consent, ObjectField(document, "consent"));
  RETURN_IF_ERROR(CheckFields(consent, "consent.", {"luks-uuid"}));
  ASSIGN_OR_RETURN(job.consent_luks_uuid, TextField(consent, "luks-uuid"));
  job.consent_luks_uuid = Lower(job.consent_luks_uuid);
  if (job.consent_luks_uuid.empty()) {
    return BadJob("consent.luks-uuid is missing: it names the disk that the job may change");
  }
  ASSIGN_OR_RETURN(const json secret, ObjectField(document, "secret"));
  RETURN_IF_ERROR(CheckFields(secret, "secret.", {"from"}));
  ASSIGN_OR_RETURN(const auto from, TextField(secret, "from"));
  if (!from.empty() && from != "credential") {
    return BadJob("secret.from is not \"credential\"");
  }
  return job;
}

}  // namespace rescue::session
