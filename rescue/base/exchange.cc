#include "rescue/base/exchange.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>

#include "rescue/base/real_file_system.h"

namespace rescue {
namespace {

std::string LastName(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return std::string(slash == std::string_view::npos ? path : path.substr(slash + 1));
}

tl::unexpected<Error> Unsupported(std::string_view first, std::string_view second) {
  return Fail(ErrorKind::kRefused, "unsupported",
              fmt::format("exchange {} and {}: this file system cannot do it in one step",
                          Printable(first), Printable(second)),
              "ext4, xfs and btrfs can");
}

Status ExchangeReal(const RealFileSystem& files, std::string_view first, std::string_view second) {
  if (first.empty() || second.empty()) return Unsupported(first, second);
  ASSIGN_OR_RETURN(const UniqueFd one,
                   files.OpenDescriptor(ParentPath(first), O_PATH | O_DIRECTORY));
  ASSIGN_OR_RETURN(const UniqueFd other,
                   files.OpenDescriptor(ParentPath(second), O_PATH | O_DIRECTORY));
  if (::renameat2(one.get(), LastName(first).c_str(), other.get(), LastName(second).c_str(),
                  RENAME_EXCHANGE) == 0) {
    return {};
  }
  if (errno == EINVAL || errno == ENOSYS) return Unsupported(first, second);
  return FailErrno("exchange", Printable(first), errno);
}

}  // namespace

Status Exchange(FileSystem& files, std::string_view first, std::string_view second) {
  if (auto* able = dynamic_cast<ExchangingFileSystem*>(&files)) {
    return able->Exchange(first, second);
  }
  if (const auto* real = dynamic_cast<const RealFileSystem*>(&files)) {
    return ExchangeReal(*real, first, second);
  }
  return Unsupported(first, second);
}

RangeCopier::RangeCopier(FileSystem& files, std::string_view path, const ReadableFile& from) {
  const auto* real = dynamic_cast<const RealFileSystem*>(&files);
  const auto* described = dynamic_cast<const DescribedFile*>(&from);
  if (real == nullptr || described == nullptr) return;
  auto to = real->OpenDescriptor(path, O_WRONLY);
  if (!to) return;
  from_ = described->descriptor();
  to_ = *std::move(to);
}

std::uint64_t RangeCopier::Copy(std::uint64_t offset, std::uint64_t length) const {
  if (!to_) return 0;
  std::uint64_t done = 0;
  while (done < length) {
    auto read_at = static_cast<off_t>(offset + done);
    auto write_at = read_at;
    const ssize_t copied =
        ::copy_file_range(from_, &read_at, to_.get(), &write_at, length - done, 0);
    if (copied < 0 && errno == EINTR) continue;
    if (copied <= 0) break;
    done += static_cast<std::uint64_t>(copied);
  }
  return done;
}

void StartWriting(FileSystem& files, std::string_view path, std::uint64_t offset,
                  std::uint64_t length) {
  const auto* real = dynamic_cast<const RealFileSystem*>(&files);
  if (real == nullptr) return;
  const auto fd = real->OpenDescriptor(path, O_WRONLY);
  if (!fd) return;
  (void)::sync_file_range(fd->get(), static_cast<off_t>(offset), static_cast<off_t>(length),
                          SYNC_FILE_RANGE_WRITE);
}

}  // namespace rescue
