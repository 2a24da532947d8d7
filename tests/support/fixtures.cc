#include "tests/support/fixtures.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <system_error>

namespace rescue::testing {
namespace fs = std::filesystem;
namespace {

class MemoryReadableFile final : public ReadableFile {
 public:
  explicit MemoryReadableFile(Bytes content) : content_(std::move(content)) {}
  std::uint64_t size() const override { return content_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= content_.size()) return std::size_t{0};
    const std::size_t count =
        std::min<std::size_t>(into.size(), content_.size() - static_cast<std::size_t>(offset));
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), count, into.begin());
    return count;
  }

 private:
  Bytes content_;
};

std::size_t Below(std::mt19937& random, std::size_t bound) { return random() % bound; }

void Mutate(Bytes& bytes, std::mt19937& random) {
  if (bytes.empty()) {
    bytes.push_back(std::byte{1});
    return;
  }
  const std::size_t at = Below(random, bytes.size());
  const std::size_t length = std::min(bytes.size() - at, 1 + Below(random, 16));
  const auto from = bytes.begin() + static_cast<std::ptrdiff_t>(at);
  const auto to = from + static_cast<std::ptrdiff_t>(length);
  switch (Below(random, 7)) {
    case 0:
      *from ^= static_cast<std::byte>(1U << Below(random, 8));
      break;
    case 1:
      *from = static_cast<std::byte>(random());
      break;
    case 2:
      std::fill(from, to, std::byte{0});
      break;
    case 3:
      std::fill(from, to, std::byte{0xff});
      break;
    case 4:
      bytes.erase(from, to);
      break;
    case 5: {
      const Bytes piece(from, to);
      bytes.insert(from, piece.begin(), piece.end());
      break;
    }
    default:
      std::swap(*from, bytes[Below(random, bytes.size())]);
  }
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
  std::string name = (fs::temp_directory_path() / "etcd-rescue-test-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) {
    throw std::system_error(errno, std::generic_category(), "mkdtemp " + name);
  }
  path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

fs::path FixturePath(std::string_view relative) { return fs::path(RESCUE_FIXTURES) / relative; }

std::optional<fs::path> SharedFixturePath(std::string_view relative) {
  fs::path path = fs::path(RESCUE_SHARED) / relative;
  if (!fs::exists(path)) return std::nullopt;
  return path;
}

void UnpackArchive(const fs::path& archive, const fs::path& into) {
  const std::string command =
      "tar --sparse -xf '" + archive.string() + "' -C '" + into.string() + "'";
  // The names are the test's own.
  if (std::system(command.c_str()) != 0) {  // NOLINT(cert-env33-c)
    throw std::runtime_error("cannot unpack " + archive.string());
  }
}

Bytes ReadFileBytes(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot read " + path.string());
  Bytes bytes(fs::file_size(path));
  file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  if (!file && !bytes.empty()) throw std::runtime_error("cannot read " + path.string());
  return bytes;
}

void WriteFileBytes(const fs::path& path, ByteView bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()),
             static_cast<std::streamsize>(bytes.size()));
  if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

std::unique_ptr<ReadableFile> MemoryFile(Bytes content) {
  return std::make_unique<MemoryReadableFile>(std::move(content));
}

void ForEveryTruncation(ByteView sample, const std::function<void(ByteView)>& decode) {
  for (std::size_t length = 0; length <= sample.size(); ++length) {
    // A copy of exactly this length, so that the sanitizer sees any read past its end.
    const Bytes prefix(sample.begin(), sample.begin() + static_cast<std::ptrdiff_t>(length));
    decode(prefix);
  }
}

void ForRandomMutations(ByteView sample, std::uint32_t seed, int count,
                        const std::function<void(ByteView)>& decode,
                        const std::function<void(Bytes&)>& repair) {
  std::mt19937 random(seed);
  for (int i = 0; i < count; ++i) {
    Bytes damaged = ToBytes(sample);
    const std::size_t changes = 1 + Below(random, 4);
    for (std::size_t change = 0; change < changes; ++change) Mutate(damaged, random);
    if (repair) repair(damaged);
    decode(damaged);
  }
}

}  // namespace rescue::testing
