// Private to the room: whether events follow each other as etcd makes them, and which place in
// their transaction they have.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "rescue/backup/events.h"
#include "rescue/backup/object.h"
#include "rescue/base/result.h"

namespace rescue::backup {

class EventOrder {
 public:
  EventOrder(const ObjectName& name, std::string label) : name_(name), label_(std::move(label)) {}

  // Sets the event's `sub`. Errors: those of EventReader but "delta-json".
  Status Take(Event& event);
  // After the last event.
  Status Finish() const;

 private:
  tl::unexpected<Error> Refuse(std::string code, const std::string& reason) const;
  Status CheckShape(const Event& event) const;
  Status CheckRevision(std::uint64_t main) const;
  // False when the transaction has the key already.
  bool Note(std::string_view key);

  ObjectName name_;
  std::string label_;
  std::uint64_t last_main_ = 0;  // 0: no event yet
  std::uint64_t next_sub_ = 0;
  // Hashes of the keys of the current transaction: the first few, and all others when there are
  // many. With a million keys the chance that two different ones are taken for one is below 10^-7,
  // and then a restore is refused, not wrong.
  std::vector<std::uint64_t> few_;
  std::unordered_set<std::uint64_t> many_;
};

}  // namespace rescue::backup
