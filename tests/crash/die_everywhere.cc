// die-everywhere [--strategy NAME] [--leave-at N] DATA_DIR: lets an apply of this strategy
// (force-new-cluster) on this data directory die at every single operation of the executor, one
// after the other, and demands that undo gives back every byte, owner, mode and time. A restore
// with dozens of .snap files to move has hundreds of operations: then at the first and last ones,
// and at some between.
//
// With --leave-at N only one death, at operation N, and no undo: the directory stays as it is then,
// for somebody else to look at. Exit 0 and what the operation was, or 3 when the apply was over
// before (and is done).
//
// The deaths are those of edit/fault_file_system.h: the operation fails or is torn, and nothing
// after it reaches the disk. Exit 0 and one line with the number of deaths, or 1 and what was
// wrong.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "rescue/base/checksum.h"
#include "rescue/edit/executor.h"
#include "rescue/edit/fault_file_system.h"
#include "rescue/etcd/inspect.h"
#include "rescue/etcd/plan.h"
#include "rescue/session/target.h"

namespace rescue {
namespace {

struct Entry {
  FileStatus status;
  std::uint32_t checksum = 0;
  bool operator==(const Entry&) const = default;
};
using Tree = std::map<std::string, Entry>;

// Checksums of files, remembered for large ones by what the kernel alone sets: a file whose change
// time is the same holds the same bytes, whatever was done to its modification time. Without this,
// a death costs as long as reading the whole directory.
class Checksums {
 public:
  explicit Checksums(std::string directory) : directory_(std::move(directory)) {}

  Result<std::uint32_t> Of(const FileView& files, const std::string& path) {
    struct stat now = {};
    if (::stat(JoinPath(directory_, path).c_str(), &now) != 0) {
      return FailErrno("stat", path, errno);
    }
    // A file that changed within this tick of the clock may change again with the same time.
    timespec tick = {};
    ::clock_gettime(CLOCK_REALTIME_COARSE, &tick);
    const bool settled =
        std::tie(now.st_ctim.tv_sec, now.st_ctim.tv_nsec) < std::tie(tick.tv_sec, tick.tv_nsec);
    if (now.st_size < kRememberedBytes || !settled) return Compute(files, path);
    const Known key{now.st_ino, now.st_ctim.tv_sec, now.st_ctim.tv_nsec, now.st_size};
    if (const auto found = known_.find(key); found != known_.end()) return found->second;
    ASSIGN_OR_RETURN(const std::uint32_t checksum, Compute(files, path));
    known_[key] = checksum;
    return checksum;
  }

 private:
  using Known = std::tuple<ino_t, time_t, long, off_t>;
  // Smaller ones cost next to nothing.
  static constexpr off_t kRememberedBytes = 1 << 20;

  // Pieces of zeros count by their place only: a log segment is 64 MB, nearly all of it zeros.
  static Result<std::uint32_t> Compute(const FileView& files, const std::string& path) {
    constexpr std::uint64_t kPiece = 1 << 20;
    static const Bytes kZeros(kPiece);
    ASSIGN_OR_RETURN(const auto file, files.Open(path));
    std::uint32_t checksum = 0;
    for (std::uint64_t at = 0; at < file->size(); at += kPiece) {
      ASSIGN_OR_RETURN(const Bytes piece,
                       ReadExactly(*file, at, std::min(kPiece, file->size() - at)));
      if (Equal(piece, ByteView(kZeros).first(piece.size()))) continue;
      checksum = Crc32c(checksum, AsBytes(fmt::format("{}:", at)));
      checksum = Crc32c(checksum, piece);
    }
    return checksum;
  }

  std::string directory_;
  std::map<Known, std::uint32_t> known_;
};

Status Collect(const FileView& files, const std::string& path, Checksums& checksums, Tree& tree) {
  Entry entry;
  ASSIGN_OR_RETURN(entry.status, files.Stat(path));
  if (entry.status.type == FileType::kRegular) {
    ASSIGN_OR_RETURN(entry.checksum, checksums.Of(files, path));
  }
  const bool directory = entry.status.type == FileType::kDirectory;
  tree[path] = std::move(entry);
  if (!directory) return {};
  ASSIGN_OR_RETURN(const auto entries, files.List(path));
  for (const auto& child : entries)
    RETURN_IF_ERROR(Collect(files, JoinPath(path, child.name), checksums, tree));
  return {};
}

tl::unexpected<Error> Wrong(std::string message) {
  return Fail(ErrorKind::kVerificationFailed, "not-as-before", std::move(message));
}

// One apply that dies at operation `at` (never: nullopt), and the undo behind it.
struct Death {
  bool died = false;  // false: the apply was over before
  std::uint64_t operations = 0;
};
Result<Death> DieOnce(const session::Target& target, const edit::EditList& edits,
                      std::optional<std::uint64_t> at, bool effective) {
  testing::FaultScript script;
  script.fail_at = at;
  script.after = testing::FaultScript::After::kDead;
  script.tear = 7;
  script.effective = effective;
  testing::FaultFileSystem data(*target.data, script);
  testing::FaultFileSystem journals(*target.journal.files, script);
  const auto applied =
      edit::Apply(data, journals, target.journal.directory, edits, "die-everywhere");
  if (!script.fired && !applied) return Fail(applied.error());
  const auto undone = edit::Undo(*target.data, *target.journal.files, target.journal.directory);
  const bool early = script.fired && !undone && undone.error().code == "nothing-to-undo";
  if (!undone && !early) return Fail(undone.error());
  return Death{script.fired, script.operations};
}

Result<std::string> LeaveAt(const std::string& directory, const etcd::Wishes& wishes,
                            std::uint64_t at, bool& died) {
  ASSIGN_OR_RETURN(const session::Target target, session::OpenDirectory(directory, ""));
  ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, {false, {}}));
  ASSIGN_OR_RETURN(const auto plan, etcd::MakePlan(*target.data, findings, wishes));
  testing::FaultScript script;
  script.fail_at = at;
  script.after = testing::FaultScript::After::kDead;
  testing::FaultFileSystem data(*target.data, script);
  testing::FaultFileSystem journals(*target.journal.files, script);
  const auto applied =
      edit::Apply(data, journals, target.journal.directory, plan.edits, "die-everywhere");
  if (!script.fired && !applied) return Fail(applied.error());
  died = script.fired;
  if (!died) return fmt::format("over after {} operations", script.operations);
  return fmt::format("died before operation {}: {}", at, script.log.at(at));
}

