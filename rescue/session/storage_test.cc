// Where etcd's files may lie and what they may look like: the log elsewhere, links, owners and
// labels. Whatever is refused leaves everything as it was.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <filesystem>

#include "rescue/edit/edit.h"
#include "rescue/node/manifest_fixture.h"
#include "rescue/session/pipeline.h"
#include "rescue/session/survivor_damage.h"

namespace rescue::session {
namespace {

namespace fs = std::filesystem;
using rescue::testing::TemporaryDirectory;
using testing::Tree;
using testing::TreeOf;
using testing::Unpacked;

struct Silent final : Observer {};

struct Survivor : Unpacked {
  explicit Survivor(const std::string& name = "3614-snap") : Unpacked(name) {}

  fs::path Top() const { return directory.path(); }
  fs::path Log() const { return Top() / "log"; }  // elsewhere
  fs::path UsualLog() const { return Top() / "etcd/member/wal"; }
  // The data directory, the log elsewhere and journals.
  Tree All() const { return TreeOf(*RealFileSystem::OpenRoot(Top().string()).value()); }

  void MoveLog() const { fs::rename(UsualLog(), Log()); }
  void LinkLog(const fs::path& to) const { fs::create_directory_symlink(to, UsualLog()); }
};

Result<Outcome> RunOn(const Survivor& survivor, Command command, etcd::Strategy strategy,
                      const std::string& log_directory = {}) {
  Request request;
  request.command = command;
  request.data_directory = survivor.data();
  request.log_directory = log_directory;
  request.wishes.strategy = strategy;
  Silent silent;
  Outcome outcome;
  RETURN_IF_ERROR(Run(request, silent, outcome));
  return outcome;
}

Outcome MustRun(const Survivor& survivor, Command command, etcd::Strategy strategy,
                const std::string& log_directory = {}) {
  auto ran = RunOn(survivor, command, strategy, log_directory);
  if (!ran) FAIL(ran.error().message);
  return *std::move(ran);
}

constexpr auto kForce = etcd::Strategy::kForceNewCluster;
constexpr auto kRestore = etcd::Strategy::kRestore;

// No command gets further than this, and nothing is changed.
void CheckRefused(const Survivor& survivor, const std::string& code,
                  const std::string& log_directory = {}) {
  const Tree before = survivor.All();
  for (const auto command :
       {Command::kInspect, Command::kPlan, Command::kApply, Command::kVerify, Command::kUndo}) {
    const auto refused = RunOn(survivor, command, kRestore, log_directory);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == code);
    CHECK_FALSE(refused.error().hint.empty());
    CHECK(survivor.All() == before);
  }
}

// --- the log elsewhere, on this machine

TEST_CASE("UndoWithoutTheLogSaysWhatIsMissing") {
  const Survivor survivor("3614-snap");
  survivor.MoveLog();
  const std::string named = survivor.Log().string();
  MustRun(survivor, Command::kApply, kRestore, named);
  const Tree after = survivor.All();
  const auto refused = RunOn(survivor, Command::kUndo, kRestore);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == "changed-since");
  CHECK(refused.error().message.find("there is no member/wal here") != std::string::npos);
  CHECK(refused.error().hint.find("--wal-dir") != std::string::npos);
  CHECK(survivor.All() == after);
  MustRun(survivor, Command::kUndo, kRestore, named);
}

TEST_CASE("TheLogMayLieElsewhere") {
  const auto strategy = GENERATE(kForce, kRestore);
  const Survivor survivor(strategy == kForce ? "3423-leader-snap" : "3614-snap");
  survivor.MoveLog();
  std::string named;
  SECTION("named by the operator") { named = survivor.Log().string(); }
  SECTION("named, and something old at the usual place") {
    named = survivor.Log().string();
    fs::create_directory(survivor.UsualLog());
    rescue::testing::WriteFileBytes(survivor.UsualLog() / "0000000000000000-0000000000000000.wal",
                                    AsBytes("old"));
  }
  SECTION("behind an absolute link") { survivor.LinkLog(survivor.Log()); }
  SECTION("behind a relative link") { survivor.LinkLog("../../log"); }
  SECTION("named as the link") {
    survivor.LinkLog(survivor.Log());
    named = survivor.UsualLog().string();
  }
  const Tree before = survivor.All();

  const auto planned = MustRun(survivor, Command::kPlan, strategy, named);
  CHECK(fs::equivalent(planned.log_path, survivor.Log()));
  CHECK(survivor.All() == before);
  const auto applied = MustRun(survivor, Command::kApply, strategy, named);
  REQUIRE(applied.applied);
  const Tree after = survivor.All();
  for (const auto& [path, entry] : after) {
    if (path.starts_with("etcd/member/wal")) CHECK((entry == before.at(path)));
  }
  CHECK(MustRun(survivor, Command::kVerify, strategy, named).verdict->leads_alone);
  CHECK_FALSE(MustRun(survivor, Command::kApply, strategy, named).applied);
  MustRun(survivor, Command::kUndo, strategy, named);
  CHECK(survivor.All() == before);
}

