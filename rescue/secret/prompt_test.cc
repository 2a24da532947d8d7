#include "rescue/secret/prompt.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>
#include <functional>
#include <optional>

#include "rescue/base/bytes.h"
#include "rescue/base/unique_fd.h"

namespace rescue::secret {
namespace {

constexpr std::string_view kQuestion = "secret? ";

// A terminal, and a process that asks on it; what it got comes back over a pipe. Only here does an
// answer leave secret memory.
class Asking {
 public:
  explicit Asking(AnswerForm form, const std::function<void()>& prepare = {}) {
    int main_end = -1;
    int terminal_end = -1;
    char name[64] = {};
    REQUIRE(::openpty(&main_end, &terminal_end, name, nullptr, nullptr) == 0);
    terminal_ = UniqueFd(main_end);
    other_end_ = UniqueFd(terminal_end);
    before_ = Settings();
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    answer_ = UniqueFd(ends[0]);
    UniqueFd tell(ends[1]);
    pid_ = ::fork();
    REQUIRE(pid_ >= 0);
    if (pid_ == 0) {
      // Not the test program's own, which would report a failure.
      for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT})
        (void)std::signal(signal, SIG_DFL);
      if (prepare) prepare();
      const auto answer = AskOnTerminals({"/no/such/terminal", name}, kQuestion, form);
      const std::string text =
          answer ? std::string(AsText(std::as_const(*answer).Reveal())) : "!" + answer.error().code;
      (void)!::write(tell.get(), text.data(), text.size());
      ::_exit(0);
    }
    tell = UniqueFd();
    WaitForOutput(kQuestion);
  }
  ~Asking() {
    if (pid_ <= 0) return;
    (void)::kill(pid_, SIGKILL);
    (void)::waitpid(pid_, nullptr, 0);
  }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;

  void Type(std::string_view text) const {
    REQUIRE(::write(terminal_.get(), text.data(), text.size()) ==
            static_cast<ssize_t>(text.size()));
  }
  void Signal(int signal) const { REQUIRE(::kill(pid_, signal) == 0); }

  // What the process got, after its end; its wait status is in `status`.
  std::string Answer() {
    std::string text;
    char piece[8192];
    for (ssize_t got = 1; got > 0;) {
      got = ::read(answer_.get(), piece, sizeof(piece));
      if (got > 0) text.append(piece, static_cast<std::size_t>(got));
    }
    REQUIRE(::waitpid(pid_, &status, 0) == pid_);
    pid_ = -1;
    return text;
  }

  // Everything that was shown so far.
  void WaitForOutput(std::string_view words) {
    while (shown.find(words) == std::string::npos) {
      pollfd ready{terminal_.get(), POLLIN, 0};
      REQUIRE(::poll(&ready, 1, 20000) == 1);
      char piece[4096];
      const ssize_t got = ::read(terminal_.get(), piece, sizeof(piece));
      REQUIRE(got > 0);
      shown.append(piece, static_cast<std::size_t>(got));
    }
  }
  void WaitForStop() const {
    int how = 0;
    REQUIRE(::waitpid(pid_, &how, WUNTRACED) == pid_);
    REQUIRE(WIFSTOPPED(how));
  }

  termios Settings() const {
    termios settings{};
    REQUIRE(::tcgetattr(other_end_.get(), &settings) == 0);
    return settings;
  }
  bool Echoes() const { return (Settings().c_lflag & ECHO) != 0; }
  bool AsBefore() const {
    const termios now = Settings();
    return now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag &&
           now.c_oflag == before_.c_oflag;
  }

  int status = 0;
  std::string shown;

 private:
  UniqueFd terminal_;
  UniqueFd other_end_;  // keeps the settings when the process has ended
  UniqueFd answer_;
  termios before_{};
  int pid_ = -1;
};

TEST_CASE("WhatIsTypedIsReadAndNotShown") {
  Asking asking(AnswerForm::kLine);
  CHECK_FALSE(asking.Echoes());
  asking.Type("correct horse\n");
  CHECK(asking.Answer() == "correct horse");
  asking.WaitForOutput("13 characters read");
  CHECK(asking.shown.find("horse") == std::string::npos);
  CHECK(asking.AsBefore());
}

TEST_CASE("ALineIsOneLineAlsoWhenMoreIsPasted") {
  Asking asking(AnswerForm::kLine);
  asking.Type("one\ntwo\n");
  CHECK(asking.Answer() == "one");
}

TEST_CASE("BackspaceWorks") {
  Asking asking(AnswerForm::kLine);
  asking.Type(
      "horsf\x7f"
      "e\n");
  CHECK(asking.Answer() == "horse");
}

