#include "rescue/session/job.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <nlohmann/json.hpp>

#include "rescue/base/bytes.h"
#include "rescue/session/strict_json.h"

namespace rescue::session {
namespace {

using nlohmann::json;

tl::unexpected<Error> BadJob(std::string reason) {
  return Fail(ErrorKind::kUsage, "bad-job", "read the job: " + std::move(reason),
              "see rescue/session/job.schema.json, correct the document, and check it with "
              "etcd-rescue run --check");
}

// What an object may hold; job_test.cc holds these tables against job.schema.json.
struct ObjectFields {
  std::string_view object;  // "": the job itself
  std::vector<std::string_view> fields;
};

const std::vector<ObjectFields>& Known() {
  static const std::vector<std::string_view> kSelectors = {"luks-uuid", "path", "uuid", "label",
                                                           "serial"};
  static const std::vector<ObjectFields> kKnown = {
      {"", {"version",      "strategy",      "commit",
            "name",         "peer-urls",     "initial-cluster-token",
            "keep-ids",     "bump-revision", "mark-compacted",
            "clear-alarms", "accept-loss",   "accept-cut-tail",
            "wal-dir",      "disk",          "profile",
            "consent",      "accept-header", "secret",
            "seal",         "report",        "at-end",
            "at-failure",   "backup"}},
      {"disk", kSelectors},
      {"consent", {"luks-uuid", "uuid"}},
      {"secret", {"from"}},
      {"seal", {"to", "disk-key", "pcr7", "pin", "replace"}},
      {"backup", {"from", "to-revision", "accept-hash-mismatch", "discard-old"}},
      {"report", {"console", "volume", "disk", "path"}},
      {"report.disk", kSelectors},
  };
  return kKnown;
}

// An object of the job, and where it is in it: errors name the field in full.
class Fields {
 public:
  static Result<Fields> Of(const json& object, std::string where) {
    if (!object.is_object()) {
      return BadJob(where.empty() ? "it is not a JSON object" : where + ": not an object");
    }
    Fields fields(object, std::move(where));
    RETURN_IF_ERROR(fields.CheckKnown());
    return fields;
  }

  bool Has(const char* field) const { return object_->contains(field); }
  std::string Path(std::string_view field) const {
    return where_.empty() ? std::string(field) : where_ + "." + std::string(field);
  }
  tl::unexpected<Error> Bad(std::string_view field, std::string_view reason) const {
    return BadJob(fmt::format("{}: {}", Path(field), reason));
  }
  const json& operator[](const char* field) const { return (*object_)[field]; }

  // An object inside; an empty one when it is absent.
  Result<Fields> Object(const char* field) const {
    static const json kNone = json::object();
    return Of(Has(field) ? (*object_)[field] : kNone, Path(field));
  }
  // "" when absent.
  Result<std::string> Text(const char* field) const {
    if (!Has(field)) return std::string();
    const json& value = (*object_)[field];
    if (!value.is_string()) return Bad(field, "not a text");
    if (value.get_ref<const std::string&>().empty()) return Bad(field, "empty");
    return value.get<std::string>();
  }
  Status Flag(const char* field, bool& into) const {
    if (!Has(field)) return {};
    if (!(*object_)[field].is_boolean()) return Bad(field, "not true or false");
    into = (*object_)[field].get<bool>();
    return {};
  }
  // Texts; none when absent.
  Result<std::vector<std::string>> Texts(const char* field) const {
    std::vector<std::string> texts;
    if (!Has(field)) return texts;
    const json& list = (*object_)[field];
    if (!list.is_array() || list.empty()) return Bad(field, "not a list of texts");
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string place = fmt::format("{}[{}]", field, i);
      if (!list[i].is_string()) return Bad(place, "not a text");
      if (list[i].get_ref<const std::string&>().empty()) return Bad(place, "empty");
      texts.push_back(list[i].get<std::string>());
    }
    return texts;
  }

 private:
  Fields(const json& object, std::string where) : object_(&object), where_(std::move(where)) {}

  Status CheckKnown() const {
    const auto& known = Known();
    const auto here = std::find_if(known.begin(), known.end(),
                                   [&](const auto& entry) { return entry.object == where_; });
    for (const auto& [field, value] : object_->items()) {
      const auto& fields = here->fields;
      if (std::find(fields.begin(), fields.end(), field) != fields.end()) continue;
      return Bad(Printable(field, 60), "unknown field");
    }
    return {};
  }

  const json* object_;
  std::string where_;
};

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return text;
}

// A reader of names, whose error becomes one of this field.
template <typename Parse>
auto Named(const Fields& fields, const char* field, const std::string& name, const Parse& parse)
    -> decltype(parse(name)) {
  auto value = parse(name);
  if (!value) return fields.Bad(field, value.error().message);
  return value;
}

