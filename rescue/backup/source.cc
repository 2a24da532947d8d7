// Objects as streams of plain bytes.
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "rescue/backup/lzw.h"
#include "rescue/backup/object.h"
#include "rescue/base/units.h"

namespace rescue::backup {
namespace {

constexpr std::size_t kInputPiece = 64 * kKiB;

Error Broken(std::string code, const std::string& name, const std::string& reason) {
  return {ErrorKind::kDataDamaged, std::move(code), fmt::format("read {}: {}", name, reason),
          "fetch the object again from where the backups are kept, or restore to before it "
          "(--to-revision)"};
}

Error TooLarge(const std::string& name, std::uint64_t limit) {
  return {ErrorKind::kRefused, "object-too-large",
          fmt::format("read {}: it holds more than {}, which no real one does", name,
                      FormatSize(limit)),
          "look at where the object comes from; it is not what its name says"};
}

// What a decoder makes of one piece of input.
enum class Step { kMore, kEnd, kCorrupt };

class Decoder {
 public:
  Decoder() = default;
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;
  virtual ~Decoder() = default;
  // Shortens both by what was used.
  virtual Step Decode(ByteView& input, std::span<std::byte>& output) = 0;
  virtual std::unique_ptr<Decoder> Clone() const = 0;
};

class Lzw final : public Decoder {
 public:
  Lzw() = default;
  Step Decode(ByteView& input, std::span<std::byte>& output) override {
    switch (decoder_.Decode(input, output)) {
      case LzwDecoder::State::kMore:
        return Step::kMore;
      case LzwDecoder::State::kEnd:
        return Step::kEnd;
      case LzwDecoder::State::kCorrupt:
        break;
    }
    return Step::kCorrupt;
  }
  std::unique_ptr<Decoder> Clone() const override {
    auto copy = std::make_unique<Lzw>();
    copy->decoder_ = decoder_;
    return copy;
  }

 private:
  LzwDecoder decoder_;
};

class Inflate final : public Decoder {
 public:
  // zlib's own numbers: the largest window, and 16 more for the header of gzip.
  explicit Inflate(bool gzip) { ready_ = inflateInit2(&stream_, gzip ? 15 + 16 : 15) == Z_OK; }
  ~Inflate() override {
    if (ready_) inflateEnd(&stream_);
  }

  Step Decode(ByteView& input, std::span<std::byte>& output) override {
    if (!ready_) return Step::kCorrupt;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): zlib does not write there
    stream_.next_in = const_cast<Bytef*>(reinterpret_cast<const Bytef*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    stream_.next_out = reinterpret_cast<Bytef*>(output.data());
    stream_.avail_out = static_cast<uInt>(std::min<std::size_t>(output.size(), kGiB));
    const uInt offered = stream_.avail_out;
    const int result = inflate(&stream_, Z_NO_FLUSH);
    input = input.last(stream_.avail_in);
    output = output.subspan(offered - stream_.avail_out);
    if (result == Z_STREAM_END) return Step::kEnd;
    // Z_BUF_ERROR: no input or no room, nothing wrong.
    return result == Z_OK || result == Z_BUF_ERROR ? Step::kMore : Step::kCorrupt;
  }

  std::unique_ptr<Decoder> Clone() const override {
    auto copy = std::unique_ptr<Inflate>(new Inflate);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-const-cast): zlib's signature; it only reads
    copy->ready_ = ready_ && inflateCopy(&copy->stream_, const_cast<z_stream*>(&stream_)) == Z_OK;
    return copy;
  }

 private:
  Inflate() = default;

  z_stream stream_{};
  bool ready_ = false;
};

// An object that is stored as it is.
class Plain final : public ByteSource {
 public:
  Plain(const ReadableFile& file, OpenOptions options)
      : file_(&file), options_(std::move(options)) {}

  Result<std::size_t> Read(std::span<std::byte> into) override {
    if (file_->size() > options_.limit) return Fail(TooLarge(options_.name, options_.limit));
    std::size_t done = 0;
    while (done < into.size() && position_ < file_->size()) {
      ASSIGN_OR_RETURN(const std::size_t count, file_->ReadAt(position_, into.subspan(done)));
      if (count == 0) {
        return Fail(Broken("object-truncated", options_.name, "it became shorter meanwhile"));
      }
      done += count;
      position_ += count;
    }
    return done;
  }
  std::uint64_t stored_position() const override { return position_; }
  std::unique_ptr<ByteSource> Clone() const override { return std::make_unique<Plain>(*this); }

