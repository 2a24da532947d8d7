#include "rescue/secret/source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "rescue/base/unique_fd.h"
#include "rescue/base/units.h"

namespace rescue::secret {
namespace {

tl::unexpected<Error> NoSecret(const std::string& name, std::string_view why) {
  return Fail(ErrorKind::kCannotUnlock, "no-secret",
              fmt::format("read the secret from {}: {}", Printable(name), why),
              "give the master secret's file with --secret FILE, or - for standard input");
}

}  // namespace

Result<SecretBytes> ReadSecretFd(int fd, const std::string& name) {
  // One byte more than allowed, to see that there is too much.
  SecretBytes text(kMaxSecretText + 1);
  const auto into = text.Reveal();
  std::size_t have = 0;
  while (have < into.size()) {
    const ssize_t got = ::read(fd, into.data() + have, into.size() - have);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return NoSecret(name, std::strerror(errno));
    if (got == 0) break;
    have += static_cast<std::size_t>(got);
  }
  if (have == 0) return NoSecret(name, "it is empty");
  if (have > kMaxSecretText) {
    return Fail(ErrorKind::kCannotUnlock, "bad-secret",
                fmt::format("read the secret from {}: it is longer than {}", Printable(name),
                            FormatSize(kMaxSecretText)),
                "check that this is the secret's file and not another one");
  }
  text.Shrink(have);
  return text;
}

Result<SecretBytes> ReadSecretFile(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return NoSecret(path, std::strerror(errno));
  return ReadSecretFd(fd.get(), path);
}

}  // namespace rescue::secret
