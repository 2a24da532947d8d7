#include "rescue/disk/holders.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <sstream>

#include "rescue/base/bytes.h"

namespace rescue::disk {
namespace fs = std::filesystem;
namespace {

constexpr std::size_t kMost = 8;  // lines; more would not help anybody

std::string FirstLine(const fs::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

bool IsNumber(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

std::string ProcessName(const fs::path& process) {
  const std::string pid = process.filename();
  if (pid == std::to_string(::getpid())) return fmt::format("process {} (this one)", pid);
  return fmt::format("process {} ({})", pid, Printable(FirstLine(process / "comm"), 20));
}

// Where a link below /proc/PID leads, as its owner named it.
std::string Shown(const fs::path& link) {
  std::error_code error;
  const fs::path target = fs::read_symlink(link, error);
  return error ? std::string("something") : Printable(target.string(), 100);
}

// A mapped file needs no open descriptor. "7f..-7f.. r--s 00000000 fd:01 1234   /path"
bool MapsFileOf(const fs::path& process, dev_t device, std::string& path) {
  const std::string wanted = fmt::format("{:02x}:{:02x}", ::major(device), ::minor(device));
  std::ifstream file(process / "maps");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string range;
    std::string mode;
    std::string offset;
    std::string number;
    std::string inode;
    if (words >> range >> mode >> offset >> number >> inode >> path && number == wanted) {
      return true;
    }
  }
  return false;
}

void ForEachProcess(const std::function<void(const fs::path&)>& look) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    if (IsNumber(entry.path().filename())) look(entry.path());
  }
}

using Holds = std::function<bool(const struct stat&)>;

// The first thing that a process holds: a working or root directory, its program, a descriptor.
std::string HeldBy(const fs::path& process, const Holds& holds) {
  struct stat st {};
  for (const auto& [name, verb] : {std::pair{"cwd", "works in"}, std::pair{"root", "has as root"},
                                   std::pair{"exe", "was started from"}}) {
    const fs::path link = process / name;
    if (::stat(link.c_str(), &st) == 0 && holds(st)) {
      return fmt::format("{} {} {}", ProcessName(process), verb, Shown(link));
    }
  }
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(process / "fd", error)) {
    // An entry leads to the open file itself, whatever became of its name.
    if (::stat(entry.path().c_str(), &st) == 0 && holds(st)) {
      return fmt::format("{} has {} open", ProcessName(process), Shown(entry.path()));
    }
  }
  return {};
}

void AddLoops(const std::function<bool(const std::string&)>& over,
              std::vector<std::string>& holders) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/sys/block", error)) {
    const std::string file = FirstLine(entry.path() / "loop/backing_file");
    if (file.empty() || !over(file)) continue;
    holders.push_back(
        fmt::format("{} lies over {}", entry.path().filename().string(), Printable(file, 100)));
  }
}

// Once for every mount namespace: container runtimes and systemd services have their own.
void AddMounts(dev_t device, std::vector<std::string>& holders) {
  const std::string wanted = fmt::format("{}:{}", ::major(device), ::minor(device));
  std::set<ino_t> seen;
  ForEachProcess([&](const fs::path& process) {
    struct stat st {};
    if (::stat((process / "ns/mnt").c_str(), &st) != 0 || !seen.insert(st.st_ino).second) return;
    std::ifstream file(process / "mountinfo");
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string id;
      std::string parent;
      std::string number;
      std::string root;
      std::string where;
      if (!(words >> id >> parent >> number >> root >> where) || number != wanted) continue;
      holders.push_back(
          fmt::format("mounted on {} (seen by {})", Printable(where, 100), ProcessName(process)));
      return;
    }
  });
}

std::vector<std::string> Cut(std::vector<std::string> holders) {
  if (holders.size() > kMost) {
    const std::size_t more = holders.size() - kMost;
    holders.resize(kMost);
    holders.push_back(fmt::format("and {} more", more));
  }
  return holders;
}

}  // namespace

std::vector<std::string> HoldersOfMount(const std::string& mount_point) {
  std::vector<std::string> holders;
  struct stat root {};
  if (::stat(mount_point.c_str(), &root) != 0) return holders;
  ForEachProcess([&](const fs::path& process) {
    std::string held =
        HeldBy(process, [&](const struct stat& st) { return st.st_dev == root.st_dev; });
    std::string path;
    if (held.empty() && MapsFileOf(process, root.st_dev, path)) {
      held = fmt::format("{} has {} mapped", ProcessName(process), Printable(path, 100));
    }
    if (!held.empty()) holders.push_back(std::move(held));
  });
  AddLoops([&](const std::string& file) { return file.starts_with(mount_point + "/"); }, holders);
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string where;
    for (int i = 0; i < 5; ++i) words >> where;
    if (where.starts_with(mount_point + "/")) {
      holders.push_back("something is mounted on " + Printable(where, 100));
    }
  }
  return Cut(std::move(holders));
}

std::vector<std::string> HoldersOfDevice(dev_t device) {
  std::vector<std::string> holders;
  ForEachProcess([&](const fs::path& process) {
    std::string held = HeldBy(process, [&](const struct stat& st) {
      return S_ISBLK(st.st_mode) && st.st_rdev == device;
    });
    if (!held.empty()) holders.push_back(std::move(held));
  });
  AddMounts(device, holders);
  const fs::path sys = fmt::format("/sys/dev/block/{}:{}", ::major(device), ::minor(device));
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(sys / "holders", error)) {
    const std::string name = FirstLine(entry.path() / "dm/name");
    holders.push_back(fmt::format("mapping {} lies over it", name.empty()
                                                                 ? entry.path().filename().string()
                                                                 : Printable(name, 60)));
  }
  const std::string node = "/dev/" + fs::canonical(sys, error).filename().string();
  AddLoops([&](const std::string& file) { return file == node; }, holders);
  return Cut(std::move(holders));
}

std::string HoldersText(const std::vector<std::string>& holders) {
  if (holders.empty()) return "nobody that could be found";
  return fmt::format("{}", fmt::join(holders, "; "));
}

}  // namespace rescue::disk
