// The v2 store as JSON, without the .snap file around it.
//
// Promise: what ParseStoreJson accepts, WriteStoreJson writes so that it parses to the same.
#include "rescue/raftlog/snap.h"
#include "tests/fuzz/fuzz.h"

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto store = raftlog::ParseStoreJson(AsText(fuzz::Input(data, size)));
  if (!store) {
    PROMISE(store.error().code == "snap-store-malformed");
    return 0;
  }
  for (const auto& [id, member] : store->members) PROMISE(member.id == id);
  const std::string written = raftlog::WriteStoreJson(*store);
  const auto again = raftlog::ParseStoreJson(written);
  PROMISE(again.has_value());
  PROMISE(again->members == store->members);
  PROMISE(again->removed == store->removed);
  PROMISE(again->cluster_version == store->cluster_version);
  PROMISE(again->notes.empty());
  PROMISE(raftlog::WriteStoreJson(*again) == written);
  return 0;
}
