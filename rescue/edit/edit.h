// An edit is one planned change to a data directory, as a value. All knowledge of etcd ends in a
// list of edits; only the executor (executor.h) carries one out.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/file.h"

namespace rescue::edit {

// Overwrites `bytes.size()` bytes at `offset`, or extends the file when they reach past its end.
// The file exists and is regular.
struct WriteRange {
  std::string path;
  std::uint64_t offset = 0;
  Bytes bytes;
  bool operator==(const WriteRange&) const = default;
};

// Sets the size of an existing file; bytes that are cut off go to the journal.
struct Truncate {
  std::string path;
  std::uint64_t size = 0;
  bool operator==(const Truncate&) const = default;
};

// A new file; the name is free.
struct CreateFile {
  std::string path;
  Bytes content;
  Attributes attributes;
  bool operator==(const CreateFile&) const = default;
};

struct MakeDirectory {
  std::string path;
  Attributes attributes;
  bool operator==(const MakeDirectory&) const = default;
};

// A new directory with all that is in it: content that is too long to be held in a plan, because it
// is read from somewhere else (a backup). Who asks for the change brings a Builder (executor.h)
// that knows the recipe. Taking it back removes the directory with all that is in it. What it holds
// is not known before: no other edit may name anything of it, wherever it is moved.
struct BuildDirectory {
  std::string path;
  std::string recipe;       // text: what it is built from, so that equal plans have equal edits
  std::uint64_t bytes = 0;  // of storage that it takes at most
  Attributes attributes;    // of the directory itself
  bool operator==(const BuildDirectory&) const = default;
};

// Two existing directories change places in one step. `marker` is the name of a file that exactly
// one of them holds: from it can be told whether it was done.
struct Exchange {
  std::string first;
  std::string second;
  std::string marker;
  bool operator==(const Exchange&) const = default;
};

// `to` is free.
struct Rename {
  std::string from;
  std::string to;
  bool operator==(const Rename&) const = default;
};

// A regular file (its content goes to the journal) or an empty directory.
struct Remove {
  std::string path;
  bool operator==(const Remove&) const = default;
};

struct SetAttributes {
  std::string path;
  Attributes attributes;
  bool operator==(const SetAttributes&) const = default;
};

using Edit = std::variant<WriteRange, Truncate, CreateFile, MakeDirectory, Rename, Remove,
                          SetAttributes, BuildDirectory, Exchange>;
// Carried out in this order; an edit sees what the ones before it did.
using EditList = std::vector<Edit>;

// One line for people: "write 136 bytes at 1234 of member/wal/0...0.wal".
std::string Describe(const Edit& edit);
// Bytes that the edit puts into the data directory (not counting names and attributes).
std::uint64_t BytesWritten(const Edit& edit);
// A digest of the whole list, in hexadecimal: the same list always gives the same text.
std::string Fingerprint(const EditList& edits);

}  // namespace rescue::edit