Result<std::string> ReadSelector(const Fields& document) {
  ASSIGN_OR_RETURN(const auto disk, document.Object("disk"));
  std::string selector;
  int ways = 0;
  for (const auto& [field, tag] :
       {std::pair{"path", ""}, std::pair{"luks-uuid", "UUID="}, std::pair{"uuid", "UUID="},
        std::pair{"label", "LABEL="}, std::pair{"serial", "SERIAL="}}) {
    ASSIGN_OR_RETURN(const auto value, disk.Text(field));
    if (value.empty()) continue;
    if (++ways > 1) return document.Bad("disk", "named in more than one way");
    selector = tag + (std::string_view(tag) == "UUID=" ? Lower(value) : value);
  }
  if (document.Has("disk") && ways == 0) return document.Bad("disk", "names no disk");
  return selector;
}

Result<disk::HeaderPolicy> ReadPolicy(const Fields& document) {
  disk::HeaderPolicy policy;
  ASSIGN_OR_RETURN(const auto profile, document.Text("profile"));
  if (!profile.empty()) {
    ASSIGN_OR_RETURN(policy.profile, Named(document, "profile", profile, ParseProfile));
  }
  ASSIGN_OR_RETURN(const auto codes, document.Texts("accept-header"));
  for (const auto& code : codes) {
    if (const Status taken = AcceptByName("header:" + code, policy); !taken) {
      return document.Bad("accept-header", taken.error().message);
    }
  }
  return policy;
}

// The one disk that may be changed.
Result<std::string> ReadConsent(const Fields& document) {
  ASSIGN_OR_RETURN(const auto consent, document.Object("consent"));
  ASSIGN_OR_RETURN(const auto luks, consent.Text("luks-uuid"));
  ASSIGN_OR_RETURN(const auto uuid, consent.Text("uuid"));
  if (!luks.empty() && !uuid.empty()) {
    return document.Bad("consent", "names both a luks-uuid and a uuid");
  }
  return luks.empty() ? uuid : Lower(luks);
}

Result<etcd::Wishes> ReadWishes(const Fields& document) {
  etcd::Wishes wishes;
  ASSIGN_OR_RETURN(const auto strategy, document.Text("strategy"));
  if (!strategy.empty()) {
    ASSIGN_OR_RETURN(wishes.strategy, Named(document, "strategy", strategy, ParseStrategy));
  }
  ASSIGN_OR_RETURN(const auto commit, document.Text("commit"));
  if (!commit.empty()) {
    ASSIGN_OR_RETURN(wishes.commit, Named(document, "commit", commit, ParseCommitLimit));
  }
  RETURN_IF_ERROR(document.Flag("accept-cut-tail", wishes.accept_cut_tail));
  RETURN_IF_ERROR(document.Flag("accept-loss", wishes.accept_loss));
  RETURN_IF_ERROR(document.Flag("mark-compacted", wishes.mark_compacted));
  RETURN_IF_ERROR(document.Flag("clear-alarms", wishes.clear_alarms));
  RETURN_IF_ERROR(document.Flag("keep-ids", wishes.keep_ids));
  if (document.Has("bump-revision")) {
    const json& bump = document["bump-revision"];
    if (!bump.is_number_unsigned()) return document.Bad("bump-revision", "not a whole number");
    wishes.bump_revision = bump.get<std::uint64_t>();
  }
  ASSIGN_OR_RETURN(wishes.peer_urls, document.Texts("peer-urls"));
  ASSIGN_OR_RETURN(wishes.name, document.Text("name"));
  ASSIGN_OR_RETURN(wishes.token, document.Text("initial-cluster-token"));
  return wishes;
}

Result<BackupWishes> ReadBackup(const Fields& document, etcd::Strategy strategy) {
  BackupWishes backup;
  if (!document.Has("backup")) return backup;
  ASSIGN_OR_RETURN(const auto object, document.Object("backup"));
  ASSIGN_OR_RETURN(backup.from, object.Text("from"));
  if (backup.from.empty()) return object.Bad("from", "missing: it names the backup");
  if (strategy != etcd::Strategy::kRestore) {
    return document.Bad("strategy", "not \"restore\", which a backup belongs to");
  }
  if (object.Has("to-revision")) {
    const json& revision = object["to-revision"];
    if (!revision.is_number_unsigned()) return object.Bad("to-revision", "not a whole number");
    backup.to_revision = revision.get<std::uint64_t>();
  }
  RETURN_IF_ERROR(object.Flag("accept-hash-mismatch", backup.accept_hash_mismatch));
  RETURN_IF_ERROR(object.Flag("discard-old", backup.discard_old));
  return backup;
}

// Where the secret comes from; a job cannot name files.
Status ReadSecretFrom(const Fields& document, Job& job) {
  ASSIGN_OR_RETURN(const auto secret, document.Object("secret"));
  ASSIGN_OR_RETURN(job.secret_from, secret.Text("from"));
  if (job.secret_from == "token") {
    job.secret_from.clear();
    job.use_token = true;
    return {};
  }
  const auto& from = job.secret_from;
  if (!from.empty() && from != "credential" && from != "tpm" && from != "prompt") {
    return secret.Bad("from", "not \"credential\", \"tpm\", \"token\" or \"prompt\"");
  }
  return {};
}

