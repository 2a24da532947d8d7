// Records on their way to a line that may be slow, or gone.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>

namespace rescue::rpc {

// While more than this waits, nothing more is read from the line, and progress is left out.
inline constexpr std::size_t kMuchWaiting = 1 << 20;

class Outbox {
 public:
  void Put(std::string record);
  // The same, but it may be left out when much is waiting, or be replaced by the next of its kind
  // that comes before it was begun.
  void PutProgress(std::string record);

  bool empty() const { return records_.empty(); }
  bool is_full() const { return size_ > kMuchWaiting; }
  // What is to be sent next; never empty unless the outbox is.
  std::string_view Front() const;
  void Sent(std::size_t bytes);
  // The line was lost in the middle of a record: it is sent from its start again.
  void Rewind() { sent_ = 0; }
  // Nobody was there to take it.
  void Clear();

 private:
  struct Waiting {
    std::string record;
    bool progress = false;
  };
  std::deque<Waiting> records_;
  std::size_t size_ = 0;
  std::size_t sent_ = 0;  // of the first
};

}  // namespace rescue::rpc
