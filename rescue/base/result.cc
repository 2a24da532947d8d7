#include "rescue/base/result.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace rescue {

tl::unexpected<Error> FailErrno(std::string_view operation, std::string_view object,
                                int errno_value) {
  const std::string reason = std::generic_category().message(errno_value);
  const bool missing = errno_value == ENOENT || errno_value == ENOTDIR;
  return Fail(errno_value == ENOSPC ? ErrorKind::kRefused : ErrorKind::kOther,
              missing                 ? "not-found"
              : errno_value == ENOSPC ? "no-space"
              : errno_value == EEXIST ? "exists"
              : errno_value == EROFS  ? "read-only"
                                      : "io",
              fmt::format("{} {}: {}", operation, object, reason));
}

}  // namespace rescue
