#include "tui/scenes.h"

#include <catch2/catch_test_macros.hpp>
#include <functional>
#include <map>

#include "rescue/session/look.h"

namespace rescue::tui::testing {
namespace {

constexpr const char* kUuid = "618e513a-5339-405f-a065-722c785149f8";
constexpr const char* kOtherUuid = "0b9f4d2e-77aa-4a3c-9f43-5a9a4f0d7c11";
constexpr const char* kToken = "etcd-rescue-0123456789abcdef";

struct Silent final : session::Observer {};

Key KeyNamed(const std::string& name) {
  using Kind = Key::Kind;
  const std::map<std::string, Kind> kinds = {
      {"enter", Kind::kEnter},         {"esc", Kind::kEscape},      {"tab", Kind::kTab},
      {"backtab", Kind::kBackTab},     {"up", Kind::kUp},           {"down", Kind::kDown},
      {"left", Kind::kLeft},           {"right", Kind::kRight},     {"pgup", Kind::kPageUp},
      {"pgdn", Kind::kPageDown},       {"home", Kind::kHome},       {"end", Kind::kEnd},
      {"backspace", Kind::kBackspace}, {"ctrl-c", Kind::kControlC}, {"ctrl-l", Kind::kControlL},
      {"ctrl-u", Kind::kControlU}};
  if (const auto found = kinds.find(name); found != kinds.end()) return Key{found->second};
  if (name.size() > 1 && name[0] == 'f')
    return Key{Kind::kFunction, 0, std::stoi(name.substr(1)), 0};
  return Key{Kind::kCharacter, static_cast<char32_t>(name.at(0))};
}

void Replace(std::string& text, const std::string& what, const std::string& by) {
  for (auto at = text.find(what); at != std::string::npos; at = text.find(what, at)) {
    text.replace(at, what.size(), by);
  }
}

session::StageTime Stage(session::Stage stage, const char* text) {
  return {stage, true, std::chrono::milliseconds(710), text};
}

disk::FoundDisk Other(const std::string& path, const std::string& content, const std::string& why) {
  disk::FoundDisk disk;
  disk.path = path;
  disk.size = std::uint64_t{32} << 30;
  disk.content = content;
  disk.inside.word = content;
  disk.why = why;
  return disk;
}

}  // namespace

disk::FoundDisk Story::Disk(const std::string& path, const std::string& uuid) {
  disk::FoundDisk disk;
  disk.path = path;
  disk.size = std::uint64_t{30} << 30;
  disk.model = "Virtual Disk";
  disk.serial = "6042-11";
  disk.content = "LUKS2";
  disk.luks_uuid = uuid;
  disk.inside.word = "LUKS2";
  disk.inside.uuid = uuid;
  disk.is_candidate = true;
  disk.has_state_token = true;
  disk.why = "LUKS2 with Constellation's state disk token";
  return disk;
}

Story::Story() {
  model.setup.report_path = "/home/op/etcd-rescue-report";
  model.now = 1000;
}

void Story::Take(Effects effects) {
  for (auto& effect : effects) {
    if (auto* start = std::get_if<StartTask>(&effect)) {
      task_ = std::move(start->task);
      ++started;
    } else {
      others.push_back(std::move(effect));
    }
  }
}

void Story::Press(const std::string& key) { Take(tui::Press(model, KeyNamed(key))); }

void Story::Type(std::string_view text) {
  for (const char c : text) {
    Take(tui::Press(model, Key{Key::Kind::kCharacter, static_cast<char32_t>(c)}));
  }
}

void Story::DressUp(session::Outcome& outcome) const {
  for (auto& stage : outcome.stages) stage.took = std::chrono::milliseconds(710);
  auto& facts = outcome.disk.emplace();
  facts.found = Disk("/dev/vdb", kUuid);
  facts.key_slot = 0;
  session::BootSafety boot;
  boot.answer = session::BootSafety::Answer::kYes;
  boot.basis = session::BootSafety::Basis::kVolume;
  outcome.journal_path = "var/lib/etcd.etcd-rescue on the volume";
  if (outcome.applied || outcome.undone) {
    outcome.sealed.emplace();
    boot.basis = session::BootSafety::Basis::kSealedDisk;
  }
  facts.TakeBoot(boot);
}

// Unpacking is what takes time here: whatever only looks shares one survivor.
std::string Story::Directory(const Task& task) {
  const auto unpack = [](const rescue::testing::TemporaryDirectory& directory) {
    rescue::testing::UnpackArchive(rescue::testing::FixturePath("survivors/3516-leader.tar.xz"),
                                   directory.path());
  };
  const bool writes =
      std::holds_alternative<ApplyTask>(task) || std::holds_alternative<UndoTask>(task);
  if (!writes) {
    static const rescue::testing::TemporaryDirectory shared;
    static const bool unpacked = (unpack(shared), true);
    (void)unpacked;
    return (shared.path() / "etcd").string();
  }
  if (!own_) unpack(own_.emplace());
  return (own_->path() / "etcd").string();
}

// Looking at the shared survivor gives the same every time.
Finished Story::Do(const Task& task) {
  const auto* look = std::get_if<LookTask>(&task);
  if (look == nullptr) return Run(task);
  static std::map<std::size_t, Finished> seen;
  auto found = seen.find(look->places.size());
  if (found == seen.end()) found = seen.emplace(look->places.size(), Run(task)).first;
  return found->second;
}

Finished Story::Run(const Task& task) {
  Finished finished;
  finished.what = static_cast<TaskKind>(task.index());
  if (finished.what == TaskKind::kFind) {
    finished.disks = {Other("/dev/sda", "gpt", "the running system uses it"),
                      Other("/dev/sda1", "ext4", "mounted on /"), Disk("/dev/vdb", kUuid),
                      Disk("/dev/vdc", kOtherUuid)};
    if (std::get<FindTask>(task).tpm) finished.sealed = "the TPM's NV index 0x01c5d7a1";
    return finished;
  }
  session::Request request;
  request.data_directory = Directory(task);
  request.command = session::Command::kPlan;
  Silent silent;
  if (const auto* look = std::get_if<LookTask>(&task)) {
    if (look->places.size() > 1) {
      std::vector<session::Request> both(2, request);
      auto compared = session::CompareSurvivors(both, silent, finished.compared);
      if (!compared) {
        finished.status = Fail(compared.error());
        return finished;
      }
      finished.comparison = *std::move(compared);
      finished.comparison->survivors[0].label = "/dev/vdb";
      finished.comparison->survivors[1].label = "/dev/vdc";
      // The same survivor twice: the texts name it as the first one.
      for (auto* texts : {&finished.comparison->warnings, &finished.comparison->reasons}) {
        for (auto& text : *texts) Replace(text, request.data_directory, "/dev/vdb");
      }
      return finished;
    }
    request.recommend = true;
    request.wishes.token = kToken;
    request.wishes.token_is_random = true;
  } else if (const auto* plan = std::get_if<PlanTask>(&task)) {
    request.wishes = plan->wishes;
  } else if (const auto* apply = std::get_if<ApplyTask>(&task)) {
    request.command = session::Command::kApply;
    request.wishes = apply->wishes;
    request.confirmed_plan = apply->confirmed_plan;
  } else if (std::holds_alternative<UndoTask>(task)) {
    request.command = session::Command::kUndo;
  } else {
    return finished;
  }
  finished.status = session::Run(request, silent, finished.outcome);
  DressUp(finished.outcome);
  return finished;
}

void Story::Work() {
  REQUIRE(task_);
  const Task task = *std::exchange(task_, std::nullopt);
  Finished finished = failure_ ? Finished{} : Do(task);
  finished.what = static_cast<TaskKind>(task.index());
  if (failure_) finished.status = Fail(*std::exchange(failure_, std::nullopt));
  finished.pin_tries = std::exchange(pin_tries_, std::nullopt);
  Take(Hear(model, std::move(finished)));
}

void Story::WorkHalf() {
  using session::Stage;
  Take(Hear(model,
            StageEnded{testing::Stage(
                Stage::kFind, "/dev/vdb  30 GiB  LUKS2 618e513a-5339-405f-a065-722c785149f8")}));
  Take(Hear(model, StageEnded{testing::Stage(
                       Stage::kUnlock, "key slot 0, ext4; on a view, the disk stays as it is")}));
  Take(Hear(model, StageBegan{Stage::kInspect}));
  model.now += 4000;
  Take(Hear(model, Progressed{Stage::kInspect, std::uint64_t{300} << 20, std::uint64_t{1} << 30}));
}

namespace {

constexpr const char* kSecret = "{\"key\":\"a2V5\",\"salt\":\"c2FsdA==\"}";

void ToDisks(Story& story) {
  story.Press("enter");
  story.Work();
}

void ToSecret(Story& story) {
  ToDisks(story);
  story.Press(" ");
  story.Press("enter");
}

}  // namespace

void Story::Unlock(const std::string& secret) {
  Press("enter");
  Type(secret);
  Press("enter");
  model.now += 1000;
  Take(Tick(model));
}

namespace {

void ToDiagnosis(Story& story) {
  ToSecret(story);
  story.Unlock(kSecret);
  story.Work();
}

void ToReview(Story& story) {
  ToDiagnosis(story);
  story.Press("enter");  // path
  story.Press("enter");  // parameters
  while (Show(story.model).focus + 1 < Show(story.model).items()) story.Press("tab");
  story.Press("enter");
  story.Work();
}

void Confirm(Story& story) {
  story.Type(story.model.plan.plan->fingerprint.substr(0, 4));
  story.Press("enter");
}

Error WrongSecret() {
  return {ErrorKind::kCannotUnlock, "wrong-secret",
          "unlock /dev/vdb: none of 1 key slots opens with this secret (LUKS UUID "
          "618e513a-5339-405f-a065-722c785149f8)",
          "check that the secret belongs to this cluster"};
}

std::vector<Scene> PlayAll() {
  std::vector<Scene> scenes;
  const auto add = [&](std::string name, const std::function<void(Story&)>& play,
                       const std::function<View(const Model&)>& show = Show) {
    Story story;
    play(story);
    scenes.push_back({std::move(name), show(story.model)});
  };
  add("welcome", [](Story&) {});
  add("disks", ToDisks);
  add("disks-none", [](Story& s) {
    ToDisks(s);
    s.model.disks.resize(2);
    s.model.marks.resize(2);
  });
  add("secret", [](Story& s) {
    s.model.setup.tpm = true;
    s.model.setup.credential = "/run/credentials/x";
    ToSecret(s);
  });
  add("secret-typing", [](Story& s) {
    ToSecret(s);
    s.Press("enter");
    s.Type("{\"key\":");
  });
  add("secret-wrong", [](Story& s) {
    ToSecret(s);
    s.Unlock(kSecret);
    s.FailNext(WrongSecret());
    s.Work();
  });
  add("secret-wrong-thrice", [](Story& s) {
    ToSecret(s);
    s.Press("enter");
    for (int i = 0; i < 3; ++i) {
      s.Unlock(kSecret);
      s.FailNext(WrongSecret());
      s.Work();
    }
  });
  add("secret-tpm-empty", [](Story& s) {
    s.model.setup.tpm = true;
    ToSecret(s);
    s.model.sealed = Fail(ErrorKind::kCannotUnlock, "no-tpm-blob",
                          "find a sealed secret: there is none in (no ESP was found), the TPM's "
                          "NV index 0x01c5d7a1");
  });
  const auto to_pin = [](Story& s) {
    s.model.setup.tpm = true;
    ToSecret(s);
    s.Press("enter");
    s.AskForPin({30, 32});
    s.FailNext({ErrorKind::kCannotUnlock, "tpm-pin-needed", "unseal the secret: a PIN", ""});
    s.Work();
  };
  add("pin", to_pin);
  add("pin-last-try", [&](Story& s) {
    to_pin(s);
    s.Type("1234");
    s.Press("enter");
    s.FailNext({ErrorKind::kCannotUnlock, "tpm-last-try",
                "from the NV index 0x1c1d2e3: unseal the secret: one more wrong PIN locks the TPM "
                "(31 of 32 tries are spent)",
                "wait: the TPM forgets one wrong try every 7200 s"});
    s.Work();
  });
  add("secret-on-another-disk", [](Story& s) {
    s.model.setup.appliance = true;
    ToSecret(s);
    s.model.disks.push_back(Other("/dev/vdd1", "vfat", "no LUKS2 header: vfat"));
    s.Press("down");
    s.Press("enter");
  });
  add("working", [](Story& s) {
    ToSecret(s);
    s.Unlock(kSecret);
    s.WorkHalf();
  });
  add("compare", [](Story& s) {
    ToDisks(s);
    s.Press(" ");
    s.Press("down");
    s.Press(" ");
    s.Press("enter");
    s.Unlock(kSecret);
    s.Work();
  });
  add("diagnosis", ToDiagnosis);
  add("details", [](Story& s) {
    ToDiagnosis(s);
    s.Press("d");
  });
  add("path", [](Story& s) {
    ToDiagnosis(s);
    s.Press("enter");
  });
  add("parameters", [](Story& s) {
    ToDiagnosis(s);
    s.Press("enter");
    s.Press("enter");
  });
  add("parameters-restore", [](Story& s) {
    ToDiagnosis(s);
    s.Press("enter");
    s.Press("down");
    s.Press("down");
    s.Press("enter");
    s.Press("ctrl-u");
    s.Type("http://localhost:2380");
  });
  add("review", ToReview);
  add("apply", [](Story& s) {
    ToReview(s);
    Confirm(s);
    s.WorkHalf();
  });
  add("report", [](Story& s) {
    ToReview(s);
    Confirm(s);
    s.Work();
  });
  add("report-appliance", [](Story& s) {
    s.model.setup.appliance = true;
    s.model.setup.report_path = "etcd-rescue-report";
    ToReview(s);
    s.model.disks.push_back(Other("/dev/vdd1", "vfat", "no LUKS2 header: vfat"));
    Confirm(s);
    s.Work();
  });
  add("report-failed", [](Story& s) {
    ToReview(s);
    Confirm(s);
    s.FailNext({ErrorKind::kRolledBack, "apply-rolled-back",
                "apply: write member/wal/0000000000000000-0000000000000000.wal: No space left on "
                "device; all was taken back",
                "free some space, or name another journal directory"});
    s.Work();
  });
  add("report-undone", [](Story& s) {
    ToReview(s);
    Confirm(s);
    s.Work();
    s.Press("u");
    s.Type("undo");
    s.Press("enter");
    s.Unlock(kSecret);
    s.Work();
  });
  add("undo-review", [](Story& s) {
    ToReview(s);
    Confirm(s);
    s.Work();
    s.Press("u");
  });
  add("help", [](Story& s) {
    ToReview(s);
    s.Press("f1");
  });
  add("log", [](Story& s) {
    ToSecret(s);
    s.Unlock(kSecret);
    s.WorkHalf();
    s.Press("l");
  });
  add("quit", [](Story& s) {
    ToDiagnosis(s);
    s.Press("q");
  });
  add("watching", ToDiagnosis, [](const Model& m) { return ShowMirror(m, "ttyS0", false); });
  add("take-over", ToDiagnosis, [](const Model& m) { return ShowMirror(m, "ttyS0", true); });
  add(
      "unclaimed", [](Story&) {}, [](const Model& m) { return ShowMirror(m, "", false); });
  return scenes;
}

}  // namespace

const std::vector<Scene>& AllScenes() {
  static const std::vector<Scene> scenes = PlayAll();
  return scenes;
}

}  // namespace rescue::tui::testing
