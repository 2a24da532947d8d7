#include "rescue/backup/events.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "rescue/backup/event_json.h"
#include "rescue/backup/event_order.h"
#include "rescue/base/checksum.h"
#include "rescue/base/units.h"

namespace rescue::backup {
namespace {

constexpr std::size_t kFirstBuffer = 256 * kKiB;
// The largest event in base64, and some room for its other fields and for white space.
constexpr std::size_t kLargestBuffer = (kMaxKeySize + kMaxValueSize) / 3 * 4 + 64 * kKiB;
constexpr std::size_t kDigestSize = std::tuple_size_v<Sha256Digest>;

}  // namespace

// The bytes from begin_ to end_ of buffer_ are read, but not parsed. An event that does not fit is
// parsed again from its start when more is there, which the doubling of the buffer keeps cheap.
class EventReader::Parser {
 public:
  Parser(std::unique_ptr<ByteSource> source, const ObjectName& name, std::string label)
      : source_(std::move(source)), order_(name, label), label_(std::move(label)) {}

  Result<const Event*> Next() {
    if (error_) return Fail(*error_);
    if (finished_) return nullptr;
    auto next = Take();
    if (!next) error_ = next.error();
    return next;
  }

  std::uint64_t events() const { return events_; }
  std::uint64_t stored_position() const { return source_->stored_position(); }

 private:
  Result<const Event*> Take();
  // The next element of the list, with as much more of the object as that takes.
  Status TakeElement(RawEvent& raw, bool& list_ends);
  // What follows the list: its digest, and then nothing.
  Status TakeDigest();
  Status Decode(const RawEvent& raw);
  // False at the end of the object.
  Result<bool> ReadMore();
  void Consume(std::size_t count) { begin_ += count; }
  // Everything up to begin_ into the digest.
  void Digest();

  std::string_view unparsed() const {
    return AsText(ByteView(buffer_).subspan(begin_, end_ - begin_));
  }
  tl::unexpected<Error> Refuse(std::string code, const std::string& reason) const {
    return Fail(ErrorKind::kDataDamaged, std::move(code),
                fmt::format("read the events of {}: {}", label_, reason),
                "fetch the object again from where the backups are kept, or restore to before it "
                "(--to-revision)");
  }
  tl::unexpected<Error> TooLarge(const std::string& what) const {
    return Fail(ErrorKind::kRefused, "delta-too-large",
                fmt::format("read the events of {}: {}", label_, what),
                "look at where the object comes from; no etcd writes such an event");
  }

  std::unique_ptr<ByteSource> source_;
  EventOrder order_;
  std::string label_;
  Bytes buffer_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t digested_ = 0;   // how far the digest goes
  std::uint64_t dropped_ = 0;  // plain bytes before buffer_
  Sha256Hasher hasher_;
  std::string decoded_;  // key and value of event_
  Event event_;
  std::uint64_t events_ = 0;
  bool started_ = false;
  bool finished_ = false;
  std::optional<Error> error_;
};

void EventReader::Parser::Digest() {
  hasher_.Update(ByteView(buffer_).subspan(digested_, begin_ - digested_));
  digested_ = begin_;
}

Result<bool> EventReader::Parser::ReadMore() {
  Digest();
  std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
            buffer_.begin() + static_cast<std::ptrdiff_t>(end_), buffer_.begin());
  dropped_ += begin_;
  end_ -= begin_;
  begin_ = digested_ = 0;
  if (end_ == buffer_.size()) {
    if (end_ >= kLargestBuffer) {
      return TooLarge(
          fmt::format("byte {}: an event of more than {}", dropped_, FormatSize(kLargestBuffer)));
    }
    buffer_.resize(std::clamp(2 * end_, kFirstBuffer, kLargestBuffer));
  }
  ASSIGN_OR_RETURN(const std::size_t count, source_->Read(std::span(buffer_).subspan(end_)));
  end_ += count;
  return count > 0;
}

