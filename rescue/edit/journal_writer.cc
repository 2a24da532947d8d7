#include "rescue/edit/journal_writer.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>

namespace rescue::edit {
namespace {

constexpr std::string_view kSuffix = ".journal";
constexpr std::size_t kDigits = 4;
constexpr std::uint32_t kMaxNumber = 9999;
constexpr std::size_t kWriteBytes = std::size_t{1} << 20;

bool IsReadOnly(const Error& error) {
  return error.code == "read-only" || error.code == "permission";
}

class JournalWriter {
 public:
  JournalWriter(FileSystem& files, std::string path) : files_(files), path_(std::move(path)) {}

  Status Put(ByteView bytes) {
    Append(buffer_, bytes);
    return buffer_.size() >= kWriteBytes ? Flush() : Status();
  }

  Status Flush() {
    RETURN_IF_ERROR(files_.WriteAt(path_, written_, buffer_));
    hasher_.Update(buffer_);
    written_ += buffer_.size();
    buffer_.clear();
    return {};
  }

  // Once, after Flush.
  Sha256Digest Digest() { return hasher_.Finish(); }
  std::uint64_t written() const { return written_; }

 private:
  FileSystem& files_;
  std::string path_;
  Bytes buffer_;
  std::uint64_t written_ = 0;
  Sha256Hasher hasher_;
};

Status PutPieces(JournalWriter& writer, const FileView& data, const JournalPlan& plan) {
  return ForEachPiece(data, plan, [&](const SavedPiece& piece, ByteView bytes) -> Status {
    const auto former = static_cast<std::uint32_t>(piece.former);
    Bytes payload;
    if (piece.zero) {
      const DiskZero zero{former, piece.offset, piece.length};
      Append(payload, std::as_bytes(std::span(&zero, 1)));
      return writer.Put(EncodeRecord(kZeroRecord, payload));
    }
    const DiskSave save{former, piece.offset};
    Append(payload, std::as_bytes(std::span(&save, 1)));
    Append(payload, bytes);
    return writer.Put(EncodeRecord(kSaveRecord, payload));
  });
}

Attributes OwnAttributes(std::uint32_t mode) {
  Attributes attributes;
  attributes.mode = mode;
  attributes.uid = ::geteuid();
  attributes.gid = ::getegid();
  return attributes;
}

// Creates the names that the journal needs; `made` and `created` say how far it came.
Status CreatePlace(const JournalPlace& place, bool& made, bool& created) {
  FileSystem& files = place.files;
  if (place.make_directory) {
    made = true;
    RETURN_IF_ERROR(files.MakeDirectory(place.directory, OwnAttributes(0700)));
    const std::string parent = ParentPath(place.directory);
    RETURN_IF_ERROR(files.SetModified(parent, place.parent_modified));
    RETURN_IF_ERROR(files.SyncDirectory(parent));
  }
  created = true;
  return files.CreateFile(place.path(), OwnAttributes(0600));
}

Status WriteBody(const JournalPlace& place, const FileView& data, const Draft& draft) {
  JournalWriter writer(place.files, place.path());
  RETURN_IF_ERROR(writer.Put(EncodeHeader(place.make_directory ? kMadeDirectory : 0)));
  RETURN_IF_ERROR(writer.Put(EncodeRecord(kPlanRecord, AsBytes(EncodePlan(draft.plan)))));
  RETURN_IF_ERROR(PutPieces(writer, data, draft.plan));
  RETURN_IF_ERROR(writer.Flush());
  const Sha256Digest digest = writer.Digest();
  const Bytes prepared = EncodeRecord(kPreparedRecord, digest);
  // Room for PREP and all that follows, so that a disk that fills up meanwhile cannot stop an undo.
  const Bytes room(static_cast<std::size_t>(prepared.size() + TailBytes(draft)));
  RETURN_IF_ERROR(place.files.WriteAt(place.path(), writer.written(), room));
  RETURN_IF_ERROR(place.files.SyncFile(place.path()));
  RETURN_IF_ERROR(place.files.SyncDirectory(place.directory));
  // PREP only now: where it is, all before it was durable.
  RETURN_IF_ERROR(place.files.WriteAt(place.path(), writer.written(), prepared));
  return place.files.SyncFile(place.path());
}

Result<Journal> ReadBack(const JournalPlace& place) {
  ASSIGN_OR_RETURN(const auto file, place.files.Open(place.path()));
  ASSIGN_OR_RETURN(Journal journal, ReadJournal(*file));
  if (!journal.complete) {
    return Fail(ErrorKind::kOther, "io", "read back the journal: it is not what was written");
  }
  return journal;
}

}  // namespace

std::optional<std::uint32_t> JournalNumber(std::string_view name) {
  if (name.size() != kDigits + kSuffix.size() || !name.ends_with(kSuffix)) return std::nullopt;
  std::uint32_t number = 0;
  for (const char c : name.substr(0, kDigits)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + static_cast<std::uint32_t>(c - '0');
  }
  return number;
}

tl::unexpected<Error> NothingChanged(Error error) {
  error.message = "apply: " + error.message + "; nothing was changed";
  if (IsReadOnly(error)) {
    error.kind = ErrorKind::kRefused;
    error.code = "read-only";
    error.hint = "the disk or directory must be writable";
  }
  return Fail(std::move(error));
}

Result<JournalPlace> ChoosePlace(FileSystem& files, std::string_view directory) {
  JournalPlace place{files, std::string(directory), {}, false, 0};
  std::uint32_t number = 1;
  ASSIGN_OR_RETURN(const bool exists, Exists(files, directory));
  if (exists) {
    ASSIGN_OR_RETURN(const auto entries, files.List(directory));
    for (const DirectoryEntry& entry : entries) {
      if (const auto taken = JournalNumber(entry.name)) number = std::max(number, *taken + 1);
    }
  } else {
    ASSIGN_OR_RETURN(const FileStatus parent, files.Stat(ParentPath(directory)));
    place.make_directory = true;
    place.parent_modified = parent.modified;
  }
  if (number > kMaxNumber) {
    return Fail(ErrorKind::kRefused, "too-many-journals",
                fmt::format("apply: the numbers of journals in {} are used up", directory),
                "give another directory with --journal DIR");
  }
  place.name = fmt::format("{:04}{}", number, kSuffix);
  return place;
}

Result<Journal> WriteJournal(const JournalPlace& place, const FileView& data, const Draft& draft) {
  bool made = false;
  bool created = false;
  const auto write = [&]() -> Result<Journal> {
    RETURN_IF_ERROR(CreatePlace(place, made, created));
    RETURN_IF_ERROR(WriteBody(place, data, draft));
    return ReadBack(place);
  };
  auto journal = write();
  if (journal) return journal;
  if (journal.error().code != "exists") {
    FileSystem& files = place.files;
    if (created) (void)files.Remove(place.path());
    if (created) (void)files.SyncDirectory(place.directory);
    if (made) {
      const std::string parent = ParentPath(place.directory);
      (void)files.Remove(place.directory);
      (void)files.SetModified(parent, place.parent_modified);
      (void)files.SyncDirectory(parent);
    }
  }
  return NothingChanged(std::move(journal).error());
}

}  // namespace rescue::edit
