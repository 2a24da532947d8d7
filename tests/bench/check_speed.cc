// How fast the full check of a backend is, beside `cat` of the same file, warm and cold.
//
// usage: check-speed FILE [MEBIBYTES [RUNS]]
//
// Makes FILE when it is not there: a backend as etcd writes it under sequential puts of 1 to 4 KiB.
// Prints the best of RUNS (9) each, and the peak of this process's memory. Cold means that the file
// was put out of the page cache before (posix_fadvise); what a disk below caches by itself stays.
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "rescue/base/real_file_system.h"
#include "rescue/bolt/check.h"
#include "rescue/bolt/format.h"
#include "rescue/bolt/meta.h"
#include "rescue/bolt/node.h"

namespace {
using namespace rescue;        // NOLINT(google-build-using-namespace): a program of one file
using namespace rescue::bolt;  // NOLINT(google-build-using-namespace)
namespace fs = std::filesystem;

constexpr std::uint64_t kPageSize = 4096;

class BackendMaker {
 public:
  explicit BackendMaker(const fs::path& path) : out_(path, std::ios::binary | std::ios::trunc) {
    out_.write(std::string(2 * kPageSize, '\0').data(), 2 * kPageSize);
  }

  bool Make(std::uint64_t size) {
    std::vector<Item> level;
    std::vector<Item> pending;
    for (std::uint64_t revision = 2; next_page_ * kPageSize < size; ++revision) {
      pending.push_back(Put(revision));
      if (pending.size() == 64) Flush(pending, /*is_leaf=*/true, level);
    }
    Flush(pending, /*is_leaf=*/true, level);
    while (level.size() > 1) {
      std::vector<Item> above;
      Flush(level, /*is_leaf=*/false, above);
      level = std::move(above);
    }
    std::vector<Item> root(1);
    root[0].key = ToBytes(AsBytes("key"));
    root[0].value = EncodeBucket(level.front().page, 0);
    root[0].is_bucket = true;
    std::vector<Item> top;
    Flush(root, /*is_leaf=*/true, top);
    for (const int slot : {0, 1}) WriteMeta(slot, top.front().page);
    return static_cast<bool>(out_.flush());
  }

 private:
  // Key: revision, '_', 0; value: 1 to 4 KiB.
  Item Put(std::uint64_t revision) {
    const ub64 main = revision;
    Item item;
    Append(item.key, std::as_bytes(std::span(&main, 1)));
    Append(item.key, AsBytes("_"));
    item.key.resize(17);
    item.value.resize(1024 + random_() % 3073, static_cast<std::byte>(random_()));
    return item;
  }

  void Flush(std::vector<Item>& items, bool is_leaf, std::vector<Item>& above) {
    if (items.empty()) return;
    std::span<const Item> rest(items);
    for (const std::size_t length : SplitLengths(rest, kPageSize)) {
      const auto piece = rest.first(length);
      const std::uint64_t pages = (ImageSize(piece) + kPageSize - 1) / kPageSize;
      const Bytes bytes = EncodePage(piece, is_leaf, next_page_, pages, kPageSize);
      out_.write(reinterpret_cast<const char*>(bytes.data()),
                 static_cast<std::streamsize>(bytes.size()));
      Item up;
      up.key = piece.front().key;
      up.page = next_page_;
      above.push_back(std::move(up));
      next_page_ += pages;
      rest = rest.subspan(length);
    }
    items.clear();
  }

  void WriteMeta(int slot, std::uint64_t root) {
    PageHeader header;
    header.id = static_cast<std::uint64_t>(slot);
    header.flags = kMetaPage;
    MetaBody body;
    body.magic = kMagic;
    body.version = kVersion;
    body.page_size = kPageSize;
    body.root_page = root;
    body.freelist_page = kNoFreelist;
    body.high_water_mark = next_page_;
    body.transaction_id = static_cast<std::uint64_t>(slot) + 2;
    body.checksum = MetaChecksum(body);
    out_.seekp(static_cast<std::streamoff>(kPageSize) * slot);
    out_.write(reinterpret_cast<const char*>(&header), sizeof(header));
    out_.write(reinterpret_cast<const char*>(&body), sizeof(body));
  }

  std::ofstream out_;
  std::uint64_t next_page_ = 2;
  std::mt19937 random_{1};  // NOLINT(cert-msc32-c,cert-msc51-cpp): the same file every time
};

double Seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

[[noreturn]] void Die(const std::string& message) {
  fmt::print(stderr, "check-speed: {}\n", message);
  std::exit(1);  // NOLINT(concurrency-mt-unsafe)
}

void DropFromCache(const fs::path& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || ::fdatasync(fd) != 0 || ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0) {
    Die("cannot put the file out of the page cache");
  }
  (void)::close(fd);
}

void RunCheck(const fs::path& path) {
  const auto root = RealFileSystem::OpenRoot(path.parent_path().string());
  if (!root) Die(root.error().message);
  const auto file = (*root)->Open(path.filename().string());
  if (!file) Die(file.error().message);
  const auto report = Check(**file);
  if (!report) Die(report.error().message);
  if (!report->clean()) Die("the file is damaged: " + report->problems.front().reason);
}

void RunCat(const fs::path& path) {
  const std::string command = "cat '" + path.string() + "' > /dev/null";
  if (std::system(command.c_str()) != 0) Die("cat failed");  // NOLINT(cert-env33-c)
}

// Best of all runs, the two side by side in turns.
void Compare(const fs::path& path, int runs, bool cold) {
  double check = 1e9;
  double cat = 1e9;
  for (int i = 0; i < runs; ++i) {
    if (cold) DropFromCache(path);
    check = std::min(check, Seconds([&] { RunCheck(path); }));
    if (cold) DropFromCache(path);
    cat = std::min(cat, Seconds([&] { RunCat(path); }));
  }
  const double gib = static_cast<double>(fs::file_size(path)) / (1 << 30);
  fmt::print(
      "{}: check {:.3f} s = {:.2f} GiB/s, cat {:.3f} s = {:.2f} GiB/s, check/cat speed {:.2f}\n",
      cold ? "cold" : "warm", check, gib / check, cat, gib / cat, cat / check);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 4) Die("usage: check-speed FILE [MEBIBYTES [RUNS]]");
  const fs::path path = fs::absolute(argv[1]);
  const std::uint64_t mebibytes = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1024;
  const int runs = argc > 3 ? static_cast<int>(std::strtol(argv[3], nullptr, 10)) : 9;
  if (!fs::exists(path) && !BackendMaker(path).Make(mebibytes << 20)) Die("cannot make the file");
  RunCat(path);
  Compare(path, runs, /*cold=*/false);
  Compare(path, std::max(1, runs / 3), /*cold=*/true);
  rusage usage{};
  (void)::getrusage(RUSAGE_SELF, &usage);
  const std::uint64_t pages = fs::file_size(path) / kPageSize;
  fmt::print("memory: {} KiB at the peak; 100 MiB and 64 bytes a page are {} KiB\n",
             usage.ru_maxrss, (100 << 10) + pages * 64 / 1024);
  return 0;
}
