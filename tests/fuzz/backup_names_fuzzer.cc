// Names of a backup store, one a line, as a folder that is listed and chained.
//
// Promises: a name that is taken says the same when it is written again; a chain's deltas follow
// the full without a hole, none of them is needless, and what is chosen for a revision reaches it.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "rescue/backup/store.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::backup {
namespace {

constexpr std::size_t kMaxInput = 4096;

std::string Write(const ObjectName& name) {
  const char* ending = name.compression == Compression::kGzip   ? ".gz"
                       : name.compression == Compression::kZlib ? ".zlib"
                       : name.compression == Compression::kLzw  ? ".Z"
                                                                : "";
  return fmt::format("{}-{:08}-{:08}-{}{}{}", name.kind == ObjectKind::kFull ? "Full" : "Incr",
                     name.start, name.last, name.created, ending, name.final ? ".final" : "");
}

void CheckChain(const Chain& chain) {
  std::uint64_t reached = chain.full.name.last;
  for (const auto& delta : chain.deltas) {
    PROMISE(delta.name.kind == ObjectKind::kDelta);
    PROMISE(delta.name.start <= reached + 1 && delta.name.last > reached);
    reached = delta.name.last;
  }
  PROMISE(reached == chain.reachable && chain.newest >= reached);
  PROMISE(chain.gap.has_value() == !chain.beyond.empty());
  if (chain.gap) PROMISE(chain.gap->first == reached + 1 && chain.gap->last >= chain.gap->first);
}

void CheckChoice(const Store& store, std::optional<std::uint64_t> to_revision) {
  const auto chain = ChooseChain(store, to_revision);
  if (!chain) {
    const std::string& code = chain.error().code;
    PROMISE(code == "no-backup" || code == "no-full" || code == "backup-gap" ||
            code == "revision-unreachable");
    return;
  }
  PROMISE(chain->target == to_revision.value_or(chain->reachable));
  PROMISE(chain->full.name.last <= chain->target && chain->reachable >= chain->target);
  for (const auto& delta : chain->deltas) PROMISE(delta.name.start <= chain->target);
}

void CheckNames(std::string_view text) {
  Store store;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const auto name = ParseObjectName(line);
    if (!name) continue;
    PROMISE(ParseObjectName(Write(*name)) == name);
    PROMISE(CompressionOf(line) == name->compression);
    store.objects.push_back({std::string(line), *name, 1, 2});
  }
  for (const auto& full : Fulls(store)) CheckChain(MakeChain(store, full));
  CheckChoice(store, std::nullopt);
  for (const auto& object : store.objects) {
    CheckChoice(store, object.name.start);
    CheckChoice(store, object.name.last);
  }
}

}  // namespace
}  // namespace rescue::backup

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > backup::kMaxInput) return 0;
  backup::CheckNames(AsText(fuzz::Input(data, size)));
  return 0;
}