Result<std::optional<SealJob>> ReadSeal(const Fields& document) {
  if (!document.Has("seal")) return std::nullopt;
  ASSIGN_OR_RETURN(const auto object, document.Object("seal"));
  SealJob seal;
  if (!object.Has("to")) return object.Bad("to", "missing: \"nv\", \"esp\" or \"console\"");
  ASSIGN_OR_RETURN(const auto to, object.Text("to"));
  ASSIGN_OR_RETURN(seal.to, ParseSealTo(to));
  ASSIGN_OR_RETURN(seal.disk_key, object.Text("disk-key"));
  seal.disk_key = Lower(seal.disk_key);
  RETURN_IF_ERROR(object.Flag("pcr7", seal.secure_boot));
  RETURN_IF_ERROR(object.Flag("pin", seal.pin));
  RETURN_IF_ERROR(object.Flag("replace", seal.replace));
  return std::optional<SealJob>(seal);
}

Result<ReportWish> ReadReport(const Fields& document) {
  ASSIGN_OR_RETURN(const auto object, document.Object("report"));
  ReportWish report;
  RETURN_IF_ERROR(object.Flag("console", report.console));
  RETURN_IF_ERROR(object.Flag("volume", report.volume));
  ASSIGN_OR_RETURN(report.disk, ReadSelector(object));
  ASSIGN_OR_RETURN(auto path, object.Text("path"));
  if (path.empty()) return report;
  if (report.disk.empty()) return object.Bad("path", "there is no report.disk that it would be on");
  report.path = std::move(path);
  return report;
}

Result<std::optional<AtEnd>> ReadAtEnd(const Fields& document, const char* field) {
  ASSIGN_OR_RETURN(const auto text, document.Text(field));
  if (text.empty()) return std::nullopt;
  for (const auto at_end : {AtEnd::kWait, AtEnd::kPowerOff, AtEnd::kReboot}) {
    if (text == Name(at_end)) return std::optional(at_end);
  }
  return document.Bad(field, "not \"power-off\", \"reboot\" or \"wait\"");
}

// What fits each field, but not together.
Status CheckTogether(const Fields& document, const Job& job, JobUse use) {
  if (!job.seal) {
    if (!job.consent_luks_uuid.empty() || use == JobUse::kLook) return {};
    return document.Bad("consent.luks-uuid", "missing: it names the disk that the job may change");
  }
  for (const char* field : {"disk", "consent", "report", "backup"}) {
    if (document.Has(field)) return document.Bad(field, "a job that seals names no disk");
  }
  if (job.secret_from == "tpm" || job.use_token) {
    return document.Bad("secret.from", "what is sealed cannot come from the TPM");
  }
  return {};
}

}  // namespace

Result<SealJob::To> ParseSealTo(std::string_view name) {
  if (name == "nv") return SealJob::To::kNv;
  if (name == "esp") return SealJob::To::kEsp;
  if (name == "console") return SealJob::To::kConsole;
  return BadJob("seal.to: not \"nv\", \"esp\" or \"console\"");
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

std::string_view Name(AtEnd at_end) {
  switch (at_end) {
    case AtEnd::kWait:
      return "wait";
    case AtEnd::kPowerOff:
      return "power-off";
    case AtEnd::kReboot:
      return "reboot";
  }
  return "?";
}

std::vector<std::string> JobFields() {
  std::vector<std::string> names;
  for (const auto& [object, fields] : Known()) {
    for (const auto field : fields) {
      names.push_back(object.empty() ? std::string(field) : fmt::format("{}.{}", object, field));
    }
  }
  return names;
}

Result<Job> ParseJob(std::string_view text) {
  const auto parsed = ParseStrictJson(text);
  if (!parsed) return BadJob(parsed.error().message);
  return ReadJob(*parsed, JobUse::kChange);
}

Result<Job> ReadJob(const json& given, JobUse use) {
  ASSIGN_OR_RETURN(const auto document, Fields::Of(given, ""));
  if (!document.Has("version") || document["version"] != 1) return document.Bad("version", "not 1");

  Job job;
  ASSIGN_OR_RETURN(job.wishes, ReadWishes(document));
  ASSIGN_OR_RETURN(job.backup, ReadBackup(document, job.wishes.strategy));
  ASSIGN_OR_RETURN(job.disk, ReadSelector(document));
  ASSIGN_OR_RETURN(job.log_directory, document.Text("wal-dir"));
  ASSIGN_OR_RETURN(job.policy, ReadPolicy(document));
  ASSIGN_OR_RETURN(job.consent_luks_uuid, ReadConsent(document));
  RETURN_IF_ERROR(ReadSecretFrom(document, job));
  ASSIGN_OR_RETURN(job.seal, ReadSeal(document));
  ASSIGN_OR_RETURN(job.report, ReadReport(document));
  ASSIGN_OR_RETURN(job.at_end, ReadAtEnd(document, "at-end"));
  ASSIGN_OR_RETURN(job.at_failure, ReadAtEnd(document, "at-failure"));
  RETURN_IF_ERROR(CheckTogether(document, job, use));
  return job;
}

}  // namespace rescue::session
