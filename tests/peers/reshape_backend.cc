// reshape-backend DATA_DIR PAGE_SIZE [FIRST_BYTE]: gives the backend of a data directory pages of
// another size, with its trees beginning at FIRST_BYTE; what lies before them is a hole. etcd
// itself only makes pages of its machine's size. Exit 0, or 1 and what was wrong.
#include <cstdio>
#include <cstdlib>
#include <exception>

#include "rescue/base/real_file_system.h"
#include "rescue/session/reshaped_backend.h"

namespace rescue {
namespace {

constexpr std::string_view kBackend = "member/snap/db";

Status Reshape(const std::string& data_directory, std::uint64_t page_size, std::uint64_t first) {
  ASSIGN_OR_RETURN(const auto files, RealFileSystem::OpenRoot(data_directory));
  ASSIGN_OR_RETURN(const auto backend, files->Open(kBackend));
  auto made = session::testing::WithPageSize(*backend, page_size);
  const std::uint64_t page = first == 0 ? 2 : first / page_size;
  session::testing::MoveTrees(made, page);
  const ByteView bytes = made.bytes();
  RETURN_IF_ERROR(files->Truncate(kBackend, 0));
  RETURN_IF_ERROR(files->WriteAt(kBackend, 0, bytes.first(2 * page_size)));
  return files->WriteAt(kBackend, page * page_size, bytes.subspan(2 * page_size));
}

int Main(int count, char** words) {
  if (count != 3 && count != 4) {
    (void)std::fputs("usage: reshape-backend DATA_DIR PAGE_SIZE [FIRST_BYTE]\n", stderr);
    return 1;
  }
  const auto done = Reshape(words[1], std::strtoull(words[2], nullptr, 10),
                            count == 4 ? std::strtoull(words[3], nullptr, 10) : 0);
  if (done) return 0;
  (void)std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}

}  // namespace
}  // namespace rescue

int main(int count, char** words) {
  try {
    return rescue::Main(count, words);
  } catch (const std::exception& error) {
    (void)std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
