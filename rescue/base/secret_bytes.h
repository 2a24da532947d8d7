// Memory for secrets: locked (never swapped), left out of core dumps, wiped on every path, and not
// inherited by a forked process.
// Move-only; no formatter, no comparison operator, no implicit view, so that a secret cannot slip
// into a log, a report or a message.
#pragma once

#include <cstddef>
#include <span>

#include "rescue/base/bytes.h"

namespace rescue {

class SecretBytes {
 public:
  SecretBytes() = default;
  // `size` zero bytes in their own pages. Throws std::bad_alloc when memory is exhausted; memory
  // that cannot be locked (RLIMIT_MEMLOCK) is still kept out of dumps and wiped; AllLocked tells.
  explicit SecretBytes(std::size_t size);
  SecretBytes(SecretBytes&& other) noexcept;
  SecretBytes& operator=(SecretBytes&& other) noexcept;
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes();

  // A copy in secret memory; the caller wipes its own.
  static SecretBytes CopyOf(ByteView bytes);

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  // The caller must not keep what it sees here.
  std::span<std::byte> Reveal() { return {data_, size_}; }
  ByteView Reveal() const { return {data_, size_}; }
  // Keeps the first `size` bytes and wipes the rest.
  void Shrink(std::size_t size);

  // False once any secret of this process could not be locked; it may then reach a swap device.
  static bool AllLocked();

 private:
  void Release() noexcept;

  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t mapped_ = 0;
};

// Overwrites memory in a way that the compiler does not remove.
void Wipe(std::span<std::byte> memory);

}  // namespace rescue