Status EventReader::Parser::TakeElement(RawEvent& raw, bool& list_ends) {
  for (;;) {
    JsonCursor cursor(unparsed());
    switch (cursor.TakeElement(!started_, raw, list_ends)) {
      case ParseState::kDone:
        started_ = true;
        Consume(cursor.position());
        return {};
      case ParseState::kBad:
        return Refuse(
            "delta-json",
            fmt::format("byte {}: {}", dropped_ + begin_ + cursor.position(), cursor.reason()));
      case ParseState::kNeedMore:
        break;
    }
    ASSIGN_OR_RETURN(const bool more, ReadMore());
    if (!more) {
      return Refuse("delta-truncated",
                    fmt::format("it ends at byte {}, in the middle of the list", dropped_ + end_));
    }
  }
}

Status EventReader::Parser::TakeDigest() {
  Digest();
  while (end_ - begin_ <= kDigestSize) {
    ASSIGN_OR_RETURN(const bool more, ReadMore());
    if (!more) break;
  }
  const ByteView rest = ByteView(buffer_).subspan(begin_, end_ - begin_);
  if (rest.size() < kDigestSize) {
    return Refuse("delta-truncated",
                  fmt::format("only {} of the 32 bytes of its SHA-256 are there", rest.size()));
  }
  if (rest.size() > kDigestSize) {
    return Refuse("delta-trailing-bytes", "something follows its SHA-256");
  }
  if (!Equal(rest, hasher_.Finish())) {
    return Refuse("delta-hash-mismatch", "its SHA-256 is not the one at its end");
  }
  return {};
}

Status EventReader::Parser::Decode(const RawEvent& raw) {
  const auto key_size = Base64Size(raw.key);
  const auto value_size = Base64Size(raw.value);
  if (!key_size || !value_size) {
    return Refuse("delta-json",
                  fmt::format("event {}: the length of its base64 cannot be", events_ + 1));
  }
  if (*key_size > kMaxKeySize || *value_size > kMaxValueSize) {
    return TooLarge(fmt::format("event {}: a key of {} and a value of {}", events_ + 1,
                                FormatSize(*key_size), FormatSize(*value_size)));
  }
  if (decoded_.size() < *key_size + *value_size) decoded_.resize(*key_size + *value_size);
  if (!DecodeBase64(raw.key, decoded_.data()) ||
      !DecodeBase64(raw.value, decoded_.data() + *key_size)) {
    return Refuse("delta-json", fmt::format("event {}: key or value is no base64", events_ + 1));
  }
  if (raw.type > 1) {
    return Refuse("delta-json", fmt::format("event {}: type {} is unknown", events_ + 1, raw.type));
  }
  const std::string_view decoded(decoded_);
  event_ = {.tombstone = raw.type == 1,
            .main = raw.mod_revision,
            .sub = 0,
            .key = decoded.substr(0, *key_size),
            .value = decoded.substr(*key_size, *value_size),
            .create_revision = raw.create_revision,
            .version = raw.version,
            .lease = raw.lease};
  return {};
}

Result<const Event*> EventReader::Parser::Take() {
  RawEvent raw;
  bool list_ends = false;
  RETURN_IF_ERROR(TakeElement(raw, list_ends));
  if (!list_ends) {
    RETURN_IF_ERROR(Decode(raw));
    RETURN_IF_ERROR(order_.Take(event_));
    ++events_;
    return &event_;
  }
  RETURN_IF_ERROR(TakeDigest());
  RETURN_IF_ERROR(order_.Finish());
  finished_ = true;
  return nullptr;
}

EventReader::EventReader(std::unique_ptr<ByteSource> source, const ObjectName& name,
                         std::string label)
    : parser_(std::make_unique<Parser>(std::move(source), name, std::move(label))) {}
EventReader::~EventReader() = default;
EventReader::EventReader(EventReader&&) noexcept = default;
EventReader& EventReader::operator=(EventReader&&) noexcept = default;

Result<const Event*> EventReader::Next() { return parser_->Next(); }
std::uint64_t EventReader::events() const { return parser_->events(); }
std::uint64_t EventReader::stored_position() const { return parser_->stored_position(); }

}  // namespace rescue::backup
