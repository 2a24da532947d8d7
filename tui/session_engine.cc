// The engine on session's pipeline.
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <mutex>
#include <thread>

#include "rescue/base/unique_fd.h"
#include "rescue/disk/arrival.h"
#include "rescue/session/report.h"
#include "tui/engine.h"

namespace rescue::tui {
namespace {

// Reports from the worker thread to the thread that draws.
class Mailbox {
 public:
  Mailbox() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  int fd() const { return event_.get(); }

  void Post(Report report) {
    const std::lock_guard lock(mutex_);
    const bool replaces = std::holds_alternative<Progressed>(report) && !reports_.empty() &&
                          std::holds_alternative<Progressed>(reports_.back());
    if (replaces) {
      reports_.back() = std::move(report);
    } else {
      reports_.push_back(std::move(report));
    }
    const std::uint64_t one = 1;
    // It can only fail when the counter is full, and then the reader is woken anyway.
    (void)!::write(event_.get(), &one, sizeof(one));
  }

  std::vector<Report> Take() {
    const std::lock_guard lock(mutex_);
    std::uint64_t count = 0;
    (void)!::read(event_.get(), &count, sizeof(count));
    return std::exchange(reports_, {});
  }

 private:
  UniqueFd event_;
  std::mutex mutex_;
  std::vector<Report> reports_;
};

class Poster final : public session::Observer {
 public:
  explicit Poster(Mailbox& mailbox) : mailbox_(mailbox) {}
  void Started(session::Stage stage) override { mailbox_.Post(StageBegan{stage}); }
  void Ended(const session::StageTime& stage) override { mailbox_.Post(StageEnded{stage}); }
  void Progress(session::Stage stage, std::uint64_t done, std::uint64_t total) override {
    mailbox_.Post(Progressed{stage, done, total});
  }

 private:
  Mailbox& mailbox_;
};

// On a busy machine the thread that answers keys comes first. (Linux: a thread has a priority of
// its own, which the threads that it starts inherit.)
void StepBack() {
  constexpr int kNiceness = 5;  // a third of the processor while others want it, too
  const auto self = static_cast<id_t>(::gettid());
  (void)::setpriority(PRIO_PROCESS, self, ::getpriority(PRIO_PROCESS, self) + kNiceness);
}

using std::chrono::steady_clock;
// The slowest emulated machine needs a tenth of it.
constexpr std::chrono::minutes kToStart(2);

class SessionEngine final : public Engine {
 public:
  ~SessionEngine() override {
    if (worker_.joinable()) worker_.join();
  }

  void Start(Task task) override {
    if (worker_.joinable()) worker_.join();
    worker_ = std::thread([this, task = std::move(task)]() mutable {
      StepBack();
      Finished finished;
      finished.what = static_cast<TaskKind>(task.index());
      try {
        finished.status = std::visit([&](auto& t) { return Do(t, finished); }, task);
      } catch (const std::exception& error) {
        // Only the language itself throws here (memory); whatever was open closed on the way.
        finished.status =
            Fail(ErrorKind::kOther, "no-memory", fmt::format("run the pipeline: {}", error.what()));
      }
      mailbox_.Post(std::move(finished));
    });
  }

  int fd() const override { return mailbox_.fd(); }
  std::vector<Report> Take() override { return mailbox_.Take(); }

  void Forget() override {
    if (worker_.joinable()) worker_.join();
    unlocked_.Clear();
  }

 private:
  session::Request RequestFor(session::Command command, const Place& place,
                              const std::string& journal_directory) {
    session::Request request;
    request.command = command;
    if (place.is_disk()) {
      request.disk = place.disk;
      request.consent_luks_uuid = place.luks_uuid;
    } else {
      request.data_directory = place.data_directory;
    }
    request.secret = session::NoSecretKept;
    request.unlocked = &unlocked_;
    request.journal_directory = journal_directory;
    return request;
  }

  static auto Reader(const SecretFrom& from, Finished& finished) {
    return [&] { return session::ReadSecret(from, finished.pin_tries); };
  }

  static Status Do(const FindTask& task, Finished& finished) {
    if (!task.after.empty() && !disk::WaitForFile(task.after, steady_clock::now() + kToStart)) {
      return Fail(ErrorKind::kOther, "machine-not-ready",
                  fmt::format("look for disks: the machine has not finished starting ({} is "
                              "missing)",
                              task.after),
                  "look at the messages (l); then look again (r)");
    }
    if (task.tpm) finished.sealed = session::FindSealedSecret();
    if (task.disks.empty()) {
      ASSIGN_OR_RETURN(finished.disks, disk::FindDisks());
      return {};
    }
    for (const auto& disk : task.disks) {
      ASSIGN_OR_RETURN(auto found, disk::ExamineDisk(disk));
      finished.disks.push_back(std::move(found));
    }
    return {};
  }

  Status Do(const LookTask& task, Finished& finished) {
    Poster poster(mailbox_);
    std::vector<session::Request> requests;
    for (const auto& place : task.places) {
      auto request = RequestFor(session::Command::kPlan, place, task.journal_directory);
      request.recommend = true;
      if (task.secret) request.secret = Reader(*task.secret, finished);
      requests.push_back(std::move(request));
    }
    if (requests.size() == 1) return session::Run(requests.front(), poster, finished.outcome);
    ASSIGN_OR_RETURN(finished.comparison,
                     session::CompareSurvivors(requests, poster, finished.compared));
    return {};
  }

  Status Do(const PlanTask& task, Finished& finished) {
    Poster poster(mailbox_);
    auto request = RequestFor(session::Command::kPlan, task.place, task.journal_directory);
    request.wishes = task.wishes;
    return session::Run(request, poster, finished.outcome);
  }

  Status Do(const ApplyTask& task, Finished& finished) {
    Poster poster(mailbox_);
    auto request = RequestFor(session::Command::kApply, task.place, task.journal_directory);
    request.wishes = task.wishes;
    request.confirmed_plan = task.confirmed_plan;
    return session::Run(request, poster, finished.outcome);
  }

  Status Do(const UndoTask& task, Finished& finished) {
    Poster poster(mailbox_);
    auto request = RequestFor(session::Command::kUndo, task.place, task.journal_directory);
    if (task.secret) request.secret = Reader(*task.secret, finished);
    return session::Run(request, poster, finished.outcome);
  }

  static Status Do(const SaveTask& task, Finished&) {
    if (task.disk) return session::SaveReportOn(*task.disk, task.path, task.text, task.json);
    return session::SaveReport(task.path, task.text, task.json);
  }

  Mailbox mailbox_;
  session::UnlockCache unlocked_;  // used by the worker while there is one
  std::thread worker_;
};

}  // namespace

std::unique_ptr<Engine> MakeSessionEngine() { return std::make_unique<SessionEngine>(); }

}  // namespace rescue::tui
