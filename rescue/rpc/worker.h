// The thread that does the work, while another one keeps the line alive.
//
//   line's thread ── Start(task) ──> worker ── session's pipeline
//                <── Take(): stages, progress, the end ──┘   fd() says when
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <variant>
#include <vector>

#include "rescue/session/pipeline.h"

namespace rescue::rpc {

struct StageBegan {
  session::Stage stage{};
};
struct StageEnded {
  session::StageTime stage;
};
struct Progressed {
  session::Stage stage{};
  std::uint64_t done = 0;
  std::uint64_t total = 0;
};
// The task has ended; carries nothing, the task has written down what came of it.
struct TaskEnded {};
using Event = std::variant<StageBegan, StageEnded, Progressed, TaskEnded>;

class Mailbox;

class Worker {
 public:
  using Task = std::function<void(session::Observer&)>;

  Worker();
  ~Worker();  // waits for the task
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Only when the last task has ended. It must not throw.
  void Start(Task task);
  // Waits for the task; its events still are to be taken.
  void Join();
  // Readable when Take() has something.
  int fd() const;
  // In the order in which it happened; of several Progressed in a row only the last.
  std::vector<Event> Take();

 private:
  std::unique_ptr<Mailbox> mailbox_;
  std::thread thread_;
};

}  // namespace rescue::rpc
