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
  RETURN_IF_ERROR(CheckFields(disk, "disk.", {"luks-uuid", "path", "uuid", "label", "serial"}));
  if (disk.size() > 1) return BadJob("disk is named in more than one way");
  ASSIGN_OR_RETURN(const auto path, TextField(disk, "path"));
  if (!path.empty()) return path;
  for (const auto& [field, tag] : {std::pair{"luks-uuid", "UUID="}, std::pair{"uuid", "UUID="},
                                   std::pair{"label", "LABEL="}, std::pair{"serial", "SERIAL="}}) {
    ASSIGN_OR_RETURN(const auto value, TextField(disk, field));
    if (value.empty()) continue;
    return tag + (std::string_view(tag) == "UUID=" ? Lower(value) : value);
  }
  return std::string();
}

Result<disk::HeaderPolicy> ReadPolicy(const json& document) {
  disk::HeaderPolicy policy;
  ASSIGN_OR_RETURN(const auto profile, TextField(document, "profile"));
  if (!profile.empty()) {
    ASSIGN_OR_RETURN(policy.profile, ParseProfile(profile));
  }
  const auto found = document.find("accept-header");
  if (found == document.end()) return policy;
  if (!found->is_array()) return BadJob("accept-header is not a list of codes");
  for (const auto& code : *found) {
    if (!code.is_string()) return BadJob("accept-header is not a list of codes");
    RETURN_IF_ERROR(AcceptByName("header:" + code.get<std::string>(), policy));
  }
  return policy;
}

// The one disk that may be changed.
Result<std::string> ReadConsent(const json& document) {
  ASSIGN_OR_RETURN(const json consent, ObjectField(document, "consent"));
  RETURN_IF_ERROR(CheckFields(consent, "consent.", {"luks-uuid", "uuid"}));
  ASSIGN_OR_RETURN(const auto luks, TextField(consent, "luks-uuid"));
  ASSIGN_OR_RETURN(const auto uuid, TextField(consent, "uuid"));
  if (!luks.empty() && !uuid.empty()) return BadJob("consent names both a luks-uuid and a uuid");
  return luks.empty() ? uuid : Lower(luks);
}

Status ReadFlag(const json& object, const char* field, bool& into) {
  const auto found = object.find(field);
  if (found == object.end()) return {};
  if (!found->is_boolean()) return BadJob(fmt::format("{} is not true or false", field));
  into = found->get<bool>();
  return {};
}

Status ReadPeerUrls(const json& document, std::vector<std::string>& into) {
  const auto found = document.find("peer-urls");
  if (found == document.end()) return {};
  if (!found->is_array() || found->empty()) return BadJob("peer-urls is not a list of URLs");
  for (const auto& url : *found) {
    if (!url.is_string()) return BadJob("peer-urls is not a list of URLs");
    into.push_back(url.get<std::string>());
  }
  return {};
}

Result<etcd::Wishes> ReadWishes(const json& document) {
  etcd::Wishes wishes;
  ASSIGN_OR_RETURN(const auto strategy, TextField(document, "strategy"));
  if (!strategy.empty()) {
    ASSIGN_OR_RETURN(wishes.strategy, ParseStrategy(strategy));
  }
  ASSIGN_OR_RETURN(const auto commit, TextField(document, "commit"));
  if (!commit.empty()) {
    ASSIGN_OR_RETURN(wishes.commit, ParseCommitLimit(commit));
  }
  RETURN_IF_ERROR(ReadFlag(document, "accept-cut-tail", wishes.accept_cut_tail));
  RETURN_IF_ERROR(ReadFlag(document, "accept-loss", wishes.accept_loss));
  RETURN_IF_ERROR(ReadFlag(document, "mark-compacted", wishes.mark_compacted));
  RETURN_IF_ERROR(ReadFlag(document, "clear-alarms", wishes.clear_alarms));
  RETURN_IF_ERROR(ReadFlag(document, "keep-ids", wishes.keep_ids));
  if (const auto bump = document.find("bump-revision"); bump != document.end()) {
    if (!bump->is_number_unsigned()) return BadJob("bump-revision is not a number");
    wishes.bump_revision = bump->get<std::uint64_t>();
  }
  RETURN_IF_ERROR(ReadPeerUrls(document, wishes.peer_urls));
  ASSIGN_OR_RETURN(wishes.name, TextField(document, "name"));
  ASSIGN_OR_RETURN(wishes.token, TextField(document, "initial-cluster-token"));
  return wishes;
}

// Where the secret comes from; a job cannot name files.
Result<std::string> ReadSecretFrom(const json& document) {
  ASSIGN_OR_RETURN(const json secret, ObjectField(document, "secret"));
  RETURN_IF_ERROR(CheckFields(secret, "secret.", {"from"}));
  ASSIGN_OR_RETURN(auto from, TextField(secret, "from"));
  if (!from.empty() && from != "credential" && from != "tpm" && from != "prompt" &&
      from != "token") {
    return BadJob("secret.from is not \"credential\", \"tpm\", \"prompt\" or \"token\"");
  }
  return from;
}