// Where to die among so many operations.
std::vector<std::uint64_t> Places(std::uint64_t operations) {
  constexpr std::uint64_t kAtEachEnd = 20;
  constexpr std::uint64_t kBetween = 20;
  std::vector<std::uint64_t> places;
  const std::uint64_t step = std::max<std::uint64_t>(operations / kBetween, 1);
  for (std::uint64_t at = 0; at < operations; ++at) {
    const bool end = at < kAtEachEnd || at + kAtEachEnd >= operations;
    if (end || operations <= 2 * kAtEachEnd + kBetween || at % step == 0) places.push_back(at);
  }
  return places;
}

Status CheckSame(const Tree& before, const Tree& after, std::string_view when) {
  for (const auto& [path, entry] : before) {
    if (!after.contains(path) || after.at(path) != entry) {
      return Wrong(fmt::format("{}: {} is not as before", when, path));
    }
  }
  if (after.size() != before.size()) return Wrong(fmt::format("{}: something is left", when));
  return {};
}

Result<std::string> DieEverywhere(const std::string& directory, const etcd::Wishes& wishes) {
  ASSIGN_OR_RETURN(const session::Target target, session::OpenDirectory(directory, ""));
  ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, {false, {}}));
  ASSIGN_OR_RETURN(const auto plan, etcd::MakePlan(*target.data, findings, wishes));
  if (plan.nothing_to_do()) return Wrong("there is nothing to apply");
  Checksums checksums(directory);
  Tree before;
  RETURN_IF_ERROR(Collect(*target.data, "", checksums, before));
  const auto check = [&](std::string_view when) -> Status {
    Tree after;
    RETURN_IF_ERROR(Collect(*target.data, "", checksums, after));
    return CheckSame(before, after, when);
  };
  ASSIGN_OR_RETURN(const Death whole, DieOnce(target, plan.edits, std::nullopt, false));
  RETURN_IF_ERROR(check("apply and undo"));
  // So that the place of the journals is made anew, and the apply dies there, too.
  std::filesystem::remove_all(target.journal.display_path);
  std::size_t deaths = 0;
  for (const bool effective : {false, true}) {
    for (const std::uint64_t at : Places(whole.operations)) {
      ASSIGN_OR_RETURN(const Death death, DieOnce(target, plan.edits, at, effective));
      RETURN_IF_ERROR(check(fmt::format("death at operation {}", at)));
      if (!death.died) break;
      ++deaths;
    }
  }
  return fmt::format("{} deaths in an apply of {} operations, undone to the byte each time", deaths,
                     whole.operations);
}

}  // namespace
}  // namespace rescue

int main(int argc, char** argv) {
  using rescue::etcd::Strategy;
  rescue::etcd::Wishes wishes;
  std::optional<std::uint64_t> leave_at;
  std::vector<std::string> arguments(argv + 1, argv + argc);
  bool understood = true;
  while (understood && arguments.size() >= 3) {
    if (arguments[0] == "--leave-at") {
      leave_at = std::strtoull(arguments[1].c_str(), nullptr, 10);
    } else if (arguments[0] == "--strategy" && arguments[1] == Name(Strategy::kRestore)) {
      wishes.strategy = Strategy::kRestore;
      wishes.token = "die-everywhere";
    } else {
      understood = arguments[0] == "--strategy" && arguments[1] == Name(Strategy::kForceNewCluster);
    }
    arguments.erase(arguments.begin(), arguments.begin() + 2);
  }
  if (!understood || arguments.size() != 1) {
    fmt::print(stderr,
               "usage: die-everywhere [--strategy force-new-cluster|restore] [--leave-at N] "
               "DATA_DIR\n");
    return 2;
  }
  bool died = true;
  const auto outcome = leave_at ? rescue::LeaveAt(arguments.back(), wishes, *leave_at, died)
                                : rescue::DieEverywhere(arguments.back(), wishes);
  if (!outcome) {
    fmt::print(stderr, "{}\n", outcome.error().message);
    return 1;
  }
  fmt::print("{}\n", *outcome);
  return died ? 0 : 3;
}
