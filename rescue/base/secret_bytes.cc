#include "rescue/base/secret_bytes.h"

#include <openssl/crypto.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

namespace rescue {
namespace {

std::atomic<bool> g_all_locked = true;

}  // namespace

SecretBytes::SecretBytes(std::size_t size) : size_(size) {
  if (size == 0) return;
  const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
  mapped_ = (size + page - 1) / page * page;
  void* memory =
      ::mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  // mlock2, because AddressSanitizer replaces mlock by nothing and the tests could not see it work.
  if (::mlock2(memory, mapped_, 0) != 0) g_all_locked = false;
  (void)::madvise(memory, mapped_, MADV_DONTDUMP);
  (void)::madvise(memory, mapped_, MADV_WIPEONFORK);
  data_ = static_cast<std::byte*>(memory);
}

SecretBytes::SecretBytes(SecretBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_(std::exchange(other.size_, 0)),
      mapped_(std::exchange(other.mapped_, 0)) {}

SecretBytes& SecretBytes::operator=(SecretBytes&& other) noexcept {
  if (this == &other) return *this;
  // What was here goes now, and not when the other object does.
  Release();
  data_ = std::exchange(other.data_, nullptr);
  size_ = std::exchange(other.size_, 0);
  mapped_ = std::exchange(other.mapped_, 0);
  return *this;
}

SecretBytes::~SecretBytes() { Release(); }

void SecretBytes::Release() noexcept {
  if (data_ == nullptr) return;
  Wipe({data_, mapped_});
  (void)::munmap(data_, mapped_);
  data_ = nullptr;
}

bool SecretBytes::AllLocked() { return g_all_locked; }

SecretBytes SecretBytes::CopyOf(ByteView bytes) {
  SecretBytes copy(bytes.size());
  std::copy(bytes.begin(), bytes.end(), copy.data_);
  return copy;
}

void SecretBytes::Shrink(std::size_t size) {
  if (size >= size_) return;
  Wipe({data_ + size, size_ - size});
  size_ = size;
}

void Wipe(std::span<std::byte> memory) { OPENSSL_cleanse(memory.data(), memory.size()); }

}  // namespace rescue
