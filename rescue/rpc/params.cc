#include "rescue/rpc/params.h"

#include <algorithm>

#include "rescue/base/bytes.h"

namespace rescue::rpc {
namespace {

using nlohmann::json;

bool HasAny(const json& params, const std::vector<std::string_view>& fields) {
  return std::any_of(fields.begin(), fields.end(),
                     [&](std::string_view field) { return params.contains(field); });
}

}  // namespace

const std::vector<std::string_view>& DiskFields() {
  static const std::vector<std::string_view> kFields = {"disk", "profile", "accept-header",
                                                        "wal-dir", "secret"};
  return kFields;
}

const std::vector<std::string_view>& WishFields() {
  static const std::vector<std::string_view> kFields = {
      "strategy",      "commit",         "name",         "peer-urls",   "initial-cluster-token",
      "bump-revision", "mark-compacted", "clear-alarms", "accept-loss", "accept-cut-tail",
      "keep-ids"};
  return kFields;
}

tl::unexpected<RpcError> BadParams(std::string reason) {
  return tl::unexpected<RpcError>(
      RpcError{kInvalidParams,
               Error{ErrorKind::kUsage, "bad-params", "read the params: " + std::move(reason),
                     "see rescue/rpc/PROTOCOL.md"}});
}

tl::expected<void, RpcError> CheckParams(
    const json& params, std::initializer_list<std::vector<std::string_view>> allowed) {
  for (const auto& [field, value] : params.items()) {
    const std::string& name = field;
    const bool known = std::any_of(allowed.begin(), allowed.end(), [&](const auto& list) {
      return std::find(list.begin(), list.end(), name) != list.end();
    });
    if (!known) return BadParams(Printable(name, 60) + ": unknown field");
  }
  return {};
}

const session::Job& NothingSaid() {
  static const session::Job kNothing;
  return kNothing;
}

tl::expected<session::Job, RpcError> ReadJobParams(const json& params, const session::Job& said,
                                                   session::JobUse use) {
  json document = params;
  if (!document.contains("version")) document["version"] = 1;
  auto job = session::ReadJob(document, use);
  if (!job) {
    std::string reason = job.error().message;
    constexpr std::string_view kPrefix = "read the job: ";
    if (reason.starts_with(kPrefix)) reason.erase(0, kPrefix.size());
    return BadParams(std::move(reason));
  }
  if (!HasAny(params, DiskFields())) {
    job->disk = said.disk;
    job->policy = said.policy;
    job->log_directory = said.log_directory;
    job->secret_from = said.secret_from;
    job->use_token = said.use_token;
  }
  if (!HasAny(params, WishFields())) job->wishes = said.wishes;
  return *std::move(job);
}

tl::expected<bool, RpcError> Flag(const json& params, const char* field, bool otherwise) {
  const auto found = params.find(field);
  if (found == params.end()) return otherwise;
  if (!found->is_boolean()) return BadParams(std::string(field) + ": not true or false");
  return found->get<bool>();
}

tl::expected<std::string, RpcError> Text(const json& params, const char* field) {
  const auto found = params.find(field);
  if (found == params.end()) return std::string();
  if (!found->is_string()) return BadParams(std::string(field) + ": not a text");
  return found->get<std::string>();
}

}  // namespace rescue::rpc
