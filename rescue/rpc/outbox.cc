#include "rescue/rpc/outbox.h"

#include <utility>

namespace rescue::rpc {

void Outbox::Put(std::string record) {
  size_ += record.size();
  records_.push_back({std::move(record), false});
}

void Outbox::PutProgress(std::string record) {
  const bool begun = records_.size() == 1 && sent_ > 0;
  if (!records_.empty() && records_.back().progress && !begun) {
    size_ -= records_.back().record.size();
    records_.pop_back();
  }
  if (is_full()) return;
  size_ += record.size();
  records_.push_back({std::move(record), true});
}

std::string_view Outbox::Front() const {
  if (records_.empty()) return {};
  return std::string_view(records_.front().record).substr(sent_);
}

void Outbox::Sent(std::size_t bytes) {
  sent_ += bytes;
  if (records_.empty() || sent_ < records_.front().record.size()) return;
  size_ -= records_.front().record.size();
  records_.pop_front();
  sent_ = 0;
}

void Outbox::Clear() {
  records_.clear();
  size_ = 0;
  sent_ = 0;
}

}  // namespace rescue::rpc
