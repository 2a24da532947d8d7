#include "rescue/backup/event_order.h"

#include <fmt/format.h>

#include <algorithm>

#include "rescue/base/checksum.h"

namespace rescue::backup {

tl::unexpected<Error> EventOrder::Refuse(std::string code, const std::string& reason) const {
  return Fail(ErrorKind::kDataDamaged, std::move(code),
              fmt::format("read the events of {}: {}", label_, reason),
              fmt::format("restore to before it (--to-revision {}), or fetch it again",
                          name_.start > 0 ? name_.start - 1 : 0));
}

Status EventOrder::CheckShape(const Event& event) const {
  const auto refuse = [&](std::string_view reason) {
    return Refuse("delta-event", fmt::format("revision {}: {}", event.main, reason));
  };
  if (event.main == 0) return refuse("an event without a revision");
  if (event.key.empty()) return refuse("an event without a key");
  if (event.tombstone) {
    if (event.value.empty() && event.create_revision == 0 && event.version == 0 &&
        event.lease == 0) {
      return {};
    }
    return refuse("a deletion that has more than a key and a revision");
  }
  if (event.create_revision == 0 || event.create_revision > event.main) {
    return refuse(fmt::format("created at {}, which is not before it", event.create_revision));
  }
  // A key gets version 1 when it is created and at most one more with every later revision.
  const bool is_new = event.create_revision == event.main;
  const std::uint64_t most = event.main - event.create_revision + 1;
  if (event.version == 0 || event.version > most || is_new != (event.version == 1)) {
    return refuse(
        fmt::format("version {} of a key created at {}", event.version, event.create_revision));
  }
  return {};
}

Status EventOrder::CheckRevision(std::uint64_t main) const {
  if (main > name_.last) {
    return Refuse(
        "delta-beyond-name",
        fmt::format("revision {} is after {}, the last one that its name says", main, name_.last));
  }
  if (last_main_ == 0) {
    if (main < name_.start) {
      return Refuse("delta-order",
                    fmt::format("it starts with revision {}, its name says {}", main, name_.start));
    }
    if (main > name_.start) {
      return Refuse(
          "delta-hole",
          fmt::format("revisions {} to {} are missing: its name says that it starts there",
                      name_.start, main - 1));
    }
    return {};
  }
  if (main < last_main_) {
    return Refuse("delta-order", fmt::format("revision {} comes after {}", main, last_main_));
  }
  if (main > last_main_ + 1) {
    return Refuse("delta-hole", fmt::format("revision {} follows {}: what lies between is missing",
                                            main, last_main_));
  }
  return {};
}

bool EventOrder::Note(std::string_view key) {
  constexpr std::size_t kFew = 16;
  const std::uint64_t hash = Fnv1a64(AsBytes(key));
  if (std::ranges::find(few_, hash) != few_.end()) return false;
  if (few_.size() == kFew) return many_.insert(hash).second;
  few_.push_back(hash);
  return true;
}

Status EventOrder::Take(Event& event) {
  RETURN_IF_ERROR(CheckShape(event));
  RETURN_IF_ERROR(CheckRevision(event.main));
  if (event.main != last_main_) {
    last_main_ = event.main;
    next_sub_ = 0;
    few_.clear();
    if (!many_.empty()) many_ = {};
  }
  if (next_sub_ == kMaxTransaction) {
    return Fail(ErrorKind::kRefused, "delta-too-large",
                fmt::format("read the events of {}: revision {} has more than {} changes", label_,
                            event.main, kMaxTransaction),
                "look at where the object comes from; no etcd writes such a transaction");
  }
  if (!Note(event.key)) {
    return Refuse("delta-duplicate-key", fmt::format("revision {} changes key {} twice", event.main,
                                                     Printable(event.key, 80)));
  }
  event.sub = next_sub_++;
  return {};
}

Status EventOrder::Finish() const {
  if (last_main_ == 0) {
    return Refuse("delta-empty",
                  fmt::format("it has none, but its name promises revisions {} to {}", name_.start,
                              name_.last));
  }
  if (last_main_ != name_.last) {
    return Refuse("delta-short", fmt::format("they end at revision {}, its name promises {}",
                                             last_main_, name_.last));
  }
  return {};
}

}  // namespace rescue::backup
