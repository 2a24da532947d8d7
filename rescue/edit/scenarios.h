// The data directory and the plans on which the executor's tests run.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/file.h"
#include "rescue/edit/edit.h"
#include "rescue/edit/executor.h"

namespace rescue::edit::testing {

inline constexpr std::string_view kJournals = "journals";

inline Bytes Pattern(std::size_t size, unsigned seed) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    seed = seed * 1103515245U + 12345U;
    bytes[i] = static_cast<std::byte>(seed >> 16);
  }
  return bytes;
}

inline Bytes Text(std::string_view text) { return ToBytes(AsBytes(text)); }

// What member/ of a small etcd looks like: a backend, a snapshot, two preallocated log segments.
// `own` are the owner and group to use (a test that is not root cannot use others).
inline Status FillDataDirectory(FileSystem& files, const Attributes& own) {
  Attributes directory = own;
  directory.mode = 0700;
  for (const char* path : {"member", "member/snap", "member/wal", "other"}) {
    RETURN_IF_ERROR(files.MakeDirectory(path, directory));
  }
  const auto add = [&](const char* path, const Bytes& content, std::uint64_t size) -> Status {
    RETURN_IF_ERROR(files.CreateFile(path, own));
    RETURN_IF_ERROR(files.WriteAt(path, 0, content));
    RETURN_IF_ERROR(files.Truncate(path, size));
    return files.SetModified(path, 1'700'000'000'123'456'789 + static_cast<TimeNs>(size));
  };
  RETURN_IF_ERROR(add("member/snap/db", Pattern(20'000, 1), 20'480));
  RETURN_IF_ERROR(add("member/snap/1.snap", Pattern(700, 2), 700));
  RETURN_IF_ERROR(add("member/wal/0.wal", Pattern(3'000, 3), 140'000));
  RETURN_IF_ERROR(add("member/wal/1.wal", Pattern(5'000, 4), 20'000));
  RETURN_IF_ERROR(add("other/untouched", Pattern(100, 5), 100));
  for (const char* path : {"member/snap", "member/wal", "member", "other", ""}) {
    RETURN_IF_ERROR(files.SetModified(path, 1'600'000'000'000'000'001));
  }
  return {};
}

// What force-new-cluster does: records appended inside the last segment.
inline EditList AppendPlan() {
  return {WriteRange{"member/wal/1.wal", 5'000, Pattern(136, 6)},
          WriteRange{"member/wal/1.wal", 4'992, Pattern(40, 7)}};
}

// Everything an edit can be: a new log that takes the old one's place, a snapshot that is replaced
// through a temporary name, pages written in the backend, old segments cut and removed.
inline EditList RebuildPlan(const Attributes& own) {
  Attributes directory = own;
  directory.mode = 0750;
  Attributes file = own;
  file.mode = 0640;
  return {MakeDirectory{"member/wal.new", directory},
          CreateFile{"member/wal.new/0.wal", Pattern(1'300, 8), file},
          Truncate{"member/wal.new/0.wal", 30'000},
          Rename{"member/wal", "member/wal.old"},
          Rename{"member/wal.new", "member/wal"},
          WriteRange{"member/wal/0.wal", 1'300, Pattern(600, 9)},
          WriteRange{"member/wal.old/1.wal", 19'900, Pattern(2'000, 10)},
          CreateFile{"member/snap/tmp", Pattern(900, 11), file},
          Remove{"member/snap/1.snap"},
          Rename{"member/snap/tmp", "member/snap/1.snap"},
          WriteRange{"member/snap/db", 4'096, Pattern(700, 12)},
          WriteRange{"member/snap/db", 20'480, Pattern(800, 13)},
          Truncate{"member/wal.old/1.wal", 1'000},
          Remove{"member/wal.old/0.wal"},
          SetAttributes{"member/snap/db", file},
          SetAttributes{"member/snap", directory}};
}

// A restored member takes the place of the old one, which is kept beside.
inline EditList RestorePlan(const Attributes& own) {
  Attributes directory = own;
  directory.mode = 0700;
  return {BuildDirectory{"member.new", "pattern", 40'000, directory},
          CreateFile{"member.new/restored", Text("from a pattern"), own},
          Exchange{"member", "member.new", "restored"},
          Rename{"member.new", "member.before-restore"}};
}

// The same where there is no member yet.
inline EditList FirstRestorePlan(const Attributes& own) {
  Attributes directory = own;
  directory.mode = 0700;
  return {BuildDirectory{"fresh.new", "pattern", 40'000, directory}, Rename{"fresh.new", "fresh"}};
}

class PatternBuilder final : public Builder {
 public:
  Status Build(FileSystem& data, const BuildDirectory& edit) override {
    for (const char* name : {"snap", "wal"}) {
      RETURN_IF_ERROR(data.MakeDirectory(JoinPath(edit.path, name), edit.attributes));
    }
    const std::string backend = JoinPath(edit.path, "snap/db");
    RETURN_IF_ERROR(data.CreateFile(backend, edit.attributes));
    for (std::uint64_t at = 0; at < 24'000; at += 6'000) {
      RETURN_IF_ERROR(data.WriteAt(backend, at, Pattern(6'000, static_cast<unsigned>(at))));
    }
    const std::string log = JoinPath(edit.path, "wal/0.wal");
    RETURN_IF_ERROR(data.CreateFile(log, edit.attributes));
    return data.WriteAt(log, 0, Pattern(900, 21));
  }
};

}  // namespace rescue::edit::testing
