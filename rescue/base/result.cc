#include "rescue/base/result.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace rescue {
namespace {

std::string_view CodeOf(int errno_value) {
  switch (errno_value) {
    case ENOENT:
    case ENOTDIR:
      return "not-found";
    case ENOSPC:
    case EDQUOT:
      return "no-space";
    case EEXIST:
      return "exists";
    case EROFS:
      return "read-only";
    case EACCES:
    case EPERM:
      return "permission";
    default:
      return "io";
  }
}

}  // namespace

tl::unexpected<Error> FailErrno(std::string_view operation, std::string_view object,
                                int errno_value) {
  const std::string reason = std::generic_category().message(errno_value);
  return Fail(errno_value == ENOSPC ? ErrorKind::kRefused : ErrorKind::kOther,
              std::string(CodeOf(errno_value)),
              fmt::format("{} {}: {}", operation, object, reason));
}

}  // namespace rescue
