// A secret as people type, paste or store it.
//
// Promises: what ParseSecret accepts has parts of allowed sizes, and reads back the same from the
// plainest form; what it refuses is not quoted in the error.
#include "rescue/secret/secret.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::secret {
namespace {

// Fixed words of messages are shorter than this; a longer common piece would be a quote.
constexpr std::size_t kQuote = 24;

void CheckNotQuoted(const Error& error, std::string_view input) {
  PROMISE(error.kind == ErrorKind::kCannotUnlock && error.code == "bad-secret");
  PROMISE(error.message.find('\n') == std::string::npos && error.message.size() < 200);
  const std::string shown = error.message + "\n" + error.hint;
  // What the input has in common with the message by copying the message proves nothing.
  const std::string known = shown;
  for (std::size_t at = 0; at + kQuote <= input.size(); ++at) {
    const auto piece = input.substr(at, kQuote);
    if (shown.find(piece) == std::string::npos) continue;
    // Then it must be a fixed text: the same error for an input without that piece.
    const auto other = ParseSecret(SecretBytes::CopyOf(AsBytes("!")));
    PROMISE(!other &&
            (other.error().message + "\n" + other.error().hint).find(piece) != std::string::npos);
  }
}

Secret Again(const std::string& text) {
  auto secret = ParseSecret(SecretBytes::CopyOf(AsBytes(text)));
  PROMISE(secret.has_value());
  return *std::move(secret);
}

void CheckMaster(const MasterSecret& master) {
  for (const SecretBytes* part : {&master.key, &master.salt}) {
    PROMISE(part->size() >= 16 && part->size() <= 1024);
  }
  const Secret again = Again(R"({"key":")" + ToBase64(master.key.Reveal()) + R"(","salt":")" +
                             ToBase64(master.salt.Reveal()) + R"("})");
  const auto* same = std::get_if<MasterSecret>(&again);
  PROMISE(same != nullptr && Equal(same->key.Reveal(), master.key.Reveal()) &&
          Equal(same->salt.Reveal(), master.salt.Reveal()));
}

void CheckDiskKey(const DiskKey& key) {
  PROMISE(key.bytes.size() == kDiskKeySize);
  const Secret again = Again(ToHex(key.bytes.Reveal()));
  const auto* same = std::get_if<DiskKey>(&again);
  PROMISE(same != nullptr && Equal(same->bytes.Reveal(), key.bytes.Reveal()));
}

void Check(ByteView input) {
  const auto secret = ParseSecret(SecretBytes::CopyOf(input));
  if (!secret) return CheckNotQuoted(secret.error(), AsText(input));
  if (const auto* master = std::get_if<MasterSecret>(&*secret)) return CheckMaster(*master);
  const auto* key = std::get_if<DiskKey>(&*secret);
  PROMISE(key != nullptr);
  CheckDiskKey(*key);
}

}  // namespace
}  // namespace rescue::secret

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rescue::secret::Check(rescue::fuzz::Input(data, size));
  return 0;
}
