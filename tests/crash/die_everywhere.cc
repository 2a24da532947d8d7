// die-everywhere [--strategy NAME] DATA_DIR: lets an apply of this strategy (force-new-cluster) on
// this data directory die at every single operation of the executor, one after the other, and
// demands that undo gives back every byte, owner, mode and time.
//
// The deaths are those of edit/fault_file_system.h: the operation fails or is torn, and nothing
// after it reaches the disk. Exit 0 and one line with the number of deaths, or 1 and what was
// wrong.
#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <string>
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
  Sha256Digest digest{};
  bool operator==(const Entry&) const = default;
};
using Tree = std::map<std::string, Entry>;

// Pieces of zeros count by their place only: a log segment is 64 MB, nearly all of it zeros, and it
// is looked at after every death.
Result<Sha256Digest> DigestOf(const FileView& files, const std::string& path) {
  constexpr std::uint64_t kPiece = 1 << 20;
  static const Bytes kZeros(kPiece);
  ASSIGN_OR_RETURN(const auto file, files.Open(path));
  Sha256Hasher hasher;
  for (std::uint64_t at = 0; at < file->size(); at += kPiece) {
    ASSIGN_OR_RETURN(const Bytes piece,
                     ReadExactly(*file, at, std::min(kPiece, file->size() - at)));
    if (Equal(piece, ByteView(kZeros).first(piece.size()))) continue;
    hasher.Update(AsBytes(fmt::format("{}:", at)));
    hasher.Update(piece);
  }
  return hasher.Finish();
}

Status Collect(const FileView& files, const std::string& path, Tree& tree) {
  Entry entry;
  ASSIGN_OR_RETURN(entry.status, files.Stat(path));
  if (entry.status.type == FileType::kRegular) {
    ASSIGN_OR_RETURN(entry.digest, DigestOf(files, path));
  }
  const bool directory = entry.status.type == FileType::kDirectory;
  tree[path] = std::move(entry);
  if (!directory) return {};
  ASSIGN_OR_RETURN(const auto entries, files.List(path));
  for (const auto& child : entries)
    RETURN_IF_ERROR(Collect(files, JoinPath(path, child.name), tree));
  return {};
}

tl::unexpected<Error> Wrong(std::string message) {
  return Fail(ErrorKind::kVerificationFailed, "not-as-before", std::move(message));
}

// One death at operation `at`, and the undo behind it; false when the apply was over before.
Result<bool> DieOnce(const session::Target& target, const edit::EditList& edits, std::uint64_t at,
                     bool effective) {
  testing::FaultScript script;
  script.fail_at = at;
  script.after = testing::FaultScript::After::kDead;
  script.tear = 7;
  script.effective = effective;
  testing::FaultFileSystem data(*target.data, script);
  testing::FaultFileSystem journals(*target.journal.files, script);
  const auto applied =
      edit::Apply(data, journals, target.journal.directory, edits, "die-everywhere");
  if (!script.fired) {
    if (!applied) return Fail(applied.error());
    RETURN_IF_ERROR(edit::Undo(*target.data, *target.journal.files, target.journal.directory));
    return false;
  }
  const auto undone = edit::Undo(*target.data, *target.journal.files, target.journal.directory);
  if (!undone && undone.error().code != "nothing-to-undo") return Fail(undone.error());
  return true;
}

Result<int> DieEverywhere(const std::string& directory, const etcd::Wishes& wishes) {
  ASSIGN_OR_RETURN(const session::Target target, session::OpenDirectory(directory, ""));
  ASSIGN_OR_RETURN(const auto findings, etcd::Inspect(*target.data, {false, {}}));
  ASSIGN_OR_RETURN(const auto plan, etcd::MakePlan(*target.data, findings, wishes));
  if (plan.nothing_to_do()) return Wrong("there is nothing to apply");
  Tree before;
  RETURN_IF_ERROR(Collect(*target.data, "", before));
  int deaths = 0;
  for (const bool effective : {false, true}) {
    for (std::uint64_t at = 0;; ++at) {
      ASSIGN_OR_RETURN(const bool died, DieOnce(target, plan.edits, at, effective));
      Tree after;
      RETURN_IF_ERROR(Collect(*target.data, "", after));
      for (const auto& [path, entry] : before) {
        if (!after.contains(path) || after.at(path) != entry) {
          return Wrong(fmt::format("death at operation {}: {} is not as before", at, path));
        }
      }
      if (after.size() != before.size()) {
        return Wrong(fmt::format("death at operation {}: something was left behind", at));
      }
      if (!died) break;
      ++deaths;
    }
  }
  return deaths;
}

}  // namespace
}  // namespace rescue

int main(int argc, char** argv) {
  using rescue::etcd::Strategy;
  rescue::etcd::Wishes wishes;
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  const bool chosen = arguments.size() == 3 && arguments[0] == "--strategy";
  if (chosen && arguments[1] == Name(Strategy::kRestore)) {
    wishes.strategy = Strategy::kRestore;
    wishes.token = "die-everywhere";
  } else if (arguments.size() != 1 &&
             !(chosen && arguments[1] == Name(Strategy::kForceNewCluster))) {
    fmt::print(stderr, "usage: die-everywhere [--strategy force-new-cluster|restore] DATA_DIR\n");
    return 2;
  }
  const auto deaths = rescue::DieEverywhere(arguments.back(), wishes);
  if (!deaths) {
    fmt::print(stderr, "{}\n", deaths.error().message);
    return 1;
  }
  fmt::print("{} deaths, undone to the byte each time\n", *deaths);
  return 0;
}