 private:
  const ReadableFile* file_;
  OpenOptions options_;
  std::uint64_t position_ = 0;
};

class Decoded final : public ByteSource {
 public:
  Decoded(const ReadableFile& file, OpenOptions options, std::unique_ptr<Decoder> decoder)
      : file_(&file), options_(std::move(options)), decoder_(std::move(decoder)) {}

  Result<std::size_t> Read(std::span<std::byte> into) override {
    if (error_) return Fail(*error_);
    const std::size_t wanted = into.size();
    while (!into.empty() && !ended_) {
      if (Status step = produced_ < options_.limit ? Decode(into) : ExpectEnd(); !step) {
        error_ = std::move(step).error();
        return Fail(*error_);
      }
    }
    return wanted - into.size();
  }

  std::uint64_t stored_position() const override { return next_ - input_.size(); }

  std::unique_ptr<ByteSource> Clone() const override {
    auto copy = std::make_unique<Decoded>(*file_, options_, decoder_->Clone());
    copy->next_ = stored_position();  // the piece of input is read again, when it is needed
    copy->produced_ = produced_;
    copy->ended_ = ended_;
    copy->error_ = error_;
    return copy;
  }

 private:
  // One step: some output, some input, or the end.
  Status Decode(std::span<std::byte>& into) {
    if (input_.empty()) RETURN_IF_ERROR(Refill());
    const std::uint64_t room = std::min<std::uint64_t>(into.size(), options_.limit - produced_);
    std::span<std::byte> output = into.first(static_cast<std::size_t>(room));
    const std::size_t had_input = input_.size();
    const Step step = decoder_->Decode(input_, output);
    const std::size_t got = static_cast<std::size_t>(room) - output.size();
    produced_ += got;
    into = into.subspan(got);
    switch (step) {
      case Step::kEnd:
        ended_ = true;
        return ExpectNothingBehind();
      case Step::kCorrupt:
        return Fail(Broken("object-corrupt", options_.name,
                           fmt::format("no valid {} data near byte {}", Name(options_.compression),
                                       stored_position())));
      case Step::kMore:
        break;
    }
    if (got == 0 && had_input == input_.size() && input_.empty()) {
      return Fail(Broken("object-truncated", options_.name,
                         fmt::format("the {} data end early, after {} bytes",
                                     Name(options_.compression), stored_position())));
    }
    return {};
  }

  // As much as is allowed was given: only the end may follow.
  Status ExpectEnd() {
    std::byte one_more{};
    std::span<std::byte> output(&one_more, 1);
    const std::uint64_t limit = std::exchange(options_.limit, options_.limit + 1);
    Status step = Decode(output);
    options_.limit = limit;
    if (step && output.empty()) return Fail(TooLarge(options_.name, limit));
    return step;
  }

  Status ExpectNothingBehind() const {
    if (stored_position() == file_->size()) return {};
    return Fail(Broken("object-trailing-bytes", options_.name,
                       fmt::format("{} bytes follow the end of its {} data",
                                   file_->size() - stored_position(), Name(options_.compression))));
  }

  // Leaves input_ empty at the end of the file.
  Status Refill() {
    buffer_.resize(kInputPiece);
    ASSIGN_OR_RETURN(const std::size_t count, file_->ReadAt(next_, buffer_));
    next_ += count;
    input_ = ByteView(buffer_).first(count);
    return {};
  }

  const ReadableFile* file_;
  OpenOptions options_;
  std::unique_ptr<Decoder> decoder_;
  Bytes buffer_;
  ByteView input_;          // the unused end of buffer_
  std::uint64_t next_ = 0;  // in the file: what comes after buffer_
  std::uint64_t produced_ = 0;
  bool ended_ = false;
  std::optional<Error> error_;
};

}  // namespace

std::unique_ptr<ByteSource> OpenObject(const ReadableFile& file, OpenOptions options) {
  switch (options.compression) {
    case Compression::kNone:
      return std::make_unique<Plain>(file, std::move(options));
    case Compression::kGzip:
      return std::make_unique<Decoded>(file, std::move(options), std::make_unique<Inflate>(true));
    case Compression::kZlib:
      return std::make_unique<Decoded>(file, std::move(options), std::make_unique<Inflate>(false));
    case Compression::kLzw:
      return std::make_unique<Decoded>(file, std::move(options), std::make_unique<Lzw>());
  }
  return nullptr;
}

}  // namespace rescue::backup
