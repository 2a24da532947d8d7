#include "tui/wizard.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <langinfo.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <clocale>
#include <csignal>
#include <cstdlib>

#include "rescue/base/units.h"
#include "tui/console.h"
#include "tui/messages.h"

namespace rescue::tui {
namespace {

constexpr std::int64_t kScreenMilliseconds = 250;   // between two pictures without a key
constexpr std::int64_t kSerialMilliseconds = 1000;  // the same on a serial line
constexpr std::int64_t kReopenMilliseconds = 1000;
constexpr std::int64_t kClockMilliseconds = 1000;

std::int64_t Now() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

std::string TypeOf(const std::string& console) {
  if (console.empty()) {
    const char* type = std::getenv("TERM");
    return type == nullptr ? "" : type;
  }
  const std::string name = console.substr(console.rfind('/') + 1);
  const bool screen =
      name.starts_with("tty") && name.size() > 3 && name[3] >= '0' && name[3] <= '9';
  // What systemd takes for lines of which it knows nothing.
  return screen ? "linux" : "vt220";
}

bool EncodesUtf8() { return std::string_view(::nl_langinfo(CODESET)) == "UTF-8"; }

struct Encoding {
  bool own_terminal = false;  // takes UTF-8, says the environment
  bool possible = false;      // ncurses encodes by the locale; without one it writes blanks
};

Encoding FindEncoding() {
  Encoding encoding;
  (void)std::setlocale(LC_CTYPE, "");
  encoding.own_terminal = EncodesUtf8();
  for (const char* locale : {"C.UTF-8", "en_US.UTF-8"}) {
    if (!encoding.possible && std::setlocale(LC_CTYPE, locale) != nullptr) {
      encoding.possible = EncodesUtf8();
    }
  }
  return encoding;
}

class Wizard {
 public:
  Wizard(const WizardOptions& options, std::unique_ptr<Engine> engine)
      : engine_(std::move(engine)), several_(options.consoles.size() > 1) {
    model_.setup = options.setup;
    model_.now = Now();
    const Encoding encoding = FindEncoding();
    const bool colours = !options.mono && std::getenv("NO_COLOR") == nullptr;
    std::vector<std::string> paths = options.consoles;
    if (paths.empty()) paths.emplace_back();
    for (const auto& path : paths) {
      ConsoleOptions console;
      console.path = path;
      console.type = TypeOf(path);
      // The kernel's own screen is UTF-8; serial lines are asked.
      console.utf8 = path.empty() ? encoding.own_terminal : console.type == "linux";
      console.ascii_only = !encoding.possible;
      console.colours = colours;
      console.lines = options.face == WizardOptions::Face::kLines;
      slots_.push_back({std::make_unique<Console>(std::move(console))});
    }
    if (!several_) owner_ = 0;
    BlockSignals();
    if (options.setup.appliance) {
      if (auto kernel = LogSource::Kernel()) sources_.push_back(std::move(kernel));
    }
  }

  int Run() {
    bool any = false;
    for (auto& slot : slots_) any = slot.console->Open() || any;
    if (!any && !model_.setup.appliance) return static_cast<int>(ErrorKind::kUsage);
    const QuietKernel quiet(model_.setup.appliance);
    Captured captured;
    sources_.emplace_back(captured.TakeReadEnd(), false);
    while (!leave_) {
      ShowAll();
      Wait();
    }
    for (auto& slot : slots_) slot.console->Restore();
    engine_->Forget();
    return Finish();
  }

 private:
  struct Slot {
    std::unique_ptr<Console> console;
    std::int64_t shown_at = 0;
    std::int64_t reopen_at = 0;
    std::int64_t escape_at = 0;  // when what may be Esc has waited long enough
    bool changed = true;         // it shows what is not true any more
    bool urgent = true;          // and somebody waits for it
    bool everything = false;     // draw all of it again
  };

  // Every line has something new to show: at once, or when its next picture is due.
  void Changed(bool urgent) {
    for (auto& slot : slots_) {
      slot.changed = true;
      slot.urgent = slot.urgent || urgent;
    }
  }

