#include "rescue/rpc/message.h"

#include <fmt/format.h>

#include <utility>

#include "rescue/rpc/lift_secret.h"
#include "rescue/session/strict_json.h"

namespace rescue::rpc {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxId = 128;
constexpr std::size_t kMaxMethod = 64;

tl::unexpected<BadCall> Bad(int code, json id, std::string word, std::string reason) {
  return tl::unexpected<BadCall>(BadCall{
      std::move(id),
      {code, Error{ErrorKind::kUsage, std::move(word), "read the message: " + std::move(reason),
                   "see rescue/rpc/PROTOCOL.md"}}});
}

bool IsId(const json& id) {
  if (id.is_string()) return id.get_ref<const std::string&>().size() <= kMaxId;
  return id.is_number_integer();
}

// Only ASCII leaves: a serial line may be narrower than bytes, and RS and LF are never inside.
std::string Send(const json& message) {
  return ToRecord(message.dump(-1, ' ', /*ensure_ascii=*/true, json::error_handler_t::replace));
}

// What was lifted must lie where unlock takes it: {"params": {"secret": ...}}, once.
bool SecretIsInPlace(const json& message, const Lifted& lifted) {
  if (lifted.count == 0) return true;
  if (lifted.count > 1) return false;
  const auto params = message.find("params");
  if (params == message.end() || !params->is_object()) return false;
  const auto secret = params->find("secret");
  return secret != params->end() && secret->is_number();
}

}  // namespace

tl::expected<Call, BadCall> ReadCall(Record record) {
  if (record.too_long) {
    return Bad(kInvalidRequest, nullptr, "record-too-long",
               fmt::format("it has more than {} bytes", kMaxRecord));
  }
  Lifted lifted = LiftSecret(record.text);
  const auto parsed = session::ParseStrictJson(AsText(std::as_const(record.text).Reveal()));
  if (!parsed) return Bad(kParseError, nullptr, "bad-json", parsed.error().message);
  const json& message = *parsed;
  if (message.is_array()) {
    return Bad(kInvalidRequest, nullptr, "no-batches", "it is a batch; send one call a record");
  }
  if (!message.is_object()) return Bad(kInvalidRequest, nullptr, "bad-call", "it is not an object");

  Call call;
  const auto id = message.find("id");
  call.is_notification = id == message.end();
  if (!call.is_notification) {
    if (!IsId(*id)) {
      return Bad(kInvalidRequest, nullptr, "bad-call",
                 fmt::format("id: not a whole number or a text of at most {} bytes", kMaxId));
    }
    call.id = *id;
  }
  for (const auto& [field, value] : message.items()) {
    if (field != "jsonrpc" && field != "id" && field != "method" && field != "params") {
      return Bad(kInvalidRequest, call.id, "bad-call", Printable(field, 60) + ": unknown field");
    }
  }
  if (message.value("jsonrpc", json()) != "2.0") {
    return Bad(kInvalidRequest, call.id, "bad-call", "jsonrpc: not \"2.0\"");
  }
  const auto method = message.find("method");
  if (method == message.end() || !method->is_string() ||
      method->get_ref<const std::string&>().size() > kMaxMethod) {
    return Bad(kInvalidRequest, call.id, "bad-call", "method: not a name");
  }
  call.method = method->get<std::string>();
  if (const auto params = message.find("params"); params != message.end()) {
    if (!params->is_object()) {
      return Bad(kInvalidRequest, call.id, "bad-call", "params: not an object");
    }
    call.params = *params;
  }
  if (!SecretIsInPlace(message, lifted)) {
    return Bad(kInvalidParams, call.id, "misplaced-secret",
               "a secret: only the parameter of unlock may be one");
  }
  call.secret = std::move(lifted.secret);
  return call;
}

std::string ResultRecord(const json& id, const json& result) {
  return Send({{"jsonrpc", "2.0"}, {"id", id}, {"result", result}});
}

std::string ErrorRecord(const json& id, const RpcError& error) {
  json data = ErrorData(error.error);
  if (!error.report.is_null()) data["report"] = error.report;
  return Send(
      {{"jsonrpc", "2.0"},
       {"id", id},
       {"error",
        {{"code", error.code}, {"message", error.error.message}, {"data", std::move(data)}}}});
}

std::string NotificationRecord(std::string_view method, const json& params) {
  return Send({{"jsonrpc", "2.0"}, {"method", method}, {"params", params}});
}

json ErrorData(const Error& error) {
  return {{"exit", static_cast<int>(error.kind)}, {"code", error.code}, {"hint", error.hint}};
}

}  // namespace rescue::rpc
