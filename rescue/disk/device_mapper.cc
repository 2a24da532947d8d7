#include "rescue/disk/device_mapper.h"

#include <fmt/format.h>
#include <libdevmapper.h>
#include <sys/sysmacros.h>

#include <cstdarg>
#include <cstring>
#include <memory>

namespace rescue::disk {
namespace {

constexpr unsigned kChunkSectors = 8;  // 4 KiB, the size of ext4's and dm-integrity's writes

// What libdevmapper complained about last; it would print to standard error otherwise.
thread_local std::string last_complaint;

extern "C" void RememberComplaint(int level, const char* /*file*/, int /*line*/,
                                  int /*errno_class*/, const char* format, ...) {
  // The level's low bits; 4 is a warning (libdevmapper.h leaves them to lib/log/log.h).
  if ((level & 7) > 4) return;
  char text[512];
  va_list arguments;
  va_start(arguments, format);
  // clang-tidy 14 does not know va_start in this position.
  // NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized)
  (void)std::vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  last_complaint = text;
}

using Task = std::unique_ptr<dm_task, void (*)(dm_task*)>;

Result<Task> NewTask(int type, const char* name) {
  dm_log_with_errno_init(RememberComplaint);
  last_complaint.clear();
  Task task(dm_task_create(type), dm_task_destroy);
  const bool ready = task && (name == nullptr || dm_task_set_name(task.get(), name) == 1) &&
                     // Tables of dm-crypt may hold keys: buffers are wiped when the task goes.
                     dm_task_secure_data(task.get()) == 1;
  if (ready) return task;
  return Fail(ErrorKind::kOther, "device-mapper",
              fmt::format("prepare a device-mapper call: {}", last_complaint));
}

tl::unexpected<Error> Failed(std::string_view operation, const std::string& name) {
  return Fail(ErrorKind::kOther, "device-mapper",
              fmt::format("{} mapping {}: {}", operation, name,
                          last_complaint.empty() ? "the kernel refused" : last_complaint));
}

// Runs a task that creates or removes a node, and waits until the node is there or gone.
bool RunAndWait(dm_task* task) {
  std::uint32_t cookie = 0;
  // Nobody else shall look at our devices while we use them: no probing, no links, no
  // auto-assembly.
  constexpr std::uint16_t kHandsOff = DM_UDEV_DISABLE_SUBSYSTEM_RULES_FLAG |
                                      DM_UDEV_DISABLE_DISK_RULES_FLAG |
                                      DM_UDEV_DISABLE_OTHER_RULES_FLAG;
  if (dm_task_set_cookie(task, &cookie, kHandsOff) != 1) return false;
  const bool done = dm_task_run(task) == 1;
  return (dm_udev_wait(cookie) == 1) && done;
}

// "cipher KEY iv_offset ...": the key is the second word.
std::string WithoutKey(const char* words) {
  const char* key = std::strchr(words, ' ');
  if (key == nullptr) return words;
  ++key;
  const std::size_t length = std::strcspn(key, " ");
  // ":96:logon:..." names a key in the kernel's keyring and is no secret.
  if (*key == ':') return words;
  std::string text(words, key);
  text += fmt::format("key:{}", length / 2);
  return text + (key + length);
}

Result<Mapping> Read(int type, const std::string& name) {
  ASSIGN_OR_RETURN(const Task task, NewTask(type, name.c_str()));
  dm_info info{};
  if (dm_task_run(task.get()) != 1 || dm_task_get_info(task.get(), &info) != 1) {
    return Failed("read", name);
  }
  if (info.exists == 0) return Failed("find", name);
  Mapping mapping;
  mapping.device = ::makedev(info.major, info.minor);
  mapping.read_only = info.read_only != 0;
  void* next = nullptr;
  do {
    MappingLine line;
    char* target = nullptr;
    char* words = nullptr;
    next = dm_get_next_target(task.get(), next, &line.start, &line.length, &target, &words);
    if (target == nullptr) continue;
    line.target = target;
    if (words != nullptr) line.words = line.target == "crypt" ? WithoutKey(words) : words;
    mapping.lines.push_back(std::move(line));
  } while (next != nullptr);
  return mapping;
}

}  // namespace

Status CheckDeviceMapper() {
  ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_VERSION, nullptr));
  if (dm_task_run(task.get()) == 1) return {};
  return Fail(ErrorKind::kRefused, "no-device-mapper",
              fmt::format("talk to the kernel's device-mapper: {}", last_complaint),
              "run as root on a machine with device-mapper (modprobe dm-mod)");
}

Result<std::string> CreateSnapshot(const std::string& name, dev_t origin, dev_t store,
                                   std::uint64_t sectors) {
  ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_CREATE, name.c_str()));
  const std::string words = fmt::format("{}:{} {}:{} N {}", ::major(origin), ::minor(origin),
                                        ::major(store), ::minor(store), kChunkSectors);
  if (dm_task_add_target(task.get(), 0, sectors, "snapshot", words.c_str()) != 1 ||
      dm_task_set_add_node(task.get(), DM_ADD_NODE_ON_CREATE) != 1 || !RunAndWait(task.get())) {
    return Failed("create", name);
  }
  return MappingPath(name);
}

Status RemoveMapping(const std::string& name) {
  ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_REMOVE, name.c_str()));
  // Something that probes new devices may hold it for a moment: libdevmapper tries for five
  // seconds.
  if (dm_task_retry_remove(task.get()) != 1 || !RunAndWait(task.get())) {
    return Failed("remove", name);
  }
  return {};
}

Result<Mapping> ReadTable(const std::string& name) { return Read(DM_DEVICE_TABLE, name); }

Result<Mapping> ReadStatus(const std::string& name) { return Read(DM_DEVICE_STATUS, name); }

Result<std::vector<std::string>> ListMappings() {
  ASSIGN_OR_RETURN(const Task task, NewTask(DM_DEVICE_LIST, nullptr));
  if (dm_task_run(task.get()) != 1) return Failed("list", "(all)");
  std::vector<std::string> found;
  const dm_names* names = dm_task_get_names(task.get());
  if (names == nullptr || names->dev == 0) return found;
  // The kernel's answer: records chained by offsets, the last one with 0.
  while (true) {
    found.emplace_back(names->name);
    if (names->next == 0) return found;
    names = reinterpret_cast<const dm_names*>(reinterpret_cast<const char*>(names) + names->next);
  }
}

std::string MappingPath(const std::string& name) { return fmt::format("{}/{}", dm_dir(), name); }

}  // namespace rescue::disk
