#include "rescue/session/snapshot_save.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "rescue/base/units.h"
#include "rescue/bolt/check.h"
#include "rescue/etcd/inspect.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kPiece = kMiB;

void NoteTail(const etcd::Findings& findings, SavedSnapshot& saved) {
  saved.revision =
      std::max({std::uint64_t{1}, findings.backend->latest.main, findings.backend->compacted});
  saved.log_known = findings.log.has_value();
  if (!saved.log_known || findings.tail.entries == 0) return;
  saved.entries = findings.tail.entries;
  saved.last_index = findings.LastIndex();
  saved.first_index = saved.last_index - saved.entries + 1;
  saved.committed = saved.entries - std::min(saved.entries, findings.tail.above_commit);
  saved.may_write = findings.tail.may_write;
}

Status RefuseTail(const SavedSnapshot& saved) {
  if (!saved.log_known) {
    return Fail(ErrorKind::kRefused, "tail-not-in-snapshot",
                "save a snapshot with its tail: the log cannot be read, so nobody knows the tail",
                "inspect the data directory; without --with-tail the backend alone is saved");
  }
  if (saved.entries == 0) return {};
  return Fail(ErrorKind::kRefused, "tail-not-in-snapshot",
              fmt::format("save a snapshot with its tail: entries {} to {} are only in the log "
                          "({} may write), and a snapshot has no place for them",
                          saved.first_index, saved.last_index, saved.may_write),
              "rescue the survivor (apply), start etcd and let etcdctl save the snapshot; or save "
              "without --with-tail and do without them");
}

Status CheckPages(const ReadableFile& backend, const SaveRequest& request,
                  const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  if (!request.check_backend) return {};
  bolt::CheckOptions options;
  options.progress = [&](std::uint64_t done, std::uint64_t total) {
    if (progress) progress(done, total);
    return true;
  };
  ASSIGN_OR_RETURN(const auto check, bolt::Check(backend, options));
  if (check.clean()) return {};
  return Fail(
      ErrorKind::kDataDamaged, "backend-damaged",
      fmt::format("save a snapshot: {} damaged page(s), the first is {}: {}", check.problem_count,
                  check.problems.front().page, check.problems.front().reason),
      "use another survivor or a backup; `plan` says what a rescue would lose");
}

