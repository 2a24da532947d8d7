#include "rescue/backup/member_at.h"

#include <fmt/format.h>

namespace rescue::backup {
namespace {

constexpr std::string_view kMember = "member";

}  // namespace

Result<std::string> MemberAt::Place(std::string_view path) const {
  if (path == kMember) return place_;
  if (path.starts_with("member/")) return JoinPath(place_, path.substr(kMember.size() + 1));
  return Fail(ErrorKind::kOther, "not-found",
              fmt::format("open {}: it is not part of what is built", Printable(path)));
}

Result<std::unique_ptr<ReadableFile>> MemberAt::Open(std::string_view path) const {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.Open(place);
}

Result<FileStatus> MemberAt::Stat(std::string_view path) const {
  if (path.empty()) return data_.Stat("");
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.Stat(place);
}

Result<std::vector<DirectoryEntry>> MemberAt::List(std::string_view path) const {
  if (path.empty()) {
    return std::vector<DirectoryEntry>{{std::string(kMember), FileType::kDirectory}};
  }
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.List(place);
}

Status MemberAt::Rename(std::string_view from, std::string_view to) {
  ASSIGN_OR_RETURN(const std::string source, Place(from));
  ASSIGN_OR_RETURN(const std::string target, Place(to));
  return data_.Rename(source, target);
}

Status MemberAt::WriteAt(std::string_view path, std::uint64_t offset, ByteView bytes) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.WriteAt(place, offset, bytes);
}

Status MemberAt::CreateFile(std::string_view path, const Attributes& attributes) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.CreateFile(place, attributes);
}

Status MemberAt::MakeDirectory(std::string_view path, const Attributes& attributes) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.MakeDirectory(place, attributes);
}

Status MemberAt::Truncate(std::string_view path, std::uint64_t size) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.Truncate(place, size);
}

Status MemberAt::SetAttributes(std::string_view path, const Attributes& attributes) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.SetAttributes(place, attributes);
}

Status MemberAt::SetModified(std::string_view path, TimeNs modified) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.SetModified(place, modified);
}

Status MemberAt::Remove(std::string_view path) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.Remove(place);
}

Status MemberAt::SyncFile(std::string_view path) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.SyncFile(place);
}

Status MemberAt::SyncDirectory(std::string_view path) {
  ASSIGN_OR_RETURN(const std::string place, Place(path));
  return data_.SyncDirectory(place);
}

}  // namespace rescue::backup
