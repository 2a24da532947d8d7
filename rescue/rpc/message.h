// JSON-RPC 2.0: a record as a call, and what is sent back. PROTOCOL.md says what the methods are.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"
#include "rescue/rpc/record.h"

namespace rescue::rpc {

// JSON-RPC's own codes. Errors of the work itself have the exit code (1 to 10) as theirs.
inline constexpr int kParseError = -32700;
inline constexpr int kInvalidRequest = -32600;
inline constexpr int kMethodNotFound = -32601;
inline constexpr int kInvalidParams = -32602;
inline constexpr int kBusy = -32000;  // something is running

// Why a call is not answered with a result.
struct RpcError {
  int code = kInvalidRequest;
  Error error;
  nlohmann::json report = nullptr;  // how far the work came; null: nothing was begun

  // Codes and exit code of an error of the work.
  static RpcError Of(Error error) {
    const int code = static_cast<int>(error.kind);
    return {code, std::move(error)};
  }
};

struct Call {
  nlohmann::json id;  // null with is_notification
  bool is_notification = false;
  std::string method;
  nlohmann::json params = nlohmann::json::object();
  std::optional<SecretBytes> secret;  // params.secret, which then is the number 0
};

// What is wrong with a record, and whom it concerns: id is null when that is not known.
struct BadCall {
  nlohmann::json id;
  RpcError error;
};

// Refuses batches, unknown members, params that are no object. No error quotes a value.
tl::expected<Call, BadCall> ReadCall(Record record);

// Records, ready to be sent.
std::string ResultRecord(const nlohmann::json& id, const nlohmann::json& result);
std::string ErrorRecord(const nlohmann::json& id, const RpcError& error);
std::string NotificationRecord(std::string_view method, const nlohmann::json& params);

// {"exit": 7, "code": "no-consent", "hint": "..."}: an error's `data`.
nlohmann::json ErrorData(const Error& error);

}  // namespace rescue::rpc
