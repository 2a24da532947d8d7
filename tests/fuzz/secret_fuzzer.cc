// A secret as people type, paste or store it.
//
// Promises: what ParseSecret accepts has parts of allowed sizes, and reads back the same from the
// plainest form; what it refuses is not quoted in the error.
#include <algorithm>
#include <iterator>

#include "rescue/secret/secret.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::secret {
namespace {

// Every text that an error of ParseSecret may have after "read the secret: ", without its numbers.
// An error that quoted its input would have another one.
constexpr std::string_view kTexts[] = {
    R"(it is empty)",
    R"(there is no "key")",
    R"(there is no "salt")",
    R"("key" is not base)",
    R"("salt" is not base)",
    R"("key" has  bytes; a master secret's part has  to )",
    R"("salt" has  bytes; a master secret's part has  to )",
    R"(it looks like JSON, but is not one object with text values)",
    R"(the JSON object has a field besides "key" and "salt")",
    R"(the JSON object has a field twice)",
    R"(the URI has a broken % sequence)",
    R"(the URI has an unexpected or repeated parameter)",
    R"(this URI is not of the cluster's own KMS; other key services cannot be asked)",
    R"( characters in no known form)",
};

void CheckNotQuoted(const Error& error) {
  PROMISE(error.kind == ErrorKind::kCannotUnlock && error.code == "bad-secret");
  std::string text = error.message;
  std::erase_if(text, [](char c) { return c >= '0' && c <= '9'; });
  constexpr std::string_view kBefore = "read the secret: ";
  PROMISE(text.starts_with(kBefore));
  text.erase(0, kBefore.size());
  PROMISE(std::find(std::begin(kTexts), std::end(kTexts), text) != std::end(kTexts));
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
  if (!secret) return CheckNotQuoted(secret.error());
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
