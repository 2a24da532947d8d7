// A bbolt file. The checksums of the meta pages are computed anew, so that what they point to is
// reached; the mutator also changes page headers and elements as such, and moves whole pages.
//
// Promises: what the check calls clean can be walked to the end; a commit plan lies where it may
// (never over a page that the check saw in use), leaves the state before it visible, and gives a
// file whose check is clean when it was before; dropping everything that the check names gives a
// clean file, or says that the root is gone.
#include <algorithm>
#include <string>
#include <vector>

#include "rescue/bolt/check.h"
#include "rescue/bolt/database.h"
#include "rescue/bolt/format.h"
#include "rescue/bolt/meta.h"
#include "rescue/bolt/transaction.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::bolt {
namespace {

using fuzz::Pick;
using fuzz::Random;

// Keeps one run short.
constexpr std::size_t kMaxSize = std::size_t{1} << 20;

// -- the target

class InputFile final : public ReadableFile {
 public:
  explicit InputFile(ByteView bytes) : bytes_(bytes) {}
  std::uint64_t size() const override { return bytes_.size(); }
  Result<std::size_t> ReadAt(std::uint64_t offset, std::span<std::byte> into) const override {
    if (offset >= bytes_.size()) return std::size_t{0};
    const auto at = static_cast<std::size_t>(offset);
    const std::size_t count = std::min(into.size(), bytes_.size() - at);
    if (count > 0) std::memcpy(into.data(), bytes_.data() + at, count);
    return count;
  }