TEST_CASE("ALogThatWasForgottenAtUndoIsMissedBeforeAnythingIsWritten") {
  const Survivor survivor;
  survivor.MoveLog();
  const Tree before = survivor.All();
  MustRun(survivor, Command::kApply, kRestore, survivor.Log().string());
  const Tree after = survivor.All();
  CHECK_FALSE(RunOn(survivor, Command::kUndo, kRestore));
  CHECK(survivor.All() == after);
  MustRun(survivor, Command::kUndo, kRestore, survivor.Log().string());
  CHECK(survivor.All() == before);
}

TEST_CASE("AnEtcdThatHoldsALogElsewhereIsNotDisturbed") {
  const Survivor survivor;
  survivor.MoveLog();
  survivor.LinkLog(survivor.Log());
  const auto files = RealFileSystem::OpenRoot(survivor.Log().string()).value();
  const auto names = files->List("").value();
  const std::string segment = names.back().name;  // etcd's 0.tmp comes first
  REQUIRE(segment.ends_with(".wal"));
  const auto held = files->OpenDescriptor(segment, O_RDWR).value();
  struct flock lock {};
  lock.l_type = F_WRLCK;
  REQUIRE(::fcntl(held.get(), F_OFD_SETLK, &lock) == 0);
  CheckRefused(survivor, "in-use");
}

// --- what is refused

TEST_CASE("LinksThatLeadToAnotherFileSystemOrNowhereAreRefused") {
  const Survivor survivor;
  survivor.MoveLog();
  SECTION("to another file system") { survivor.LinkLog("/proc"); }
  SECTION("to nothing") { survivor.LinkLog("../../gone"); }
  SECTION("to itself") { survivor.LinkLog("wal"); }
  CheckRefused(survivor, "link-leaves-volume");
  // Said by the operator, it is used all the same.
  const Tree before = survivor.All();
  MustRun(survivor, Command::kApply, kForce, survivor.Log().string());
  MustRun(survivor, Command::kUndo, kForce, survivor.Log().string());
  CHECK(survivor.All() == before);
}

TEST_CASE("OtherLinksAreRefused") {
  const Survivor survivor;
  const auto member = survivor.Top() / "etcd/member";
  SECTION("member") {
    fs::rename(member, survivor.Top() / "elsewhere");
    fs::create_directory_symlink("../elsewhere", member);
  }
  SECTION("member/snap") {
    fs::rename(member / "snap", survivor.Top() / "elsewhere");
    fs::create_directory_symlink("../../elsewhere", member / "snap");
  }
  CheckRefused(survivor, "link-unsupported");
}

TEST_CASE("ALogAmongOtherFilesOfEtcdIsRefused") {
  const Survivor survivor;
  survivor.MoveLog();
  const std::string other = GENERATE("etcd", "etcd/member", "etcd/member/snap");
  SECTION("named") { CheckRefused(survivor, "log-overlaps", survivor.Top() / other); }
  SECTION("linked") {
    survivor.LinkLog(survivor.Top() / other);
    CheckRefused(survivor, "log-overlaps");
  }
}

TEST_CASE("ANamedLogThatIsNotThereIsAUsageError") {
  const Survivor survivor;
  CheckRefused(survivor, "not-found", survivor.Top() / "nowhere");
}

// --- on a volume

struct Node {
  TemporaryDirectory directory;
  TemporaryDirectory journal;
  std::unique_ptr<RealFileSystem> volume;

