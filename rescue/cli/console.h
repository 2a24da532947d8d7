// Lines for people, on one or several terminals, and the stages of a run as such lines.
#pragma once

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/unique_fd.h"
#include "rescue/session/pipeline.h"

namespace rescue::cli {

class Console {
 public:
  // Writes to this open descriptor, which stays the caller's.
  explicit Console(int fd) : primary_(fd) {}
  // A further terminal; one that does not exist is left out silently: an appliance has a serial
  // line or a screen or both.
  void Add(const std::string& device);
  void Line(std::string_view text);
  void Lines(const std::vector<std::string>& lines, std::string_view indent = "");
  // Waits until serial lines have sent what was written: a power-off would cut it off.
  void Drain();

 private:
  int primary_;
  std::vector<UniqueFd> further_;
};

// One line a stage, as scripts may rely on: "unlock    ok       3.80 s  key slot 0, ...".
class StageLines final : public session::Observer {
 public:
  explicit StageLines(Console& console) : console_(console) {}
  // Once apply has begun, the process cannot be ended by a signal any more.
  void Started(session::Stage stage) override;
  void Ended(const session::StageTime& stage) override;
  // A line every few seconds: what is read, how much of it, how fast, how long it will take.
  void Working(session::Stage stage, const session::Work& work) override;

 private:
  Console& console_;
  std::chrono::steady_clock::time_point told_ = std::chrono::steady_clock::now();
};

}  // namespace rescue::cli
