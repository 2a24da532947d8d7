// The events of a delta object. The input is the JSON list; the SHA-256 behind it is computed here,
// unless the input asks for a wrong one. Its first three bytes say which revisions the name claims.
//
// Promises: events come in order with consecutive revisions between those of the name, sub
// revisions count from 0, and no key changes twice in a transaction; errors are of the named
// kinds, and stay.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "rescue/backup/events.h"
#include "rescue/base/checksum.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::backup {
namespace {

constexpr std::size_t kMaxInput = std::size_t{1} << 18;

class Source final : public ByteSource {
 public:
  explicit Source(const Bytes& bytes) : bytes_(&bytes) {}
  Result<std::size_t> Read(std::span<std::byte> into) override {
    const std::size_t count = std::min(into.size(), bytes_->size() - position_);
    std::copy_n(bytes_->begin() + static_cast<std::ptrdiff_t>(position_), count, into.begin());
    position_ += count;
    return count;
  }
  std::uint64_t stored_position() const override { return position_; }

 private:
  const Bytes* bytes_;
  std::size_t position_ = 0;
};

void CheckOrder(const Event& event, const Event* before, const ObjectName& name,
                std::set<std::string, std::less<>>& keys) {
  PROMISE(!event.key.empty() && event.key.size() <= kMaxKeySize);
  PROMISE(event.value.size() <= kMaxValueSize);
  PROMISE(event.main >= name.start && event.main <= name.last);
  if (before == nullptr) {
    PROMISE(event.main == name.start && event.sub == 0);
  } else if (before->main == event.main) {
    PROMISE(event.sub == before->sub + 1);
  } else {
    PROMISE(event.main == before->main + 1 && event.sub == 0);
    keys.clear();
  }
  PROMISE(keys.emplace(event.key).second);
  if (event.tombstone) {
    PROMISE(event.value.empty() && event.create_revision == 0 && event.version == 0 &&
            event.lease == 0);
  } else {
    PROMISE(event.create_revision >= 1 && event.create_revision <= event.main);
    PROMISE((event.version == 1) == (event.create_revision == event.main));
  }
}

void CheckDelta(const Bytes& content, const ObjectName& name) {
  EventReader reader(std::make_unique<Source>(content), name, "delta");
  std::set<std::string, std::less<>> keys;
  Event before;
  bool first = true;
  for (;;) {
    const auto event = reader.Next();
    if (!event) {
      PROMISE(event.error().code.starts_with("delta-") && !event.error().hint.empty());
      const auto again = reader.Next();
      PROMISE(!again && again.error() == event.error());
      return;
    }
    if (*event == nullptr) break;
    CheckOrder(**event, first ? nullptr : &before, name, keys);
    before = **event;
    before.key = before.value = {};
    first = false;
  }
  PROMISE(!first && before.main == name.last);
  PROMISE(reader.stored_position() == content.size());
}

}  // namespace
}  // namespace rescue::backup

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3 || size > backup::kMaxInput) return 0;
  backup::ObjectName name;
  name.kind = backup::ObjectKind::kDelta;
  name.start = data[0] == 0 ? 1 : data[0];
  name.last = name.start + data[1];
  Bytes content = ToBytes(fuzz::Input(data, size).subspan(3));
  const Sha256Digest digest = Sha256(content);
  Append(content, digest);
  if (data[2] == 255) content.back() ^= std::byte{1};
  backup::CheckDelta(content, name);
  return 0;
}