 private:
  ByteView bytes_;
};

// Keys and values in order, with the names of buckets; nothing when the walk met damage.
std::optional<std::string> Walk(const Bucket& bucket, int depth) {
  std::string all;
  std::vector<std::string> inner;
  const auto status = bucket.ForEach([&](ByteView key, ByteView value, bool is_bucket) {
    all.append(AsText(key)).append("=");
    if (is_bucket) {
      inner.emplace_back(AsText(key));
    } else {
      all.append(AsText(value)).append(";");
    }
    return all.size() < (std::size_t{8} << 20);
  });
  if (!status || !bucket.Last()) return std::nullopt;
  if (depth == 0) return all;  // a damaged bucket may hold itself
  for (const std::string& name : inner) {
    const auto found = bucket.FindBucket(AsBytes(name));
    if (!found || !*found) return std::nullopt;
    const auto below = Walk(**found, depth - 1);
    if (!below) return std::nullopt;
    all.append("{").append(*below).append("}");
  }
  return all;
}

std::optional<std::string> WalkSlot(const ReadableFile& file, int slot) {
  const auto database = Database::OpenAt(file, slot);
  if (!database) return std::nullopt;
  return Walk(database->Root(), 3);
}

// The meta page that the plan leaves visible, and the page runs it may write.
void CheckPlan(const CommitPlan& plan, const CheckReport& report,
               const std::vector<PageRun>& free_runs) {
  if (plan.edits.empty()) return;
  const std::uint64_t page_size = report.meta.page_size;
  PROMISE(plan.slot == 1 - report.meta.slot);
  PROMISE(plan.transaction_id > report.meta.transaction_id);
  for (std::size_t i = 0; i < plan.edits.size(); ++i) {
    const auto& write = std::get<edit::WriteRange>(plan.edits[i]);
    PROMISE(write.offset % page_size == 0);
    const std::uint64_t first = write.offset / page_size;
    if (i + 1 == plan.edits.size()) {
      PROMISE(first == static_cast<std::uint64_t>(plan.slot) && write.bytes.size() == 80);
      return;
    }
    const std::uint64_t end = first + write.bytes.size() / page_size;
    const bool in_run = std::any_of(free_runs.begin(), free_runs.end(), [&](const PageRun& run) {
      return first >= run.first && end <= run.first + run.count;
    });
    PROMISE(in_run || first >= report.meta.high_water_mark);
    PROMISE(end <= std::max(plan.high_water_mark, report.meta.high_water_mark));
  }
}

Bytes CarryOut(const CommitPlan& plan, ByteView input) {
  Bytes bytes = ToBytes(input);
  for (const edit::Edit& edit : plan.edits) {
    const auto& write = std::get<edit::WriteRange>(edit);
    const auto at = static_cast<std::size_t>(write.offset);
    PROMISE(at <= bytes.size());
    bytes.resize(std::max(bytes.size(), at + write.bytes.size()));
    std::copy(write.bytes.begin(), write.bytes.end(),
              bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return bytes;
}

TransactionRequest SmallChange() {
  const auto bytes = [](std::string_view text) { return ToBytes(AsBytes(text)); };
  TransactionRequest request;
  request.buckets.push_back({"members", true, {{bytes("1"), bytes("{}")}}});
  request.buckets.push_back({"key", false, {{Bytes(17, std::byte{0x7f}), Bytes()}}});
  request.buckets.push_back(
      {"meta", false, {{bytes("term"), std::nullopt}, {bytes("long"), Bytes(5000)}}});
  return request;
}

void CheckCommit(const ReadableFile& file, ByteView input, const CheckReport& report,
                 TransactionRequest request, bool drops) {
  for (const bool in_free_pages : {false, true}) {
    if (in_free_pages) request.free_runs = report.free_runs;
    const auto plan = PlanCommit(file, "db", request);
    if (!plan) {
      const std::string& code = plan.error().code;
      const bool change_refused = code == "bolt-not-a-key" || code == "bolt-meta-bounds";
      if (report.clean()) {
        PROMISE(change_refused);
      } else {
        PROMISE(change_refused || code == "bolt-drop-root" || (!drops && code == "bolt-page") ||
                (!drops && code == "bolt-depth") || (!drops && code == "bolt-free-run"));
      }
      continue;
    }
    CheckPlan(*plan, report, request.free_runs);
    const Bytes bytes = CarryOut(*plan, input);
    const InputFile after(bytes);
    const auto checked = Check(after);
    PROMISE(checked.has_value());
    if (!report.clean() && !drops) continue;
    PROMISE(checked->clean());
    PROMISE(WalkSlot(after, checked->meta.slot).has_value());
    if (!report.clean() || plan->edits.empty()) continue;
    PROMISE(WalkSlot(after, report.meta.slot) == WalkSlot(file, report.meta.slot));
  }
}

void CheckFile(ByteView input) {
  const InputFile file(input);
  CheckOptions options;
  options.max_problems = 100000;
  const auto report = Check(file, options);
  const auto database = Database::Open(file);
  PROMISE(report.has_value() == database.has_value());
  if (!report) return;
  PROMISE(report->reachable + report->free == report->pages);
  const auto walked = Walk(database->Root(), 3);
  if (report->clean()) PROMISE(walked.has_value());
  CheckCommit(file, input, *report, SmallChange(), /*drops=*/false);
  TransactionRequest drop;
  for (const PageProblem& problem : report->problems) drop.drop_pages.push_back(problem.drop_page);
  if (!drop.drop_pages.empty() && report->problem_count == report->problems.size()) {
    CheckCommit(file, input, *report, std::move(drop), /*drops=*/true);
  }
}

// -- the mutator

template <typename T>
T Get(const Bytes& bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}
template <typename T>
void Put(Bytes& bytes, std::size_t at, const T& value) {
  std::memcpy(bytes.data() + at, &value, sizeof(T));
}

// Gives both meta pages the checksum that fits, where they look like meta pages at all.
void MendMetas(Bytes& bytes, std::size_t page_size) {
  for (const std::size_t at : {std::size_t{16}, page_size + 16}) {
    if (at + sizeof(MetaBody) > bytes.size()) return;
    auto body = Get<MetaBody>(bytes, at);
    if (body.magic != kMagic) continue;
    body.checksum = MetaChecksum(body);
    Put(bytes, at, body);
  }
}

std::size_t PageSizeOf(const Bytes& bytes) {
  if (bytes.size() < 16 + sizeof(MetaBody)) return 4096;
  const std::uint32_t size = Get<MetaBody>(bytes, 16).page_size;
  return size >= kMinPageSize && size <= 65536 ? size : 4096;
}

// A number near one that means something in this file.
std::uint64_t Number(Random& random, std::uint64_t value, std::uint64_t pages) {
  switch (Pick(random, 6)) {
    case 0:
      return 0;
    case 1:
      return ~std::uint64_t{0} - Pick(random, 3);
    case 2:
      return value + Pick(random, 5) - 2;
    case 3:
      return std::uint64_t{1} << Pick(random, 64);
    default:
      return Pick(random, pages + 2);
  }
}

void ChangeMeta(Bytes& bytes, std::size_t page, std::size_t page_size, Random& random) {
  const std::size_t at = page * page_size + 16;
  if (at + sizeof(MetaBody) > bytes.size()) return;
  // One of the six fields behind magic, version, page size and flags.
  const std::size_t field = at + 16 + 8 * Pick(random, 5);
  const std::uint64_t old = Get<ul64>(bytes, field);
  Put(bytes, field, ul64(Number(random, old, bytes.size() / page_size)));
}

// A field of 2, 4 or 8 bytes in a header or one of the first elements.
void ChangeField(Bytes& bytes, std::size_t page, std::size_t page_size, Random& random) {
  const std::size_t base = page * page_size;
  const std::uint64_t pages = bytes.size() / page_size;
  switch (Pick(random, 4)) {
    case 0:
      return Put(bytes, base, ul64(Number(random, page, pages)));
    case 1:
      return Put(bytes, base + 8 + 2 * Pick(random, 2),
                 ul16(static_cast<std::uint16_t>(Number(random, 2, pages))));
    case 2:
      return Put(bytes, base + 12, ul32(static_cast<std::uint32_t>(Number(random, 0, pages))));
    default: {
      const std::size_t at = base + 16 + 4 * Pick(random, 48);
      const std::uint32_t old = Get<ul32>(bytes, at);
      return Put(bytes, at, ul32(static_cast<std::uint32_t>(Number(random, old, pages))));
    }
  }
}

void CopyPage(Bytes& bytes, std::size_t page_size, Random& random) {
  const std::size_t pages = bytes.size() / page_size;
  const std::size_t from = Pick(random, pages);
  const std::size_t to = Pick(random, pages);
  std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(from * page_size), page_size,
              bytes.begin() + static_cast<std::ptrdiff_t>(to * page_size));
  // Sometimes under its new number.
  if (to > 1 && Pick(random, 2) == 0) Put(bytes, to * page_size, ul64(to));
}

Bytes MutateFile(ByteView input, Random& random) {
  Bytes bytes = ToBytes(input);
  const std::size_t page_size = PageSizeOf(bytes);
  for (std::size_t changes = 1 + Pick(random, 4); changes > 0; --changes) {
    const std::size_t pages = bytes.size() / page_size;
    if (pages < 3) {
      fuzz::Mutate(bytes, page_size);
      break;
    }
    const std::size_t page = 2 + Pick(random, pages - 2);
    switch (Pick(random, 8)) {
      case 0:
        ChangeMeta(bytes, Pick(random, 2), page_size, random);
        break;
      case 1:
        CopyPage(bytes, page_size, random);
        break;
      case 2: {
        // Anywhere in one page, without a change of length.
        Bytes piece(bytes.begin() + static_cast<std::ptrdiff_t>(page * page_size),
                    bytes.begin() + static_cast<std::ptrdiff_t>((page + 1) * page_size));
        fuzz::Mutate(piece, 0);
        piece.resize(page_size);
        std::copy(piece.begin(), piece.end(),
                  bytes.begin() + static_cast<std::ptrdiff_t>(page * page_size));
        break;
      }
      case 3:
        bytes.resize(bytes.size() - Pick(random, page_size * 2));
        break;
      case 4:
        bytes.resize(std::min(kMaxSize, bytes.size() + page_size * Pick(random, 4)));
        break;
      default:
        ChangeField(bytes, page, page_size, random);
    }
  }
  MendMetas(bytes, page_size);
  return bytes;
}

}  // namespace
}  // namespace rescue::bolt

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > bolt::kMaxSize) return 0;
  bolt::CheckFile(fuzz::Input(data, size));
  return 0;
}

std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                    unsigned int seed) {
  fuzz::Random random(seed);
  // Now and then without mending anything: wrong checksums are inputs, too.
  if (fuzz::Pick(random, 8) == 0) return LLVMFuzzerMutate(data, size, max_size);
  return fuzz::Output(bolt::MutateFile(fuzz::Input(data, size), random), data, max_size);
}
