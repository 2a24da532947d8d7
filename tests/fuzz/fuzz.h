// What the fuzz targets share: promises, and the hooks that libFuzzer calls.
//
// A target is one file, NAME_fuzzer.cc, with LLVMFuzzerTestOneInput; a target for a format with
// checksums also has LLVMFuzzerCustomMutator, which changes what the checksums cover and computes
// them anew: otherwise nearly every mutation would end at the first check.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>

#include "rescue/base/bytes.h"

// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp): libFuzzer's names
extern "C" {
int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);
std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                    unsigned int seed);
std::size_t LLVMFuzzerCustomCrossOver(const std::uint8_t* data1, std::size_t size1,
                                      const std::uint8_t* data2, std::size_t size2,
                                      std::uint8_t* out, std::size_t max_out_size,
                                      unsigned int seed);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

// A broken promise ends the run like a crash, and libFuzzer keeps the input.
#define PROMISE(condition)                                                                       \
  do {                                                                                           \
    if (!(condition)) {                                                                          \
      (void)std::fprintf(stderr, "%s:%d: broken promise: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                              \
    }                                                                                            \
  } while (false)

namespace rescue::fuzz {

inline ByteView Input(const std::uint8_t* data, std::size_t size) {
  return std::as_bytes(std::span(data, size));
}

// One libFuzzer mutation of `bytes`, which may grow by `room` bytes.
inline void Mutate(Bytes& bytes, std::size_t room) {
  const std::size_t size = bytes.size();
  bytes.resize(size + room);
  if (bytes.empty()) return;
  bytes.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(bytes.data()), size, bytes.size()));
}

// A mutator's result; what does not fit is cut off, as a torn write would.
inline std::size_t Output(ByteView bytes, std::uint8_t* data, std::size_t max_size) {
  const std::size_t size = std::min(bytes.size(), max_size);
  if (size > 0) std::memcpy(data, bytes.data(), size);
  return size;
}

using Random = std::minstd_rand;
inline std::size_t Pick(Random& random, std::size_t count) { return random() % count; }

}  // namespace rescue::fuzz
