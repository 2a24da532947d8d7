#include "rescue/backup/copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "rescue/base/exchange.h"

namespace rescue::backup {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::size_t kPieces = 6;  // so many may wait to be hashed
// Writing starts in pieces that a disk likes; each is a call.
constexpr std::uint64_t kWriteBehind = std::uint64_t{8} << 20;

// Hashes a stream but for its last bytes.
class TailHasher {
 public:
  // The last bytes so far are held back: they may be the digest.
  void Update(ByteView piece) {
    size_ += piece.size();
    const std::size_t kept = sizeof(Sha256Digest);
    if (piece.size() >= kept) {
      hasher_.Update(held_);
      hasher_.Update(piece.first(piece.size() - kept));
      held_ = ToBytes(piece.last(kept));
      return;
    }
    Append(held_, piece);
    if (held_.size() <= kept) return;
    const std::size_t over = held_.size() - kept;
    hasher_.Update(ByteView(held_).first(over));
    held_.erase(held_.begin(), held_.begin() + static_cast<std::ptrdiff_t>(over));
  }
  Copied Finish() {
    Copied copied;
    copied.size = size_;
    copied.without_last = hasher_.Finish();
    std::copy(held_.begin(), held_.end(), copied.last.begin());
    return copied;
  }

 private:
  Sha256Hasher hasher_;
  Bytes held_;
  std::uint64_t size_ = 0;
};

// Hashes pieces in the order in which they are given, in its own thread.
class HashThread {
 public:
  HashThread() : thread_([this] { Run(); }) {}
  ~HashThread() {
    Stop();
    if (thread_.joinable()) thread_.join();
  }
  HashThread(const HashThread&) = delete;
  HashThread& operator=(const HashThread&) = delete;

  // A buffer that nobody reads any more; waits for one.
  Bytes& Buffer() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return given_ - hashed_ < kPieces; });
    return buffers_[given_ % kPieces];
  }
  // The buffer that was asked for last, with this many bytes in it.
  void Give(std::size_t count) {
    const std::scoped_lock lock(mutex_);
    counts_[given_ % kPieces] = count;
    ++given_;
    changed_.notify_all();
  }
  Copied Finish() {
    Stop();
    thread_.join();
    return hasher_.Finish();
  }

 private:
  void Stop() {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    changed_.notify_all();
  }

  void Run() {
    while (true) {
      ByteView piece;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return hashed_ < given_ || stopped_; });
        if (hashed_ == given_) return;
        piece = ByteView(buffers_[hashed_ % kPieces]).first(counts_[hashed_ % kPieces]);
      }
      hasher_.Update(piece);
      const std::scoped_lock lock(mutex_);
      ++hashed_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::array<Bytes, kPieces> buffers_;
  std::array<std::size_t, kPieces> counts_{};
  std::size_t given_ = 0;
  std::size_t hashed_ = 0;
  bool stopped_ = false;

  TailHasher hasher_;
  std::thread thread_;  // last: it uses the others
};

// A file from its start.
class FileStream final : public ByteSource {
 public:
  explicit FileStream(const ReadableFile& file) : file_(file) {}
  Result<std::size_t> Read(std::span<std::byte> into) override {
    ASSIGN_OR_RETURN(const std::size_t got, file_.ReadAt(position_, into));
    position_ += got;
    return got;
  }
  std::uint64_t stored_position() const override { return position_; }

 private:
  const ReadableFile& file_;
  std::uint64_t position_ = 0;
};

// Copies as much as `buffer` holds from `offset` on, and reads it back into `buffer`. Gives the
// count; it is short only at the end of the source.
Result<std::size_t> CopyAndReadBack(const RangeCopier& copier, const ReadableFile& source,
                                    FileSystem& files, const std::string& path,
                                    const ReadableFile& copy, std::uint64_t offset,
                                    std::span<std::byte> buffer) {
  std::size_t copied = copier.Copy(offset, buffer.size());
  if (copied < buffer.size()) {
    const auto rest = buffer.subspan(copied);
    ASSIGN_OR_RETURN(const std::size_t got, source.ReadAt(offset + copied, rest));
    RETURN_IF_ERROR(files.WriteAt(path, offset + copied, rest.first(got)));
    copied += got;
  }
  ASSIGN_OR_RETURN(const std::size_t back, copy.ReadAt(offset, buffer.first(copied)));
  if (back == copied) return copied;
  return Fail(ErrorKind::kOther, "io",
              fmt::format("read the copy {} back: it ends at {} instead of {}", Printable(path),
                          offset + back, offset + copied));
}

}  // namespace

Result<Copied> CopyHashed(ByteSource& source, FileSystem& files, const std::string& path,
                          const std::function<void(std::uint64_t)>& progress) {
  HashThread hash;
  std::uint64_t written = 0;
  std::uint64_t started = 0;
  while (true) {
    Bytes& buffer = hash.Buffer();
    buffer.resize(kPiece);
    ASSIGN_OR_RETURN(const std::size_t got, source.Read(buffer));
    if (got == 0) break;
    const ByteView piece = ByteView(buffer).first(got);
    hash.Give(got);
    RETURN_IF_ERROR(files.WriteAt(path, written, piece));
    written += got;
    if (written - started >= kWriteBehind) {
      StartWriting(files, path, started, written - started);
      started = written;
    }
    if (progress) progress(written);
  }
  return hash.Finish();
}

Result<Copied> CopyFileHashed(const ReadableFile& source, FileSystem& files,
                              const std::string& path,
                              const std::function<void(std::uint64_t)>& progress) {
  std::uint64_t done = 0;
  const RangeCopier copier(files, path, source);
  // One byte tells whether the kernel can; it is copied once more.
  if (copier.Copy(0, 1) == 0) {
    FileStream stream(source);
    return CopyHashed(stream, files, path, progress);
  }
  ASSIGN_OR_RETURN(const auto copy, files.Open(path));
  HashThread hash;
  std::uint64_t started = 0;
  while (true) {
    Bytes& buffer = hash.Buffer();
    buffer.resize(kPiece);
    ASSIGN_OR_RETURN(const std::size_t got,
                     CopyAndReadBack(copier, source, files, path, *copy, done, buffer));
    if (got == 0) break;
    hash.Give(got);
    done += got;
    if (done - started >= kWriteBehind) {
      StartWriting(files, path, started, done - started);
      started = done;
    }
    if (progress) progress(done);
    if (got < buffer.size()) break;
  }
  return hash.Finish();
}

}  // namespace rescue::backup