  void BlockSignals() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGQUIT}) {
      sigaddset(&set, number);
    }
    (void)::sigprocmask(SIG_BLOCK, &set, nullptr);
    (void)std::signal(SIGPIPE, SIG_IGN);
    // Writing to a terminal that is not ours any more must not stop us.
    (void)std::signal(SIGTTOU, SIG_IGN);
    signals_ = UniqueFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  }

  bool InCharge(std::size_t number) const { return owner_ == number; }

  std::string OwnerName() const { return owner_ ? slots_[*owner_].console->name() : ""; }

  // ---- out ----

  std::int64_t Interval(const Console& console) const {
    return console.is_serial() ? kSerialMilliseconds : kScreenMilliseconds;
  }

  void ShowAll() {
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      Console& console = *slot.console;
      // A line that still has bytes on their way gets the next picture when they are gone.
      if (!console.is_open() || console.is_busy()) continue;
      if (!slot.changed || (!slot.urgent && model_.now < slot.shown_at + Interval(console)))
        continue;
      slot.shown_at = model_.now;
      slot.changed = slot.urgent = false;
      ShowOne(i);
      if (!console.Flush()) HangUp(slot);
    }
  }

  void ShowOne(std::size_t number) {
    Slot& slot = slots_[number];
    Console& console = *slot.console;
    const bool everything = std::exchange(slot.everything, false);
    if (!console.in_lines()) {
      const View view =
          InCharge(number) ? Show(model_) : ShowMirror(model_, OwnerName(), console.asks_takeover);
      console.ShowView(view, InCharge(number) ? &model_ : nullptr, everything);
    }
    // Drawing may have found that the terminal cannot do it.
    if (!console.in_lines()) return;
    if (InCharge(number)) {
      console.line_mode.FitTo(console.columns());
      console.Print(console.line_mode.Update(model_));
      console.SetEcho(!LineMode::WantsSecret(model_));
    } else {
      console.SetEcho(true);
      PrintMirror(console);
    }
  }

  void PrintMirror(Console& console) {
    const View view = ShowMirror(model_, OwnerName(), console.asks_takeover);
    std::string text;
    for (const auto& line : view.body) {
      text += (line.labelled ? fmt::format("{:<12} ", line.label) : "") + line.text + "\n";
    }
    text += view.question + ": ";
    if (text == console.mirror_shown) return;
    console.mirror_shown = text;
    console.Print("\n" + text);
  }

  // ---- in ----

  int Timeout() const {
    // Sizes of lines that send no signal are looked at, and a running task's seconds are shown.
    std::int64_t until = model_.now + kClockMilliseconds;
    const auto at = [&](std::int64_t moment) {
      if (moment != 0) until = std::min(until, moment);
    };
    at(NextTick(model_));
    for (const auto& slot : slots_) {
      at(slot.escape_at);
      if (Holds(*slot.console) && !WaitsForQuestion(*slot.console)) at(model_.now);
      if (!slot.console->is_open()) {
        at(slot.reopen_at);
      } else if (slot.changed && !slot.console->is_busy()) {
        at(slot.urgent ? model_.now : slot.shown_at + Interval(*slot.console));
      }
    }
    return static_cast<int>(std::clamp<std::int64_t>(until - Now(), 0, kClockMilliseconds));
  }

  void Wait() {
    std::vector<pollfd> fds;
    const auto add = [&](int fd, short events) { fds.push_back({fd, events, 0}); };
    add(signals_.get(), POLLIN);
    add(engine_->fd(), POLLIN);
    for (const auto& source : sources_) add(source.fd(), POLLIN);
    const std::size_t first = fds.size();
    for (const auto& slot : slots_) {
      const Console& console = *slot.console;
      const bool reads = console.is_open() && !(WaitsForQuestion(console) || Holds(console));
      add(reads ? console.in() : -1, POLLIN);
      add(console.is_open() && console.is_busy() ? console.out() : -1, POLLOUT);
    }
    (void)::poll(fds.data(), fds.size(), Timeout());
    const std::int64_t before = model_.now;
    model_.now = Now();
    if (fds[0].revents != 0) HearSignals();
    if (fds[1].revents != 0) HearEngine();
    for (std::size_t i = 0; i < sources_.size(); ++i) {
      if (fds[2 + i].revents == 0) continue;
      sources_[i].Read(model_);
      if (model_.overlay == Overlay::kLog) Changed(false);
    }
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if ((fds[first + 2 * i].revents) != 0) HearConsole(i);
      if ((fds[first + 2 * i + 1].revents) != 0 && !slots_[i].console->Flush()) HangUp(slots_[i]);
    }
    for (std::size_t i = 0; i < slots_.size(); ++i) HearHeld(i);
    PassTime(before);
  }

  // A pipe's answers are read one question at a time; a person may type ahead, and stop a task.
  bool WaitsForQuestion(const Console& console) const {
    return console.in_lines() && !console.is_terminal() &&
           ((model_.work.running && model_.overlay == Overlay::kNone) || model_.secret_ends != 0);
  }
  static bool Holds(const Console& console) { return console.held_at < console.held_size; }

  void HearHeld(std::size_t number) {
    Slot& slot = slots_[number];
    Console& console = *slot.console;
    // An answer follows its question: what is to be shown comes first.
    while (!leave_ && Holds(console) && !WaitsForQuestion(console) && !slot.changed) {
      std::byte& byte = console.held.Reveal()[console.held_at++];
      HearLineByte(number, std::exchange(byte, std::byte{0}));
    }
  }

  void PassTime(std::int64_t before) {
    Handle(Tick(model_));
    if (model_.work.running && model_.now / 1000 != before / 1000) Changed(false);
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      Slot& slot = slots_[i];
      if (slot.escape_at != 0 && model_.now >= slot.escape_at) {
        slot.escape_at = 0;
        if (const auto key = slot.console->keys.Timeout()) HearKey(i, *key);
      }
      if (!slot.console->is_open()) {
        if (model_.now < slot.reopen_at) continue;
        slot.reopen_at = model_.now + kReopenMilliseconds;
        if (slot.console->Open()) Redraw(slot);
      } else if (slot.console->CheckSize()) {
        slot.console->FitFace();
        Redraw(slot);
      }
    }
  }

  void Redraw(Slot& slot) { slot.everything = slot.changed = slot.urgent = true; }

  void HearSignals() {
    signalfd_siginfo info{};
    while (::read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
      switch (static_cast<int>(info.ssi_signo)) {
        case SIGINT:
          Handle(Do(model_, Action::kQuit));
          Changed(true);
          break;
        case SIGTERM:
        case SIGHUP:
          // With several lines, or on our own machine, one that hangs up is no reason to go.
          if (info.ssi_signo == SIGTERM || (!several_ && !model_.setup.appliance)) ending_ = true;
          break;
        default:
          break;
      }
    }
    // What is being written is brought to its end first.
    if (ending_ && !(model_.work.running && model_.work.writes)) leave_ = Leave{};
    if (ending_ && leave_) leave_->exit_code = static_cast<int>(ErrorKind::kRefused);
  }

  void HearEngine() {
    for (auto& report : engine_->Take()) {
      // A stage or a result is shown at once, progress when it is due.
      Changed(!std::holds_alternative<Progressed>(report));
      Handle(Hear(model_, std::move(report)));
    }
    if (ending_ && !model_.work.running) leave_ = Leave{};
  }

  void HangUp(Slot& slot) {
    const bool only = !several_ && !model_.setup.appliance;
    slot.console->HangUp();
    slot.escape_at = 0;
    slot.reopen_at = model_.now + kReopenMilliseconds;
    if (!only) return;
    // Nobody can come back to a terminal of its own.
    ending_ = true;
    if (!(model_.work.running && model_.work.writes)) {
      leave_ = Leave{Leave::How::kExit, static_cast<int>(ErrorKind::kRefused)};
    }
  }

  void HearConsole(std::size_t number) {
    Slot& slot = slots_[number];
    Console& console = *slot.console;
    const ssize_t got = console.Read(input_);
    if (got < 0) return HangUp(slot);
    const ByteView bytes = ByteView(input_.Reveal()).first(static_cast<std::size_t>(got));
    if (console.in_lines() && !console.is_terminal()) {
      if (console.held.empty()) console.held = SecretBytes(input_.size());
      std::ranges::copy(bytes, console.held.Reveal().begin());
      console.held_at = 0;
      console.held_size = bytes.size();
    } else if (console.in_lines()) {
      for (const std::byte byte : bytes) HearLineByte(number, byte);
    } else {
      for (const std::byte byte : bytes) {
        if (const auto key = console.keys.Push(byte)) HearKey(number, *key);
      }
      slot.escape_at = console.keys.waiting() ? model_.now + kEscapeMilliseconds : 0;
    }
    // It may have been a secret.
    Wipe(input_.Reveal().first(static_cast<std::size_t>(got)));
  }

  void HearKey(std::size_t number, const Key& key) {
    Slot& slot = slots_[number];
    Changed(true);
    if (key.kind == Key::Kind::kCursorAt) {
      if (slot.console->HearCursor(key.number, key.column)) slot.everything = true;
      return;
    }
    if (key.kind == Key::Kind::kControlL) {
      (void)slot.console->CheckSize();
      slot.console->AskSize();
      slot.everything = true;
      return;
    }
    if (!InCharge(number)) return HearWatcher(number, key);
    Handle(Press(model_, key));
  }

  // A key on a console that is not in charge.
  void HearWatcher(std::size_t number, const Key& key) {
    Console& console = *slots_[number].console;
    if (!owner_) return TakeOver(number);
    if (key.kind != Key::Kind::kCharacter) return;
    if (console.asks_takeover) {
      console.asks_takeover = false;
      if (key.character == U'y') TakeOver(number);
    } else if (key.character == U't') {
      console.asks_takeover = true;
    }
  }

  void TakeOver(std::size_t number) {
    if (owner_) {
      Log(model_, fmt::format("taken over by {}", slots_[number].console->name()));
      slots_[*owner_].console->line_mode = LineMode();
    }
    owner_ = number;
    slots_[number].console->asks_takeover = false;
    slots_[number].console->line_mode = LineMode();
    Changed(true);
  }

  // ---- line mode ----

  void HearLineByte(std::size_t number, std::byte byte) {
    Console& console = *slots_[number].console;
    constexpr std::size_t kLongestLine = std::size_t{64} * 1024;
    if (console.line.empty()) console.line = SecretBytes(kLongestLine);
    if (byte == std::byte{'\r'}) return;
    if (byte != std::byte{'\n'}) {
      if (console.line_size < console.line.size()) {
        console.line.Reveal()[console.line_size++] = byte;
      }
      return;
    }
    const ByteView line = ByteView(console.line.Reveal()).first(console.line_size);
    console.line_size = 0;
    Changed(true);
    HearLine(number, line);
    Wipe(console.line.Reveal().first(line.size()));
  }

  void HearLine(std::size_t number, ByteView line) {
    Console& console = *slots_[number].console;
    if (!InCharge(number)) {
      console.mirror_shown.clear();
      const std::string word(AsText(line));
      if (!owner_) return TakeOver(number);
      if (console.asks_takeover && YesOrNo(word) == true) return TakeOver(number);
      console.asks_takeover = !console.asks_takeover && word == "t";
      return;
    }
    if (LineMode::WantsSecret(model_)) {
      Handle(LineMode::AnswerSecret(model_, line));
      console.Print("\n");
      return;
    }
    // The record of a pipe has the answers in it, too.
    if (!console.is_terminal()) console.Print(std::string(AsText(line)) + "\n");
    if (AsText(line) == "screen") return console.SetLines(false);
    std::string text;
    Handle(console.line_mode.Answer(model_, AsText(line), text));
    console.Print(text);
  }

  // ---- effects ----

  void Handle(Effects effects) {
    for (auto& effect : effects) {
      Changed(true);
      if (auto* start = std::get_if<StartTask>(&effect)) {
        engine_->Start(std::move(start->task));
      } else if (std::holds_alternative<ForgetKeys>(effect)) {
        engine_->Forget();
      } else if (std::holds_alternative<Repaint>(effect)) {
        if (owner_) slots_[*owner_].everything = true;
      } else if (std::holds_alternative<UseLines>(effect)) {
        if (owner_) slots_[*owner_].console->SetLines(true);
      } else {
        leave_ = std::get<Leave>(effect);
      }
    }
  }

  int Finish() const {
    // PID 1's own signals for an orderly power-off and reboot (systemd(1)).
    if (leave_->how == Leave::How::kPowerOff) (void)::kill(1, SIGRTMIN + 4);
    if (leave_->how == Leave::How::kReboot) (void)::kill(1, SIGRTMIN + 5);
    return leave_->exit_code;
  }

  std::unique_ptr<Engine> engine_;
  bool several_;
  Model model_;
  std::vector<Slot> slots_;
  std::optional<std::size_t> owner_;
  std::vector<LogSource> sources_;
  UniqueFd signals_;
  SecretBytes input_{4096};
  bool ending_ = false;
  std::optional<Leave> leave_;
};

}  // namespace

int RunWizard(const WizardOptions& options, std::unique_ptr<Engine> engine) {
  return Wizard(options, std::move(engine)).Run();
}

}  // namespace rescue::tui