  explicit Node(const std::string& survivor = "3614-snap") {
    fs::create_directories(Path("var/lib"));
    rescue::testing::UnpackArchive(
        rescue::testing::FixturePath("survivors/" + survivor + ".tar.xz"), Path("var/lib"));
    volume = RealFileSystem::OpenRoot(directory.path().string()).value();
    WriteManifest("", "");
  }
  fs::path Path(const std::string& path) const { return directory.path() / path; }
  void MoveLog(const std::string& to) const {
    fs::create_directories(Path(to).parent_path());
    fs::rename(Path("var/lib/etcd/member/wal"), Path(to));
  }
  void LinkLog(const std::string& text) const {
    fs::create_directory_symlink(text, Path("var/lib/etcd/member/wal"));
  }
  // With --wal-dir and a hostPath volume for it.
  void WriteManifest(const std::string& log, const std::string& on_host) const {
    std::string text(rescue::testing::kConstellationManifest);
    const auto insert = [&](const std::string& before, const std::string& what) {
      const std::size_t at = text.find(before);
      REQUIRE(at != std::string::npos);
      text.insert(at, what);
    };
    if (!log.empty()) insert("    - --snapshot-count", "    - --wal-dir=" + log + "\n");
    if (!on_host.empty()) {
      insert("    - mountPath: /var/lib/etcd\n",
             "    - mountPath: " + log + "\n      name: etcd-log\n");
      insert("  - hostPath:\n", "  - hostPath:\n      path: " + on_host + "\n    name: etcd-log\n");
    }
    fs::create_directories(Path("kubernetes/manifests"));
    rescue::testing::WriteFileBytes(Path("kubernetes/manifests/etcd.yaml"), AsBytes(text));
  }
  Result<Target> Open(const std::string& log_directory = {}) const {
    return OpenVolumeData(*volume, directory.path().string(), "", log_directory);
  }
};

// Applies, verifies and undoes on the target as the disk pipeline does.
void RescueAndUndo(const Node& node, const Target& target) {
  const Tree before = TreeOf(*node.volume);
  const auto findings = etcd::Inspect(*target.data).value();
  REQUIRE(findings.log);
  etcd::Wishes wishes;
  wishes.strategy = kRestore;
  wishes.token = "fresh";
  auto plan = etcd::MakePlan(*target.data, findings, wishes);
  if (!plan) FAIL(plan.error().message);
  const auto rehearsed = etcd::Rehearse(*target.data, findings, *plan);
  if (!rehearsed) FAIL(rehearsed.error().message);
  const auto journal = [&]() -> FileSystem& { return *target.journal.files; };
  REQUIRE(edit::Apply(*target.data, journal(), target.journal.directory, plan->edits, "test"));
  CHECK(etcd::Verify(etcd::Inspect(*target.data).value()));
  REQUIRE(edit::Undo(*target.data, journal(), target.journal.directory));
  CHECK(TreeOf(*node.volume) == before);
}

TEST_CASE("TheLogIsFoundAnywhereOnTheVolume") {
  const Node node;
  std::string named;
  SECTION("at the usual place") {}
  SECTION("behind a relative link") {
    node.MoveLog("var/log/etcd");
    node.LinkLog("../../../log/etcd");
  }
  SECTION("behind a link that is absolute on the node") {
    node.MoveLog("var/log/etcd");
    node.LinkLog("/var/log/etcd");
  }
  SECTION("behind a link through the place where the node mounts the volume") {
    node.MoveLog("log");
    node.LinkLog("/run/state/log");
  }
  SECTION("where the manifest says") {
    node.MoveLog("var/log/etcd");
    node.WriteManifest("/var/log/etcd", "/var/log/etcd");
  }
  SECTION("where the manifest says, under another name in the container") {
    node.MoveLog("var/log/etcd");
    node.WriteManifest("/wal", "/var/log/etcd");
  }
  SECTION("where the operator says, whatever the manifest says") {
    node.MoveLog("saved/log");
    node.WriteManifest("/var/log/etcd", "/var/log/etcd");
    named = "/saved/log/";
  }
  const auto target = node.Open(named);
  if (!target) FAIL(target.error().message);
  RescueAndUndo(node, *target);
}

