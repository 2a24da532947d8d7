#include "rescue/rpc/record.h"

#include <algorithm>
#include <utility>

namespace rescue::rpc {
namespace {

constexpr std::size_t kFirstSize = 8192;

}  // namespace

void RecordReader::Reset() {
  inside_ = false;
  too_long_ = false;
  Wipe(buffer_.Reveal().first(size_));
  size_ = 0;
}

void RecordReader::Start() {
  Reset();
  inside_ = true;
}

void RecordReader::Add(ByteView bytes) {
  if (too_long_ || bytes.empty()) return;
  if (bytes.size() > kMaxRecord - size_) {
    Reset();
    inside_ = true;
    too_long_ = true;
    return;
  }
  if (size_ + bytes.size() > buffer_.size()) {
    const std::size_t wanted = std::max(size_ + bytes.size(), buffer_.size() * 2);
    SecretBytes larger(std::clamp(wanted, kFirstSize, kMaxRecord));
    std::copy_n(buffer_.Reveal().begin(), size_, larger.Reveal().begin());
    buffer_ = std::move(larger);
  }
  std::copy(bytes.begin(), bytes.end(), buffer_.Reveal().begin() + static_cast<long>(size_));
  size_ += bytes.size();
}

void RecordReader::Finish(const Take& take) {
  Record record;
  record.too_long = too_long_;
  record.text = SecretBytes::CopyOf(std::as_const(buffer_).Reveal().first(size_));
  Reset();
  take(std::move(record));
}

void RecordReader::Feed(ByteView piece, const Take& take) {
  while (!piece.empty()) {
    if (!inside_) {
      const auto start = std::find(piece.begin(), piece.end(), kRecordStart);
      if (start == piece.end()) return;
      Start();
      piece = piece.subspan(static_cast<std::size_t>(start - piece.begin()) + 1);
      continue;
    }
    const auto end = std::find_if(piece.begin(), piece.end(),
                                  [](std::byte b) { return b == kRecordStart || b == kRecordEnd; });
    const auto count = static_cast<std::size_t>(end - piece.begin());
    Add(piece.first(count));
    if (end == piece.end()) return;
    piece = piece.subspan(count + 1);
    if (*end == kRecordStart) {
      Start();
    } else {
      Finish(take);
    }
  }
}

std::string ToRecord(std::string_view text) {
  std::string record;
  record.reserve(text.size() + 2);
  record += static_cast<char>(kRecordStart);
  record += text;
  record += static_cast<char>(kRecordEnd);
  return record;
}

}  // namespace rescue::rpc
