#include "rescue/edit/edit.h"

#include <fmt/format.h>

#include "rescue/base/checksum.h"
#include "rescue/base/endian.h"

namespace rescue::edit {
namespace {

// File names of the log are long and differ in the middle; both ends tell which one it is.
std::string Short(std::string_view path) {
  constexpr std::size_t kMost = 64;
  constexpr std::size_t kEnds = 28;
  if (path.size() <= kMost) return Printable(path);
  return fmt::format("{}...{}", Printable(path.substr(0, kEnds)),
                     Printable(path.substr(path.size() - kEnds)));
}

std::string Owner(const Attributes& attributes) {
  return fmt::format("owner {}:{}, mode {:04o}", attributes.uid, attributes.gid, attributes.mode);
}

struct Describer {
  std::string operator()(const WriteRange& e) const {
    return fmt::format("write {} bytes at {} of {}", e.bytes.size(), e.offset, Short(e.path));
  }
  std::string operator()(const Truncate& e) const {
    return fmt::format("set the size of {} to {} bytes", Short(e.path), e.size);
  }
  std::string operator()(const CreateFile& e) const {
    return fmt::format("create {} with {} bytes, {}", Short(e.path), e.content.size(),
                       Owner(e.attributes));
  }
  std::string operator()(const MakeDirectory& e) const {
    return fmt::format("create directory {}, {}", Short(e.path), Owner(e.attributes));
  }
  std::string operator()(const BuildDirectory& e) const {
    return fmt::format("build directory {} with at most {} bytes, {}", Short(e.path), e.bytes,
                       Owner(e.attributes));
  }
  std::string operator()(const Exchange& e) const {
    return fmt::format("exchange {} and {}", Short(e.first), Short(e.second));
  }
  std::string operator()(const Rename& e) const {
    return fmt::format("rename {} to {}", Short(e.from), Short(e.to));
  }
  std::string operator()(const Remove& e) const { return fmt::format("remove {}", Short(e.path)); }
  std::string operator()(const SetAttributes& e) const {
    return fmt::format("set {} of {}", Owner(e.attributes), Short(e.path));
  }
};

// Feeds a hash with fields whose borders cannot be shifted: every text carries its length.
class Digest {
 public:
  void Number(std::uint64_t value) {
    const ul64 disk = value;
    hasher_.Update(std::as_bytes(std::span(&disk, 1)));
  }
  void Data(ByteView bytes) {
    Number(bytes.size());
    hasher_.Update(bytes);
  }
  void Text(std::string_view text) { Data(AsBytes(text)); }
  void Attributes(const rescue::Attributes& attributes) {
    Number(attributes.mode);
    Number(attributes.uid);
    Number(attributes.gid);
    Number(attributes.xattrs.size());
    for (const auto& [name, value] : attributes.xattrs) {
      Text(name);
      Data(value);
    }
  }
  std::string Finish() { return ToHex(hasher_.Finish()); }

 private:
  Sha256Hasher hasher_;
};

struct Digester {
  Digest& digest;

  void operator()(const WriteRange& e) const {
    digest.Text(e.path);
    digest.Number(e.offset);
    digest.Data(e.bytes);
  }
  void operator()(const Truncate& e) const {
    digest.Text(e.path);
    digest.Number(e.size);
  }
  void operator()(const CreateFile& e) const {
    digest.Text(e.path);
    digest.Data(e.content);
    digest.Attributes(e.attributes);
  }
  void operator()(const MakeDirectory& e) const {
    digest.Text(e.path);
    digest.Attributes(e.attributes);
  }
  void operator()(const BuildDirectory& e) const {
    digest.Text(e.path);
    digest.Text(e.recipe);
    digest.Number(e.bytes);
    digest.Attributes(e.attributes);
  }
  void operator()(const Exchange& e) const {
    digest.Text(e.first);
    digest.Text(e.second);
    digest.Text(e.marker);
  }
  void operator()(const Rename& e) const {
    digest.Text(e.from);
    digest.Text(e.to);
  }
  void operator()(const Remove& e) const { digest.Text(e.path); }
  void operator()(const SetAttributes& e) const {
    digest.Text(e.path);
    digest.Attributes(e.attributes);
  }
};

}  // namespace

std::string Describe(const Edit& edit) { return std::visit(Describer{}, edit); }

std::uint64_t BytesWritten(const Edit& edit) {
  if (const auto* write = std::get_if<WriteRange>(&edit)) return write->bytes.size();
  if (const auto* create = std::get_if<CreateFile>(&edit)) return create->content.size();
  if (const auto* build = std::get_if<BuildDirectory>(&edit)) return build->bytes;
  return 0;
}

std::string Fingerprint(const EditList& edits) {
  Digest digest;
  digest.Number(edits.size());
  for (const Edit& edit : edits) {
    digest.Number(edit.index());
    std::visit(Digester{digest}, edit);
  }
  return digest.Finish();
}

}  // namespace rescue::edit
