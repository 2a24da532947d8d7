// LZW as Go writes it, and the two other compressions of backup objects behind the same stream.
//
// Promises: what is decompressed does not depend on how much is asked for at once, nor on being
// cloned in the middle, and is never more than the limit; errors are of the named kinds.
#include <algorithm>
#include <cstring>
#include <string>

#include "rescue/backup/object.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::backup {
namespace {

constexpr std::size_t kMaxInput = std::size_t{1} << 16;
constexpr std::uint64_t kLimit = std::uint64_t{1} << 20;

class InputFile final : public ReadableFile {
 public:
  explicit InputFile(ByteView bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const auto at = static_cast<std::size_t>(offset);
    const std::size_t count = std::min(into.size(), bytes_.size() - at);
    if (count > 0) std::memcpy(into.data(), bytes_.data() + at, count);
    return count;
  }

 private:
  ByteView bytes_;
};

struct Expanded {
  Bytes plain;
  std::string code;
  bool operator==(const Expanded&) const = default;
};

Expanded Expand(std::unique_ptr<ByteSource> source, std::size_t piece, bool clone) {
  Expanded all;
  Bytes buffer(piece);
  for (;;) {
    const auto count = source->Read(buffer);
    if (!count) {
      all.code = count.error().code;
      // What an error leaves behind is worth nothing.
      all.plain.clear();
      return all;
    }
    Append(all.plain, ByteView(buffer).first(*count));
    PROMISE(all.plain.size() <= kLimit);
    if (*count < piece) return all;
    if (clone) source = source->Clone();
  }
}

void Check(ByteView input, Compression compression) {
  const InputFile file(input);
  const OpenOptions options{compression, kLimit, "input"};
  const Expanded whole = Expand(OpenObject(file, options), kLimit + 1, false);
  PROMISE(whole == Expand(OpenObject(file, options), 4099, true));
  for (const char* code :
       {"", "object-truncated", "object-corrupt", "object-trailing-bytes", "object-too-large"}) {
    if (whole.code == code) return;
  }
  PROMISE(false);
}

}  // namespace
}  // namespace rescue::backup

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > backup::kMaxInput) return 0;
  const ByteView input = fuzz::Input(data, size);
  // The first byte chooses; lzw three times out of four.
  const auto first = std::to_integer<unsigned>(input.front());
  const auto compression = first % 4 != 0   ? backup::Compression::kLzw
                           : first % 8 != 0 ? backup::Compression::kGzip
                                            : backup::Compression::kZlib;
  backup::Check(input.subspan(1), compression);
  return 0;
}