TEST_CASE("ALogThatIsNotOnTheVolumeIsRefused") {
  const Node node;
  std::string code = "link-leaves-volume";
  // What looks like the place, were the volume the whole node.
  node.MoveLog("mnt/log");
  SECTION("an absolute link to another disk of the node") { node.LinkLog("/mnt/log"); }
  SECTION("a link that climbs out of the volume") { node.LinkLog("../../../../../../mnt/log"); }
  SECTION("a link to what is not there") { node.LinkLog("../../gone"); }
  SECTION("a manifest that names another disk") {
    node.WriteManifest("/mnt/log", "/mnt/log");
    code = "log-not-on-volume";
  }
  SECTION("a manifest that names a place in the container") {
    node.WriteManifest("/var/log/etcd", "");
    fs::create_directories(node.Path("var/log/etcd"));
    code = "log-not-on-volume";
  }
  const Tree before = TreeOf(*node.volume);
  const auto refused = node.Open();
  REQUIRE_FALSE(refused);
  CHECK(refused.error().kind == ErrorKind::kRefused);
  CHECK(refused.error().code == code);
  CHECK_FALSE(refused.error().hint.empty());
  CHECK(TreeOf(*node.volume) == before);
  const auto target = node.Open("mnt/log");
  if (!target) FAIL(target.error().message);
  RescueAndUndo(node, *target);
}

TEST_CASE("ANamedLogNeverLeavesTheVolume") {
  const TemporaryDirectory outside;
  const Node node;
  node.MoveLog("saved/log");
  fs::create_directory_symlink(outside.path(), node.Path("out"));
  for (const std::string named : {"gone", "../gone", "/proc", "out"}) {
    INFO(named);
    const auto refused = node.Open(named);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "not-found");
  }
  // ".." at the root stays there, as on every machine.
  CHECK(node.Open("../../saved/log"));
}

// --- owner, mode, labels

constexpr uid_t kOwner = 998;
constexpr gid_t kGroup = 997;

void SetXattr(const fs::path& path, const char* name, const std::string& value) {
  INFO(path << ", " << name);
  REQUIRE(::setxattr(path.c_str(), name, value.data(), value.size(), 0) == 0);
}

// Every kind of file gets its own look, so that a mix-up shows.
void Dress(const fs::path& data) {
  for (const auto& entry : fs::recursive_directory_iterator(data)) {
    const auto& path = entry.path();
    const std::string kind = entry.is_directory() ? "directory" : path.extension().string();
    if (::geteuid() == 0) {
      REQUIRE(::lchown(path.c_str(), kOwner, kGroup) == 0);
      SetXattr(path, "security.selinux", "system_u:object_r:etcd" + kind + "_t:s0");
    }
    SetXattr(path, "user.kind", kind);
    const mode_t mode = entry.is_directory() ? 02710 : kind == ".snap" ? 0604 : 0660;
    REQUIRE(::chmod(path.c_str(), mode) == 0);
  }
}

TEST_CASE("NewFilesLookLikeThoseThatTheyReplace") {
  const auto strategy = GENERATE(kForce, kRestore);
  const bool elsewhere = GENERATE(false, true);
  const Survivor survivor(elsewhere ? "3423-leader-snap" : "3614-snap");
  Dress(survivor.Top() / "etcd");
  if (elsewhere) {
    survivor.MoveLog();
    survivor.LinkLog(survivor.Log());
  }
  const Tree before = survivor.All();
  MustRun(survivor, Command::kApply, strategy);

  const Tree after = survivor.All();
  int made = 0;
  for (const auto& [path, entry] : after) {
    INFO(path);
    const auto& [status, digest] = entry;
    if (before.contains(path)) CHECK(status.attributes == before.at(path).first.attributes);
    if (before.contains(path) || path.starts_with("etcd.etcd-rescue")) continue;
    ++made;
    const bool directory = status.type == FileType::kDirectory;
    const std::string kind = directory ? "directory" : fs::path(path).extension().string();
    const auto& attributes = status.attributes;
    CHECK(attributes.mode == (directory ? 02710U : kind == ".snap" ? 0604U : 0660U));
    CHECK(AsText(attributes.xattrs.at("user.kind")) == kind);
    if (::geteuid() != 0) continue;
    CHECK(attributes.uid == kOwner);
    CHECK(attributes.gid == kGroup);
    CHECK(AsText(attributes.xattrs.at("security.selinux")) ==
          "system_u:object_r:etcd" + kind + "_t:s0");
  }
  CHECK((strategy == kForce || made >= 4));
  MustRun(survivor, Command::kUndo, strategy);
  CHECK(survivor.All() == before);
}

}  // namespace
}  // namespace rescue::session
