// Private to the room: one event of a delta's JSON list, taken from the front of a text.
//
// A hand-written parser, because the list does not fit in memory and a general one costs more than
// everything else together. It takes what Go's encoding/json makes of mvccpb.Event and nothing
// else: known fields, once each, in any order; numbers that are non-negative integers; strings
// without escapes (base64 needs none); white space between tokens.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rescue::backup {

// As it stands in the text; the views point into it. Absent fields are 0 or empty, as in Go.
struct RawEvent {
  std::uint64_t type = 0;
  std::string_view key;    // base64
  std::string_view value;  // base64
  std::uint64_t create_revision = 0;
  std::uint64_t mod_revision = 0;
  std::uint64_t version = 0;
  std::uint64_t lease = 0;
};

enum class ParseState {
  kDone,
  kNeedMore,  // the text ends inside it, which is fine if more can follow
  kBad,       // no continuation could make it right
};

class JsonCursor {
 public:
  explicit JsonCursor(std::string_view text)
      : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}

  // The next element of the list, {"etcdEvent":{...},"time":"..."}, with the '[' (the first one) or
  // the ',' before it; or the ']' that ends the list.
  ParseState TakeElement(bool first, RawEvent& event, bool& list_ends);

  std::size_t position() const { return static_cast<std::size_t>(at_ - begin_); }
  // After kBad: what is wrong at position().
  const std::string& reason() const { return reason_; }

 private:
  using Field = ParseState (JsonCursor::*)(std::string_view name, unsigned& seen, RawEvent& event);

  ParseState Bad(std::string reason);
  // Behind white space.
  ParseState NextCharacter(char& found);
  ParseState TakeAny(std::string_view wanted, char& found);
  ParseState Expect(char wanted);
  ParseState TakeString(std::string_view& text);
  ParseState TakeNumber(std::uint64_t& number);
  ParseState TakeObject(Field take_field, RawEvent& event);
  ParseState ElementField(std::string_view name, unsigned& seen, RawEvent& event);
  ParseState EventField(std::string_view name, unsigned& seen, RawEvent& event);
  ParseState KeyValueField(std::string_view name, unsigned& seen, RawEvent& event);
  ParseState Once(std::string_view name, unsigned& seen, unsigned bit);

  const char* begin_;
  const char* at_;
  const char* end_;
  std::string reason_;
};

// Decoded size of base64 with padding; nothing when the length cannot be.
std::optional<std::size_t> Base64Size(std::string_view text);
// RFC 4648 section 4 with padding, into `to`, which has Base64Size bytes. False for anything else.
bool DecodeBase64(std::string_view text, char* to);

}  // namespace rescue::backup
