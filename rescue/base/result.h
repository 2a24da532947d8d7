// Errors as values: every library room returns Result<T>; only the program layer prints or exits.
//
// An Error says what was done, to what, and why it failed, in one line; the hint says what to do
// next. The kind is the exit code (DESIGN section 7), the code a stable word for scripts.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace rescue {

// The numbers are the exit codes of the program and are documented in README and --help.
enum class ErrorKind : int {
  kOther = 1,
  kUsage = 2,
  kNoStateDisk = 3,          // no, or no unambiguous, state disk
  kCannotUnlock = 4,         // no key slot opens with this secret
  kVolumeRefused = 5,        // LUKS header or volume refused
  kDataDamaged = 6,          // beyond the chosen strategy
  kRefused = 7,              // refused for safety: in use, no space, plan stale, not confirmed
  kRolledBack = 8,           // apply failed and was rolled back
  kUnfinishedJournal = 9,    // an interrupted apply was found
  kVerificationFailed = 10,  // after apply
};

struct Error {
  ErrorKind kind = ErrorKind::kOther;
  std::string code;     // stable, kebab-case: "log-hole", "header-null-cipher"
  std::string message;  // one line: operation, object, reason
  std::string hint;     // one line for the operator: what to do next; may be empty

  bool operator==(const Error&) const = default;

  // Puts the larger operation in front: "read log: segment 3: short record".
  Error& Within(std::string_view operation) {
    message = std::string(operation) + ": " + message;
    return *this;
  }
};

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

inline tl::unexpected<Error> Fail(ErrorKind kind, std::string code, std::string message,
                                  std::string hint = {}) {
  return tl::unexpected<Error>(Error{kind, std::move(code), std::move(message), std::move(hint)});
}

inline tl::unexpected<Error> Fail(Error error) { return tl::unexpected<Error>(std::move(error)); }

// Fails with errno's text: "open member/snap/db: Permission denied".
tl::unexpected<Error> FailErrno(std::string_view operation, std::string_view object,
                                int errno_value);

}  // namespace rescue

#define RESCUE_CONCAT_INNER(a, b) a##b
#define RESCUE_CONCAT(a, b) RESCUE_CONCAT_INNER(a, b)

// RETURN_IF_ERROR(expression): leaves the function with the expression's error, if it has one.
#define RETURN_IF_ERROR(expression)                            \
  do {                                                         \
    if (auto rescue_status = (expression); !rescue_status)     \
      return ::rescue::Fail(std::move(rescue_status).error()); \
  } while (false)

// ASSIGN_OR_RETURN(declaration, expression): declares from the value, or leaves with the error.
#define ASSIGN_OR_RETURN(declaration, expression)                                      \
  auto RESCUE_CONCAT(rescue_result_, __LINE__) = (expression);                         \
  if (!RESCUE_CONCAT(rescue_result_, __LINE__))                                        \
    return ::rescue::Fail(std::move(RESCUE_CONCAT(rescue_result_, __LINE__)).error()); \
  declaration = *std::move(RESCUE_CONCAT(rescue_result_, __LINE__))