// OUT.part: gone again unless it was renamed.
class PartFile {
 public:
  static Result<PartFile> Create(const fs::path& out) {
    std::error_code error;
    if (fs::exists(fs::symlink_status(out, error))) {
      return Fail(ErrorKind::kUsage, "exists", fmt::format("save to {}: it exists", out.string()),
                  "name a new file");
    }
    PartFile part;
    part.out_ = out;
    part.path_ = out.string() + ".part";
    part.fd_ = UniqueFd(
        ::open(part.path_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (part.fd_) return part;
    if (errno == EEXIST) {
      part.path_.clear();
      return Fail(ErrorKind::kUsage, "exists",
                  fmt::format("save to {}: {}.part exists", out.string(), out.string()),
                  "an earlier save was interrupted, or runs: remove it if nothing runs");
    }
    const int reason = errno;
    part.path_.clear();
    if (reason == ENOENT || reason == ENOTDIR) {
      return Fail(ErrorKind::kUsage, "not-found",
                  fmt::format("save to {}: there is no such folder", out.string()),
                  "name a file in an existing folder");
    }
    return FailErrno("create", out.string() + ".part", reason);
  }
  ~PartFile() {
    if (!path_.empty()) (void)::unlink(path_.c_str());
  }
  PartFile(PartFile&& other) noexcept
      : out_(std::move(other.out_)),
        path_(std::exchange(other.path_, {})),
        fd_(std::move(other.fd_)) {}
  PartFile& operator=(PartFile&&) = delete;

  // Exact, before anything is written: a snapshot that does not fit is not begun.
  Status CheckSpace(std::uint64_t size) const {
    std::error_code error;
    const auto space = fs::space(path_, error);
    if (error || space.available >= size) return {};
    return Fail(ErrorKind::kRefused, "no-space",
                fmt::format("save to {}: {} are needed, {} are free", out_.string(),
                            FormatSize(size), FormatSize(space.available)),
                "name a file on a larger disk");
  }

  Status Write(ByteView bytes) {
    while (!bytes.empty()) {
      const ssize_t count = ::write(fd_.get(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return FailErrno("write", path_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
    return {};
  }

  // 1. content durable, 2. the name, 3. the name durable. A file of that name that appeared
  // meanwhile stays.
  Status Finish() {
    if (::fsync(fd_.get()) != 0) return FailErrno("flush", path_, errno);
    if (::renameat2(AT_FDCWD, path_.c_str(), AT_FDCWD, out_.c_str(), RENAME_NOREPLACE) != 0) {
      return FailErrno("rename", path_, errno);
    }
    path_.clear();
    const fs::path parent = out_.has_parent_path() ? out_.parent_path() : fs::path(".");
    const UniqueFd folder(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || ::fsync(folder.get()) != 0) return FailErrno("flush", parent.string(), errno);
    return {};
  }

 private:
  PartFile() = default;

  fs::path out_;
  std::string path_;
  UniqueFd fd_;
};

Status Copy(const ReadableFile& backend, std::uint64_t size, PartFile& part, Sha256Hasher& hasher,
            const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  for (std::uint64_t at = 0; at < size; at += kPiece) {
    ASSIGN_OR_RETURN(const Bytes piece, ReadExactly(backend, at, std::min(kPiece, size - at)));
    hasher.Update(piece);
    RETURN_IF_ERROR(part.Write(piece));
    if (progress) progress(at + piece.size(), size);
  }
  return {};
}

}  // namespace

Result<SavedSnapshot> SaveSnapshot(
    const Target& target, const SaveRequest& request,
    const std::function<void(std::uint64_t, std::uint64_t)>& progress) {
  etcd::InspectOptions quick;
  quick.check_backend = false;
  ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, quick));
  if (findings.backend_error) return Fail(*findings.backend_error);
  SavedSnapshot saved;
  saved.out = request.out;
  NoteTail(findings, saved);
  if (request.with_tail) RETURN_IF_ERROR(RefuseTail(saved));

  ASSIGN_OR_RETURN(const auto backend, target.data->Open(findings.backend_path));
  RETURN_IF_ERROR(CheckPages(*backend, request, progress));
  // The pages in use, as bbolt's Tx.WriteTo copies them (tx.go): what lies behind is allocated
  // ahead.
  const auto& meta = findings.backend->meta;
  const std::uint64_t pages_size = meta.high_water_mark * meta.page_size;
  saved.size = pages_size + saved.digest.size();
  ASSIGN_OR_RETURN(auto part, PartFile::Create(request.out));
  RETURN_IF_ERROR(part.CheckSpace(saved.size));
  Sha256Hasher hasher;
  RETURN_IF_ERROR(Copy(*backend, pages_size, part, hasher, progress));
  saved.digest = hasher.Finish();
  RETURN_IF_ERROR(part.Write(saved.digest));
  RETURN_IF_ERROR(part.Finish());
  return saved;
}

nlohmann::json ToJson(const SavedSnapshot& saved) {
  return {{"out", saved.out},
          {"size", saved.size},
          {"sha256", ToHex(saved.digest)},
          {"revision", saved.revision},
          {"log_only",
           {{"known", saved.log_known},
            {"entries", saved.entries},
            {"first_index", saved.first_index},
            {"last_index", saved.last_index},
            {"committed", saved.committed},
            {"may_write", saved.may_write}}}};
}

std::vector<std::string> ToText(const SavedSnapshot& saved) {
  std::vector<std::string> lines = {fmt::format("{:<12} {}: {}, revision {}", "saved", saved.out,
                                                FormatSize(saved.size), saved.revision),
                                    fmt::format("{:<12} {}", "SHA-256", ToHex(saved.digest))};
  if (!saved.log_known) {
    lines.push_back(fmt::format("{:<12} {}", "not in it",
                                "unknown: the log cannot be read; writes may be missing"));
  } else if (saved.entries == 0) {
    lines.push_back(fmt::format("{:<12} {}", "not in it", "nothing: the backend has it all"));
  } else {
    lines.push_back(
        fmt::format("{:<12} log entries {} to {} ({} of {} known committed; {} may "
                    "write keys)",
                    "not in it", saved.first_index, saved.last_index, saved.committed,
                    saved.entries, saved.may_write));
  }
  return lines;
}

}  // namespace rescue::session