Result<std::optional<SealJob>> ReadSeal(const json& document) {
  if (!document.contains("seal")) return std::nullopt;
  ASSIGN_OR_RETURN(const json object, ObjectField(document, "seal"));
  RETURN_IF_ERROR(CheckFields(object, "seal.", {"to", "disk-key", "pcr7", "pin", "replace"}));
  SealJob seal;
  ASSIGN_OR_RETURN(const auto to, TextField(object, "to"));
  ASSIGN_OR_RETURN(seal.to, ParseSealTo(to));
  ASSIGN_OR_RETURN(seal.disk_key, TextField(object, "disk-key"));
  seal.disk_key = Lower(seal.disk_key);
  RETURN_IF_ERROR(ReadFlag(object, "pcr7", seal.secure_boot));
  RETURN_IF_ERROR(ReadFlag(object, "pin", seal.pin));
  RETURN_IF_ERROR(ReadFlag(object, "replace", seal.replace));
  return std::optional<SealJob>(seal);
}

}  // namespace

Result<SealJob::To> ParseSealTo(std::string_view name) {
  if (name == "nv") return SealJob::To::kNv;
  if (name == "esp") return SealJob::To::kEsp;
  if (name == "console") return SealJob::To::kConsole;
  return BadJob("seal.to is not \"nv\", \"esp\" or \"console\"");
}

Result<etcd::Strategy> ParseStrategy(std::string_view name) {
  for (const auto strategy : {etcd::Strategy::kForceNewCluster, etcd::Strategy::kRestore}) {
    if (name == etcd::Name(strategy)) return strategy;
  }
  return Fail(ErrorKind::kUsage, "unknown-strategy",
              fmt::format("choose strategy {}: there are force-new-cluster and restore",
                          Printable(name, 40)));
}

Result<disk::Profile> ParseProfile(std::string_view name) {
  for (const auto profile : {disk::Profile::kConstellation, disk::Profile::kLuks2}) {
    if (name == disk::Name(profile)) return profile;
  }
  return Fail(
      ErrorKind::kUsage, "unknown-profile",
      fmt::format("take the profile {}: there are constellation and luks2", Printable(name, 40)));
}

Status AcceptByName(std::string_view name, disk::HeaderPolicy& policy) {
  constexpr std::string_view kPrefix = "header:";
  if (!name.starts_with(kPrefix)) {
    return Fail(ErrorKind::kUsage, "unknown-accept",
                fmt::format("accept {}: it does not start with header:", Printable(name, 40)),
                "write it as the refusal does: --accept header:CODE");
  }
  const std::string_view code = name.substr(kPrefix.size());
  RETURN_IF_ERROR(disk::CheckAcceptable(code));
  policy.accepted.insert(std::string(code));
  return {};
}

Result<etcd::CommitLimit> ParseCommitLimit(std::string_view name) {
  for (const auto limit : {etcd::CommitLimit::kLogEnd, etcd::CommitLimit::kKnown}) {
    if (name == etcd::Name(limit)) return limit;
  }
  return Fail(
      ErrorKind::kUsage, "unknown-commit",
      fmt::format("take {} as committed: there are log-end and known", Printable(name, 40)));
}

Result<Job> ParseJob(std::string_view text) {
  const json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return BadJob("it is not a JSON object");
  RETURN_IF_ERROR(CheckFields(
      document, "",
      {"version", "strategy", "accept-cut-tail", "accept-loss", "mark-compacted", "clear-alarms",
       "keep-ids", "bump-revision", "peer-urls", "name", "initial-cluster-token", "commit", "disk",
       "consent", "secret", "seal", "wal-dir", "profile", "accept-header"}));
  const auto version = document.find("version");
  if (version == document.end() || *version != 1) return BadJob("version is not 1");

  Job job;
  ASSIGN_OR_RETURN(job.wishes, ReadWishes(document));
  ASSIGN_OR_RETURN(job.disk, ReadDisk(document));
  ASSIGN_OR_RETURN(job.log_directory, TextField(document, "wal-dir"));
  ASSIGN_OR_RETURN(job.policy, ReadPolicy(document));
  ASSIGN_OR_RETURN(job.consent_luks_uuid, ReadConsent(document));
  ASSIGN_OR_RETURN(job.secret_from, ReadSecretFrom(document));
  ASSIGN_OR_RETURN(job.seal, ReadSeal(document));
  if (job.seal && (document.contains("disk") || document.contains("consent"))) {
    return BadJob("a job that seals names no disk");
  }
  if (job.seal && (job.secret_from == "tpm" || job.secret_from == "token")) {
    return BadJob("what is sealed cannot come from the TPM");
  }
  if (job.secret_from == "token") job.use_token = true;
  if (!job.seal && job.consent_luks_uuid.empty()) {
    return BadJob("consent.luks-uuid is missing: it names the disk that the job may change");
  }
  return job;
}

}  // namespace rescue::session
