#include "rescue/base/real_file_system.h"

#include <fcntl.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <filesystem>
#include <string>

#include "tests/support/fixtures.h"

namespace rescue {
namespace {

namespace fs = std::filesystem;

struct Root {
  testing::TemporaryDirectory directory;
  std::unique_ptr<RealFileSystem> files;

  Root() {
    auto opened = RealFileSystem::OpenRoot(directory.path().string());
    REQUIRE(opened);
    files = *std::move(opened);
  }
};

Attributes Own(std::uint32_t mode) {
  Attributes attributes;
  attributes.mode = mode;
  attributes.uid = ::geteuid();
  attributes.gid = ::getegid();
  return attributes;
}

std::string Code(const Status& status) {
  REQUIRE_FALSE(status);
  return status.error().code;
}

}  // namespace

TEST_CASE("Files are made, written, cut, moved and removed") {
  const Root root;
  RealFileSystem& files = *root.files;
  REQUIRE(files.MakeDirectory("d", Own(0710)));
  REQUIRE(files.CreateFile("d/f", Own(0640)));
  REQUIRE(files.WriteAt("d/f", 3, AsBytes("abc")));
  CHECK(AsText(*ReadWhole(files, "d/f", 100)) == std::string_view("\0\0\0abc", 6));
  REQUIRE(files.Truncate("d/f", 4));
  REQUIRE(files.SetModified("d/f", 1'234'567'890'123'456'789));
  const auto status = files.Stat("d/f");
  REQUIRE(status);
  CHECK(status->type == FileType::kRegular);
  CHECK(status->size == 4);
  CHECK(status->attributes.mode == 0640);
  CHECK(status->modified == 1'234'567'890'123'456'789);
  CHECK(files.Stat("d")->attributes.mode == 0710);
  CHECK(files.Stat("d")->size == 0);

  CHECK(Code(files.CreateFile("d/f", Own(0600))) == "exists");
  CHECK(Code(files.MakeDirectory("d", Own(0700))) == "exists");
  REQUIRE(files.CreateFile("g", Own(0600)));
  CHECK(Code(files.Rename("g", "d/f")) == "exists");
  REQUIRE(files.Rename("d/f", "h"));
  CHECK(*files.List("") == std::vector<DirectoryEntry>{{"d", FileType::kDirectory},
                                                       {"g", FileType::kRegular},
                                                       {"h", FileType::kRegular}});
  REQUIRE(files.SyncFile("h"));
  REQUIRE(files.SyncDirectory(""));
  REQUIRE(files.Remove("h"));
  REQUIRE(files.Remove("d"));
  CHECK_FALSE(*Exists(files, "h"));
  CHECK(Code(files.Remove("h")) == "not-found");
  CHECK(*files.FreeSpace() > 0);
}

TEST_CASE("A time before 1970 is set as it is") {
  const Root root;
  REQUIRE(root.files->CreateFile("f", Own(0600)));
  REQUIRE(root.files->SetModified("f", -1'500'000'001));
  CHECK(root.files->Stat("f")->modified == -1'500'000'001);
}

TEST_CASE("A directory that is not empty is not removed") {
  const Root root;
  REQUIRE(root.files->MakeDirectory("d", Own(0700)));
  REQUIRE(root.files->CreateFile("d/f", Own(0600)));
  CHECK_FALSE(root.files->Remove("d"));
  CHECK(root.files->Stat("d/f"));
}

TEST_CASE("A missing file is told apart from other errors") {
  const Root root;
  const auto missing = root.files->Stat("no/such/file");
  REQUIRE_FALSE(missing);
  CHECK(IsNotFound(missing.error()));
  CHECK_FALSE(*Exists(*root.files, "nothing"));
  REQUIRE(root.files->CreateFile("f", Own(0600)));
  CHECK(IsNotFound(root.files->Stat("f/x").error()));
  CHECK_FALSE(RealFileSystem::OpenRoot((root.directory.path() / "nothing").string()));
}

TEST_CASE("No path and no link leads out of the root") {
  const testing::TemporaryDirectory outside;
  testing::WriteFileBytes(outside.path() / "secret", Bytes(3));
  const Root root;
  fs::create_symlink(outside.path() / "secret", root.directory.path() / "absolute");
  fs::create_symlink("../" + outside.path().filename().string() + "/secret",
                     root.directory.path() / "relative");
  fs::create_directory_symlink(outside.path(), root.directory.path() / "directory");
  RealFileSystem& files = *root.files;
  for (const char* path : {"absolute", "relative", "directory/secret"}) {
    CAPTURE(path);
    CHECK_FALSE(files.Open(path));
    CHECK_FALSE(files.WriteAt(path, 0, AsBytes("x")));
    CHECK_FALSE(files.Truncate(path, 0));
  }
  CHECK_FALSE(files.Remove("directory/secret"));
  CHECK_FALSE(files.Rename("directory/secret", "mine"));
  CHECK_FALSE(files.CreateFile("directory/new", Own(0600)));
  CHECK_FALSE(files.OpenBelow("directory"));
  CHECK(testing::ReadFileBytes(outside.path() / "secret") == Bytes(3));
  for (const char* path : {"../x", "/etc/passwd", "a//b", "."}) {
    CAPTURE(path);
    CHECK(Code(files.CreateFile(path, Own(0600))) == "bad-path");
    CHECK_FALSE(files.Open(path));
    CHECK_FALSE(files.List(path));
  }
  CHECK_FALSE(files.Remove(""));
}

TEST_CASE("A link inside the root is seen as a link and can be removed") {
  const Root root;
  REQUIRE(root.files->CreateFile("target", Own(0600)));
  fs::create_symlink("target", root.directory.path() / "link");
  CHECK(root.files->Stat("link")->type == FileType::kSymlink);
  CHECK(root.files->Open("link"));
  REQUIRE(root.files->Remove("link"));
  CHECK(root.files->Stat("target"));
}

TEST_CASE("A FIFO in place of a file is refused without waiting for it") {
  const Root root;
  REQUIRE(::mkfifo((root.directory.path() / "pipe").c_str(), 0600) == 0);
  CHECK(root.files->Stat("pipe")->type == FileType::kOther);
  const auto opened = root.files->Open("pipe");
  REQUIRE_FALSE(opened);
  CHECK(opened.error().code == "not-a-file");
  CHECK_FALSE(root.files->WriteAt("pipe", 0, AsBytes("x")));
}

TEST_CASE("Extended attributes are set, changed and taken away") {
  const Root root;
  RealFileSystem& files = *root.files;
  REQUIRE(files.CreateFile("f", Own(0600)));
  Attributes attributes = Own(0600);
  attributes.xattrs["user.a"] = ToBytes(AsBytes("1"));
  attributes.xattrs["user.b"] = ToBytes(AsBytes("2"));
  if (const auto set = files.SetAttributes("f", attributes); !set) {
    WARN("this temporary directory has no user attributes: " << set.error().message);
    CHECK(::setxattr((root.directory.path() / "f").c_str(), "user.a", "1", 1, 0) != 0);
    return;
  }
  CHECK(files.Stat("f")->attributes == attributes);
  attributes.xattrs.erase("user.a");
  attributes.xattrs["user.b"] = ToBytes(AsBytes("3"));
  REQUIRE(files.SetAttributes("f", attributes));
  CHECK(files.Stat("f")->attributes == attributes);
}

TEST_CASE("A write of no bytes asks for permission and changes nothing") {
  const Root root;
  REQUIRE(root.files->CreateFile("f", Own(0600)));
  REQUIRE(root.files->SetModified("f", 5));
  REQUIRE(root.files->WriteAt("f", 0, {}));
  CHECK(root.files->Stat("f")->modified == 5);
  CHECK(Code(root.files->WriteAt("nothing", 0, {})) == "not-found");
}

TEST_CASE("A directory below becomes a root of its own") {
  const Root root;
  REQUIRE(root.files->MakeDirectory("d", Own(0700)));
  const auto below = root.files->OpenBelow("d");
  REQUIRE(below);
  REQUIRE((*below)->CreateFile("f", Own(0600)));
  CHECK(root.files->Stat("d/f"));
  CHECK_FALSE((*below)->Open("../d/f"));
  const auto fd = root.files->OpenDescriptor("d/f", O_RDONLY);
  REQUIRE(fd);
  CHECK(fd->get() >= 0);
}

TEST_CASE("Holes need space when they are written, preallocated blocks do not") {
  const Root root;
  RealFileSystem& files = *root.files;
  REQUIRE(files.CreateFile("f", Own(0600)));
  REQUIRE(files.Truncate("f", 1 << 20));
  REQUIRE(files.WriteAt("f", 8192, Bytes(4096, std::byte{1})));
  const auto fd = files.OpenDescriptor("f", O_RDWR).value();
  REQUIRE(::posix_fallocate(fd.get(), 65536, 65536) == 0);
  const auto file = files.Open("f").value();
  fiemap head{};
  head.fm_length = 1;
  const bool has_map = ::ioctl(fd.get(), FS_IOC_FIEMAP, &head) == 0;  // tmpfs has none
  CHECK(file->unallocated(0, 1 << 20) == (has_map ? (1U << 20) - 4096 - 65536 : 0));
  CHECK(file->unallocated(0, 4096) == (has_map ? 4096 : 0));
  CHECK(file->unallocated(8192, 4096) == 0);
  CHECK(file->unallocated(70000, 20) == 0);
  CHECK(file->unallocated(65530, 20) == (has_map ? 6 : 0));
  CHECK(file->unallocated(131066, 20) == (has_map ? 14 : 0));
  CHECK(file->unallocated(70000, 0) == 0);
  CHECK(file->allocated() >= 65536 + 4096);
  CHECK(file->allocated() < 1 << 20);
}

TEST_CASE("Links can be read, and followed with a directory as the root") {
  const Root root;
  const auto top = root.directory.path();
  fs::create_directories(top / "a/b");
  fs::create_directories(top / "c");
  fs::create_directory_symlink("/c", top / "a/b/absolute");
  fs::create_directory_symlink("../../../../../c", top / "a/b/climbing");
  fs::create_directory_symlink("../../c", top / "a/b/inside");
  for (const std::string name : {"a/b/absolute", "a/b/climbing", "a/b/inside"}) {
    INFO(name);
    const auto followed = root.files->OpenAsRoot(name);
    REQUIRE(followed);
    CHECK(*(*followed)->IdentityOf("") == *root.files->IdentityOf("c"));
    CHECK(root.files->IdentityOf(name) != root.files->IdentityOf("c"));
    CHECK(root.files->OpenBelow(name).has_value() == (name == "a/b/inside"));
  }
  CHECK(root.files->ReadLink("a/b/absolute").value() == "/c");
  CHECK_FALSE(root.files->ReadLink("c"));
  CHECK(IsNotFound(root.files->ReadLink("d").error()));
  CHECK_FALSE(root.files->OpenAsRoot("../c"));
  fs::create_directory_symlink("/proc/self/root", top / "magic");
  CHECK_FALSE(root.files->OpenAsRoot("magic"));
}

}  // namespace rescue
