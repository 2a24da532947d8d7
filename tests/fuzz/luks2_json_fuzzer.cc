// The JSON half of a LUKS2 header: key slots, segments, digests, tokens, configuration.
//
// Promises: a text is read or refused with one line; what is read does not depend on the order of
// names; every question about it has an answer.
#include <nlohmann/json.hpp>

#include "rescue/disk/luks2.h"
#include "tests/fuzz/fuzz.h"

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

namespace {

constexpr std::uint64_t kDevice = 64 * kMiB;

disk::Header Empty() {
  disk::Header header;
  header.uuid = "d0fd6f46-c830-42a9-a4eb-e46e6c70e036";
  header.metadata_size = 16 * kKiB;
  return header;
}

}  // namespace

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text = AsText(fuzz::Input(data, size));
  disk::Header header = Empty();
  const Status decoded = disk::DecodeMetadata(text, header);
  const auto own = disk::DifferingFields(text, text, 3);
  if (!decoded) {
    PROMISE(decoded.error().code == "header-json");
    PROMISE(decoded.error().message.find('\n') == std::string::npos);
    return 0;
  }
  PROMISE(own.empty());
  header.json = text;
  // The same with sorted names and no white space: what libcryptsetup might write back.
  disk::Header again = Empty();
  const std::string canonical = nlohmann::json::parse(text).dump(-1, ' ', /*ensure_ascii=*/true);
  PROMISE(disk::DecodeMetadata(canonical, again));
  again.json = canonical;
  PROMISE(disk::DifferingFields(text, canonical, 3).empty());
  PROMISE(again.key_slots == header.key_slots && again.segments == header.segments);
  PROMISE(again.digests == header.digests && again.tokens == header.tokens);
  PROMISE(disk::SecurityDigest(again) == disk::SecurityDigest(header));
  PROMISE(disk::IsInitialized(again) == disk::IsInitialized(header));
  const auto objections = disk::NodeObjections(header);
  PROMISE(disk::NodeObjections(again).size() == objections.size());
  for (const auto profile : {disk::Profile::kConstellation, disk::Profile::kLuks2}) {
    const auto taken = disk::CheckHeader(header, kDevice, {profile, {}});
    PROMISE(taken.has_value() == disk::CheckHeader(again, kDevice, {profile, {}}).has_value());
    // What we take without exception, the node takes, but for the token's word and a priority.
    if (!taken || profile != disk::Profile::kConstellation) continue;
    PROMISE(objections.size() <= 2);
  }
  return 0;
}
