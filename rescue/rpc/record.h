// Records on a byte stream that others write to, too: RS (0x1E), JSON text, LF (RFC 7464).
//
// Whatever lies between an LF and the next RS is skipped: a kernel message, a terminal's escape
// sequence, an echo, a megabyte of anything. Stricter than the RFC in one point: the first LF ends
// the record, so that its text has no line breaks (in JSON they are never needed). A record that
// was cut off, or into which somebody wrote, so ends at the next line end at the latest.
#pragma once

#include <functional>
#include <string>

#include "rescue/base/bytes.h"
#include "rescue/base/secret_bytes.h"

namespace rescue::rpc {

inline constexpr std::byte kRecordStart{0x1E};
inline constexpr std::byte kRecordEnd{0x0A};
// A job has at most 1 MiB; a longer record is skipped to its end and reported as such.
inline constexpr std::size_t kMaxRecord = (1 << 20) + 4096;

// Text between RS and LF, without them; in secret memory, because it may carry a secret.
struct Record {
  SecretBytes text;
  bool too_long = false;  // then `text` is empty
};

// Takes a stream apart, whatever the sizes of its pieces.
class RecordReader {
 public:
  using Take = std::function<void(Record)>;
  // Calls `take` for every record that this piece completes. A record in which another starts was
  // cut off and is dropped.
  void Feed(ByteView piece, const Take& take);
  // Drops what has begun: the line was lost.
  void Reset();

 private:
  void Start();
  void Add(ByteView bytes);
  void Finish(const Take& take);

  bool inside_ = false;
  bool too_long_ = false;
  SecretBytes buffer_;  // grows; the first `size_` bytes are the record so far
  std::size_t size_ = 0;
};

// `text` as a record. It must have no line break.
std::string ToRecord(std::string_view text);

}  // namespace rescue::rpc