TEST_CASE("APasteWithLineBreaksIsOneSecret") {
  const std::string json = "{\n  \"key\": \"AAAA\",\n  \"salt\": \"BBBB\"\n}";
  SECTION("in brackets") {
    Asking asking(AnswerForm::kSecretText);
    asking.Type("\x1b[200~" + json + "\x1b[201~");
    asking.Type("\n");
    CHECK(asking.Answer() == json);
    CHECK(asking.shown.find("\x1b[?2004h") != std::string::npos);
  }
  SECTION("without brackets") {
    Asking asking(AnswerForm::kSecretText);
    asking.Type(json + "\n");
    CHECK(asking.Answer() == json);
  }
  SECTION("base64 that a mail has broken") {
    Asking asking(AnswerForm::kSecretText);
    asking.Type("QUFBQUFBQUFBQUFB\r\nQUFBQUFB\r\n");
    const std::string answer = asking.Answer();
    CHECK(answer.starts_with("QUFBQUFBQUFBQUFB"));
    CHECK(answer.find("QUFBQUFB", 16) != std::string::npos);
  }
  SECTION("brackets that arrive in pieces") {
    Asking asking(AnswerForm::kSecretText);
    asking.Type("\x1b[200~one\ntw");
    asking.Type("o\x1b[201~\n");
    CHECK(asking.Answer() == "one\ntwo");
  }
  SECTION("a URI") {
    Asking asking(AnswerForm::kSecretText);
    asking.Type("\x1b[200~kms://cluster-kms?key=AA\nAA&salt=BBBB\x1b[201~\n");
    CHECK(asking.Answer() == "kms://cluster-kms?key=AA\nAA&salt=BBBB");
  }
}

TEST_CASE("JsonThatIsTypedMayTakeItsTime") {
  Asking asking(AnswerForm::kSecretText);
  asking.Type("{\"key\": \"AAAA\",\n");
  // Longer than the quiet after which a line would be complete.
  CHECK(::poll(nullptr, 0, 3 * kQuietMilliseconds) == 0);
  asking.Type("\"salt\": \"BBBB\"}\n");
  CHECK(asking.Answer() == "{\"key\": \"AAAA\",\n\"salt\": \"BBBB\"}");
}

TEST_CASE("CtrlDEndsAnAnswer") {
  Asking asking(AnswerForm::kSecretText);
  asking.Type("{\"open\x04\x04");
  CHECK(asking.Answer() == "{\"open");
  Asking nothing(AnswerForm::kSecretText);
  nothing.Type("\x04");
  CHECK(nothing.Answer() == "!no-secret");
  CHECK(nothing.AsBefore());
}

TEST_CASE("AnAnswerThatIsTooLongIsRefused") {
  Asking asking(AnswerForm::kSecretText);
  for (int line = 0; line < 6; ++line) {
    asking.Type("\x1b[200~" + std::string(1000, 'a') + "\n");
  }
  CHECK(asking.Answer() == "!bad-secret");
  CHECK(asking.AsBefore());
}

TEST_CASE("TheTerminalIsAsItWasAfterSignals") {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT}) {
    INFO(signal);
    Asking asking(AnswerForm::kSecretText);
    CHECK_FALSE(asking.Echoes());
    asking.Type("half of a sec");
    asking.Signal(signal);
    CHECK(asking.Answer().empty());
    CHECK(WIFSIGNALED(asking.status));
    CHECK(WTERMSIG(asking.status) == signal);
    CHECK(asking.AsBefore());
  }
}

TEST_CASE("AnIgnoredSignalStaysIgnored") {
  Asking asking(AnswerForm::kLine, [] { (void)std::signal(SIGHUP, SIG_IGN); });
  asking.Signal(SIGHUP);
  asking.Type("still here\n");
  CHECK(asking.Answer() == "still here");
}

TEST_CASE("AStoppedQuestionGivesTheTerminalBackAndGoesOn") {
  Asking asking(AnswerForm::kLine);
  asking.Signal(SIGTSTP);
  asking.WaitForStop();
  CHECK(asking.AsBefore());
  asking.shown.clear();
  asking.Signal(SIGCONT);
  asking.WaitForOutput("\x1b[?2004h");
  CHECK_FALSE(asking.Echoes());
  asking.Type("after all\n");
  CHECK(asking.Answer() == "after all");
  CHECK(asking.AsBefore());
}

TEST_CASE("WithoutATerminalItSaysSo") {
  const auto answer =
      AskOnTerminals({"/dev/null", "/no/such/terminal"}, kQuestion, AnswerForm::kLine);
  REQUIRE_FALSE(answer);
  CHECK(answer.error().code == "no-terminal");
}

}  // namespace
}  // namespace rescue::secret
