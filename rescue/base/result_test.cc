#include "rescue/base/result.h"

#include <catch2/catch_test_macros.hpp>
#include <cerrno>

namespace rescue {
namespace {

Result<int> Half(int value) {
  if (value % 2 != 0) return Fail(ErrorKind::kDataDamaged, "odd", "halve: odd");
  return value / 2;
}

Result<int> Quarter(int value) {
  ASSIGN_OR_RETURN(const int half, Half(value));
  ASSIGN_OR_RETURN(const int quarter, Half(half));
  return quarter;
}

Status BothEven(int a, int b) {
  RETURN_IF_ERROR(Half(a));
  RETURN_IF_ERROR(Half(b));
  return {};
}

}  // namespace

TEST_CASE("Errors travel up as values and gain context") {
  CHECK(*Quarter(8) == 2);
  CHECK(Quarter(6).error().code == "odd");
  CHECK(BothEven(2, 4));
  CHECK_FALSE(BothEven(2, 3));
  Error error = Quarter(7).error();
  CHECK(error.Within("quarter").message == "quarter: halve: odd");
}

TEST_CASE("System errors have a stable word and one line") {
  const auto code = [](int value) { return FailErrno("open", "x", value).value().code; };
  CHECK(code(ENOENT) == "not-found");
  CHECK(code(ENOTDIR) == "not-found");
  CHECK(code(ENOSPC) == "no-space");
  CHECK(code(EEXIST) == "exists");
  CHECK(code(EROFS) == "read-only");
  CHECK(code(EACCES) == "permission");
  CHECK(code(EPERM) == "permission");
  CHECK(code(EIO) == "io");
  const Error error = FailErrno("open", "member/snap/db", EACCES).value();
  CHECK(error.message == "open member/snap/db: Permission denied");
  CHECK(error.kind == ErrorKind::kOther);
  CHECK(FailErrno("write", "x", ENOSPC).value().kind == ErrorKind::kRefused);
}

TEST_CASE("The kinds are the exit codes that scripts rely on") {
  CHECK(static_cast<int>(ErrorKind::kOther) == 1);
  CHECK(static_cast<int>(ErrorKind::kUsage) == 2);
  CHECK(static_cast<int>(ErrorKind::kNoStateDisk) == 3);
  CHECK(static_cast<int>(ErrorKind::kCannotUnlock) == 4);
  CHECK(static_cast<int>(ErrorKind::kVolumeRefused) == 5);
  CHECK(static_cast<int>(ErrorKind::kDataDamaged) == 6);
  CHECK(static_cast<int>(ErrorKind::kRefused) == 7);
  CHECK(static_cast<int>(ErrorKind::kRolledBack) == 8);
  CHECK(static_cast<int>(ErrorKind::kUnfinishedJournal) == 9);
  CHECK(static_cast<int>(ErrorKind::kVerificationFailed) == 10);
}

}  // namespace rescue
