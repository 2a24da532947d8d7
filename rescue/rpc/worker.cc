#include "rescue/rpc/worker.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <mutex>
#include <utility>

#include "rescue/base/unique_fd.h"

namespace rescue::rpc {

class Mailbox final : public session::Observer {
 public:
  Mailbox() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

  int fd() const { return event_.get(); }

  void Started(session::Stage stage) override { Post(StageBegan{stage}); }
  void Ended(const session::StageTime& stage) override { Post(StageEnded{stage}); }
  void Progress(session::Stage stage, std::uint64_t done, std::uint64_t total) override {
    Post(Progressed{stage, done, total});
  }

  void Post(Event event) {
    const std::lock_guard lock(mutex_);
    const bool replaces = std::holds_alternative<Progressed>(event) && !events_.empty() &&
                          std::holds_alternative<Progressed>(events_.back());
    if (replaces) {
      events_.back() = std::move(event);
    } else {
      events_.push_back(std::move(event));
    }
    const std::uint64_t one = 1;
    // It can only fail when the counter is full, and then the reader is woken anyway.
    (void)!::write(event_.get(), &one, sizeof(one));
  }

  std::vector<Event> Take() {
    const std::lock_guard lock(mutex_);
    std::uint64_t count = 0;
    (void)!::read(event_.get(), &count, sizeof(count));
    return std::exchange(events_, {});
  }

 private:
  UniqueFd event_;
  std::mutex mutex_;
  std::vector<Event> events_;
};

Worker::Worker() : mailbox_(std::make_unique<Mailbox>()) {}

Worker::~Worker() { Join(); }

void Worker::Start(Task task) {
  Join();
  thread_ = std::thread([this, task = std::move(task)] {
    task(*mailbox_);
    mailbox_->Post(TaskEnded{});
  });
}

void Worker::Join() {
  if (thread_.joinable()) thread_.join();
}

int Worker::fd() const { return mailbox_->fd(); }

std::vector<Event> Worker::Take() { return mailbox_->Take(); }

}  // namespace rescue::rpc
