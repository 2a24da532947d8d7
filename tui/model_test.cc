#include "tui/model.h"

#include <catch2/catch_test_macros.hpp>

#include "tui/line_mode.h"
#include "tui/scenes.h"

namespace rescue::tui {
namespace {

using testing::Story;

constexpr const char* kSecret = "{\"key\":\"a2V5\",\"salt\":\"c2FsdA==\"}";

std::string TextOf(const View& view) {
  std::string text;
  const auto add = [&](const std::vector<Line>& lines) {
    for (const auto& line : lines) text += line.label + " " + line.text + "\n";
  };
  add(view.body);
  add(view.notice);
  for (const auto& field : view.fields) text += field.label + field.value + field.error + "\n";
  for (const auto& choice : view.choices) {
    text += choice.label + "\n";
    add(choice.details);
  }
  return text;
}

bool Says(const Model& model, std::string_view words) {
  return TextOf(Show(model)).find(words) != std::string::npos;
}

void ToSecret(Story& story) {
  story.Press("enter");
  story.Work();
  story.Press(" ");
  story.Press("enter");
}

void ToDiagnosis(Story& story) {
  ToSecret(story);
  story.Unlock(kSecret);
  story.Work();
}

void ToParameters(Story& story) {
  ToDiagnosis(story);
  story.Press("enter");
  story.Press("enter");
}

void ToReview(Story& story) {
  ToParameters(story);
  while (Show(story.model).focus + 1 < Show(story.model).items()) story.Press("tab");
  story.Press("enter");
  story.Work();
}

TEST_CASE("TheWholeWayWithLettersEnterAndSpaceOnly") {
  Story story;
  ToReview(story);
  REQUIRE(story.model.screen == Screen::kReview);
  story.Type(story.model.plan.plan->fingerprint.substr(0, 4));
  story.Press("enter");
  CHECK(story.model.screen == Screen::kApply);
  story.Work();
  CHECK(story.model.screen == Screen::kReport);
  CHECK(Says(story.model, "RESCUED"));
  CHECK(Says(story.model, "safe to boot"));
}

TEST_CASE("TheReviewIsLeftForItsDetailsWithoutAFunctionKey") {
  Story story;
  ToReview(story);
  story.Press("d");
  CHECK(story.model.typed_confirmation == "d");
  story.Press("ctrl-u");
  story.Press("tab");
  story.Press("enter");
  CHECK(story.model.overlay == Overlay::kDetails);
  story.Press("b");
  story.Press("h");
  CHECK(story.model.overlay == Overlay::kHelp);
  story.Press("esc");
  CHECK(story.model.screen == Screen::kReview);
  CHECK(story.model.typed_confirmation.empty());
}

TEST_CASE("EnterAloneNeverConfirms") {
  Story story;
  ToReview(story);
  const int started = story.started;
  for (int i = 0; i < 5; ++i) story.Press("enter");
  story.Type("nope");
  story.Press("enter");
  CHECK(story.started == started);
  CHECK(story.model.screen == Screen::kReview);
  CHECK(Says(story.model, "nothing was written"));
}

TEST_CASE("BackFromEveryScreenLeadsToTheOneBeforeItWithNothingLost") {
  Story story;
  ToReview(story);
  story.Press("esc");
  CHECK(story.model.screen == Screen::kParameters);
  story.Press("esc");
  CHECK(story.model.screen == Screen::kPath);
  story.Press("b");
  CHECK(story.model.screen == Screen::kDiagnosis);
  story.Press("left");
  CHECK(story.model.screen == Screen::kSecret);
  // The disk's key is forgotten on the way back to where it came from.
  REQUIRE(story.others.size() == 1);
  CHECK(std::holds_alternative<ForgetKeys>(story.others.front()));
  story.Press("b");
  CHECK(story.model.screen == Screen::kDisks);
  CHECK(story.model.marks[2]);
  story.Press("b");
  CHECK(story.model.screen == Screen::kWelcome);
  CHECK(story.model.overlay == Overlay::kNone);
}

TEST_CASE("AnswersThatWereChangedOnTheWayBackCount") {
  Story story;
  ToParameters(story);
  story.Press("ctrl-u");
  story.Type("https://10.9.8.7:2380");
  story.Press("tab");
  story.Type("1000");
  story.Press("esc");
  story.Press("enter");
  // The same way again keeps what was typed.
  CHECK(story.model.form.peer_urls == "https://10.9.8.7:2380");
  while (Show(story.model).focus + 1 < Show(story.model).items()) story.Press("tab");
  story.Press("enter");
  story.Work();
  REQUIRE(story.model.screen == Screen::kReview);
  const auto& plan = *story.model.plan.plan;
  CHECK(plan.survivor.peer_urls == std::vector<std::string>{"https://10.9.8.7:2380"});
  CHECK(plan.revision_after == plan.revision_before + 1000);
  // Another way begins with what the disk says.
  story.Press("esc");
  story.Press("esc");
  story.Press("down");
  story.Press("enter");
  CHECK(story.model.form.peer_urls != "https://10.9.8.7:2380");
}

TEST_CASE("AWrongParameterIsSaidWhileItIsTypedAndStopsThePlan") {
  Story story;
  ToParameters(story);
  story.Press("ctrl-u");
  story.Type("http://localhost:2380");
  CHECK(Says(story.model, "only reaches the machine itself"));
  const int started = story.started;
  while (Show(story.model).focus + 1 < Show(story.model).items()) story.Press("tab");
  story.Press("enter");
  CHECK(story.started == started);
  CHECK(Show(story.model).focus == 0);
}

TEST_CASE("LettersGoToTheFieldThatHasTheFocus") {
  Story story;
  ToParameters(story);
  story.Press("ctrl-u");
  story.Type("qbhlt");
  CHECK(story.model.form.peer_urls == "qbhlt");
  CHECK(story.model.screen == Screen::kParameters);
  CHECK(story.model.overlay == Overlay::kNone);
  // Function keys still work, and letters do so on what takes no text.
  story.Press("f1");
  CHECK(story.model.overlay == Overlay::kHelp);
  story.Press("esc");
  story.Press("tab");
  story.Press("tab");
  story.Press("h");
  CHECK(story.model.overlay == Overlay::kHelp);
}

TEST_CASE("ThreeWrongSecretsLeadBackToTheDisks") {
  Story story;
  ToSecret(story);
  story.Press("enter");
  for (int i = 0; i < 3; ++i) {
    CHECK(story.model.screen == Screen::kSecret);
    story.model.step = SecretStep::kSource;
    story.Unlock(kSecret);
    story.FailNext({ErrorKind::kCannotUnlock, "wrong-secret", "unlock /dev/vdb: no", "try again"});
    story.Work();
  }
  CHECK(story.model.screen == Screen::kDisks);
  CHECK(Says(story.model, "Three tries"));
  // And the way is open for another three.
  story.Press("enter");
  CHECK(story.model.screen == Screen::kSecret);
  CHECK(story.model.tries == 0);
}

TEST_CASE("NothingOfASecretIsInAnyView") {
  Story story;
  ToSecret(story);
  story.Press("enter");
  const std::string empty = TextOf(Show(story.model));
  story.Type("{\"key\":\"VerySecretIndeed\"");
  // Not even that there is one, or how long it is.
  CHECK(TextOf(Show(story.model)) == empty);
  CHECK(Show(story.model).fields.front().value.empty());
  story.Press("esc");
  CHECK(story.model.secret_size == 0);
  CHECK(story.model.secret.empty());
}

TEST_CASE("EnterWithoutASecretSaysSo") {
  Story story;
  ToSecret(story);
  story.Press("enter");
  story.Press("enter");
  CHECK_FALSE(story.model.work.running);
  CHECK(Says(story.model, "Nothing has been typed yet"));
  story.Type("k");
  CHECK_FALSE(Says(story.model, "Nothing has been typed yet"));
}

TEST_CASE("APastedSecretMayHaveLineBreaks") {
  for (const bool bracketed : {true, false}) {
    Story story;
    ToSecret(story);
    story.Press("enter");
    if (bracketed) (void)Press(story.model, Key{Key::Kind::kPasteBegin});
    for (const auto* part : {"{", "\"key\": \"a2V5\",", "\"salt\": \"c2FsdA==\"", "}"}) {
      story.Type(part);
      story.Press("enter");
      story.model.now += 5;
      (void)Tick(story.model);
    }
    if (bracketed) {
      (void)Press(story.model, Key{Key::Kind::kPasteEnd});
      CHECK_FALSE(story.model.work.running);
      story.Press("enter");
    }
    const int started = story.started;
    story.model.now += 1000;
    const Effects effects = Tick(story.model);
    REQUIRE(effects.size() == 1);
    const auto& task = std::get<LookTask>(std::get<StartTask>(effects.front()).task);
    const std::string text(AsText(task.secret->typed.Reveal()));
    CHECK(text.starts_with("{\n\"key\": \"a2V5\",\n\"salt\""));
    CHECK(story.started == started);
    // It has gone to the engine, and is nowhere else.
    CHECK(story.model.secret.empty());
  }
}

TEST_CASE("Base64WithLineBreaksEndsWhenNothingFollows") {
  Story story;
  ToSecret(story);
  story.Press("enter");
  story.Type("QUJDREVGR0hJSktMTU5PUA");
  story.Press("enter");
  story.model.now += 50;
  CHECK(Tick(story.model).empty());
  story.Type("QUJDREVGR0hJSktMTU5PUA");
  story.Press("enter");
  story.model.now += 399;
  CHECK(Tick(story.model).empty());
  story.model.now += 1;
  CHECK(Tick(story.model).size() == 1);
}

TEST_CASE("ASecretCanLieOnAnotherDiskOfAnAppliance") {
  Story story;
  story.model.setup.appliance = true;
  ToSecret(story);
  disk::FoundDisk stick;
  stick.path = "/dev/vdd1";
  stick.content = "vfat";
  story.model.disks = {stick};
  story.Press("down");
  story.Press("enter");
  story.Press("ctrl-u");
  story.Type("keys/secret.json");
  story.Press("tab");
  const auto& effects = Press(story.model, Key{Key::Kind::kEnter});
  REQUIRE(effects.size() == 1);
  const auto& task = std::get<LookTask>(std::get<StartTask>(effects.front()).task);
  CHECK(task.secret->disk->path == "/dev/vdd1");
  CHECK(task.secret->file == "keys/secret.json");
}

TEST_CASE("ATpmThatHoldsNothingIsNamedButNotOffered") {
  Story story;
  story.model.setup.tpm = true;
  ToSecret(story);
  CHECK(Show(story.model).choices.front().label == "the TPM of this machine");
  story.model.sealed = Fail(ErrorKind::kCannotUnlock, "no-tpm-blob", "there is none");
  const View view = Show(story.model);
  CHECK(view.choices.front().label == "type or paste it");
  CHECK_FALSE(view.choices.back().selectable);
  story.Press("enter");
  CHECK(story.model.step == SecretStep::kTyping);
}

// As far as the PIN's question; the TPM is the first source.
void ToPin(Story& story) {
  story.model.setup.tpm = true;
  ToSecret(story);
  story.Press("enter");
  story.AskForPin({3, 4});
  story.FailNext({ErrorKind::kCannotUnlock, "tpm-pin-needed", "unseal the secret: no", ""});
  story.Work();
}

const SecretFrom& GivenSecret(const Effects& effects) {
  REQUIRE(effects.size() == 1);
  return *std::get<LookTask>(std::get<StartTask>(effects.front()).task).secret;
}

TEST_CASE("APinIsAskedForWithTheTriesThatAreLeftAndIsNoTryOfItsOwn") {
  Story story;
  ToPin(story);
  CHECK(story.model.step == SecretStep::kPin);
  CHECK(story.model.tries == 0);
  CHECK(Says(story.model, "3 of 4 left until the TPM locks"));
  const std::string before = TextOf(Show(story.model));
  story.Type("48 15");
  CHECK(TextOf(Show(story.model)) == before);
  // One Enter ends it, and without one that was typed nothing happens.
  const Effects effects = Press(story.model, Key{Key::Kind::kEnter});
  const SecretFrom& from = GivenSecret(effects);
  CHECK(from.tpm);
  CHECK(AsText(from.pin.Reveal()) == "48 15");
  CHECK_FALSE(from.spend_last_try);
  CHECK(story.model.secret.empty());
}

TEST_CASE("AnEmptyPinSpendsNoTry") {
  Story story;
  ToPin(story);
  const int started = story.started;
  story.Press("enter");
  CHECK(story.started == started);
  story.Press("esc");
  CHECK(story.model.step == SecretStep::kSource);
}

TEST_CASE("AWrongPinIsAskedForAgainAndTheLastTryOnlyAfterAWarning") {
  Story story;
  ToPin(story);
  story.Type("1111");
  story.Press("enter");
  story.FailNext({ErrorKind::kCannotUnlock, "tpm-wrong-pin",
                  "unseal the secret: the PIN is wrong; 1 of 4 tries are left", "wait"});
  story.Work();
  CHECK(story.model.step == SecretStep::kPin);
  CHECK(Says(story.model, "1 of 4 tries are left"));
  story.Type("2222");
  story.Press("enter");
  story.FailNext({ErrorKind::kCannotUnlock, "tpm-last-try",
                  "unseal the secret: one more wrong PIN locks the TPM", "--spend-last-try"});
  story.Work();
  CHECK(Says(story.model, "This is the last try"));
  CHECK_FALSE(Says(story.model, "--spend-last-try"));
  story.Type("4815");
  const Effects effects = Press(story.model, Key{Key::Kind::kEnter});
  CHECK(GivenSecret(effects).spend_last_try);
}

TEST_CASE("APinInLineModeEndsWithItsLine") {
  Story story;
  ToPin(story);
  CHECK(LineMode::WantsSecret(story.model));
  const std::string typed = "4815";
  const Effects effects = LineMode::AnswerSecret(story.model, AsBytes(typed));
  CHECK(AsText(GivenSecret(effects).pin.Reveal()) == "4815");
}

TEST_CASE("QuittingIsAlwaysAskedAndTheSafeAnswerHasTheFocus") {
  Story story;
  ToDiagnosis(story);
  for (const auto* key : {"q", "f10", "ctrl-c"}) {
    story.Press(key);
    CHECK(story.model.overlay == Overlay::kQuit);
    story.Press("enter");
    CHECK(story.model.overlay == Overlay::kNone);
    CHECK(story.model.screen == Screen::kDiagnosis);
  }
  story.Press("q");
  story.Press("y");
  REQUIRE(story.others.size() == 2);
  CHECK(std::get<Leave>(story.others.back()).exit_code == static_cast<int>(ErrorKind::kRefused));
}

TEST_CASE("StoppingATaskStaysOnTheScreen") {
  Story story;
  ToSecret(story);
  story.Unlock(kSecret);
  REQUIRE(story.model.work.running);
  story.Press("b");
  CHECK(Says(story.model, "Going back"));
  story.Work();
  CHECK(story.model.screen == Screen::kSecret);
  CHECK_FALSE(story.model.work.running);
}

TEST_CASE("AnApplyCannotBeLeft") {
  Story story;
  ToReview(story);
  story.Type(story.model.plan.plan->fingerprint.substr(0, 4));
  story.Press("enter");
  for (const auto* key : {"esc", "b", "q", "ctrl-c", "f10", "left"}) {
    story.Press(key);
    CHECK(story.model.work.running);
    CHECK(story.model.overlay == Overlay::kNone);
    CHECK_FALSE(story.model.work.abandoned);
  }
  // Looking is free.
  story.Press("l");
  CHECK(story.model.overlay == Overlay::kLog);
}

TEST_CASE("WithoutADiskToSaveAReportOnNothingAsksForItsName") {
  Story story;
  story.model.setup.appliance = true;
  ToReview(story);
  story.model.disks.erase(story.model.disks.begin(), story.model.disks.begin() + 2);
  story.Type(story.model.plan.plan->fingerprint.substr(0, 4));
  story.Press("enter");
  story.Work();
  const View view = Show(story.model);
  CHECK(view.fields.empty());
  CHECK(view.choices.at(static_cast<std::size_t>(view.focus)).label == "Power off");
}

TEST_CASE("UndoAsksForAWordAndForTheSecretAgain") {
  Story story;
  ToReview(story);
  story.Type(story.model.plan.plan->fingerprint.substr(0, 4));
  story.Press("enter");
  story.Work();
  story.Press("u");
  CHECK(story.model.screen == Screen::kReview);
  story.Press("enter");
  CHECK(story.model.screen == Screen::kReview);
  story.Type("undo");
  story.Press("enter");
  CHECK(story.model.screen == Screen::kSecret);
  story.Unlock(kSecret);
  story.Work();
  CHECK(Says(story.model, "UNDONE"));
}

TEST_CASE("TheConfirmedPlanIsTheOneThatIsApplied") {
  Story story;
  ToReview(story);
  // Something else would come out now.
  story.model.plan.plan->fingerprint = "abcd" + std::string(60, '0');
  story.Type("abcd");
  story.Press("enter");
  story.Work();
  CHECK(Says(story.model, "FAILED (exit code 7)"));
  CHECK(story.model.result_status.error().code == "plan-stale");
}

TEST_CASE("SeveralSurvivorsAreComparedAndOneIsChosen") {
  Story story;
  story.Press("enter");
  story.Work();
  story.Press(" ");
  story.Press("down");
  story.Press(" ");
  story.Press("enter");
  story.Unlock(kSecret);
  story.Work();
  CHECK(story.model.screen == Screen::kCompare);
  CHECK(Says(story.model, "recommended"));
  story.Press("enter");
  story.Work();
  CHECK(story.model.screen == Screen::kDiagnosis);
  story.Press("b");
  CHECK(story.model.screen == Screen::kCompare);
}

TEST_CASE("EveryFunctionKeyHasALetter") {
  for (const auto& scene : testing::AllScenes()) {
    INFO(scene.name);
    for (const auto& command : scene.view.commands) {
      if (command.function_key != 0) CHECK(command.letter != 0);
    }
  }
}

TEST_CASE("NoTwoCommandsOfAScreenShareAKey") {
  for (const auto& scene : testing::AllScenes()) {
    INFO(scene.name);
    std::string letters;
    for (const auto& command : scene.view.commands) {
      if (command.letter == 0) continue;
      CHECK(letters.find(command.letter) == std::string::npos);
      letters.push_back(command.letter);
    }
  }
}

}  // namespace
}  // namespace rescue::tui
