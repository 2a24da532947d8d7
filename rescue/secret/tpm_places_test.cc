#include "rescue/secret/tpm_places.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/secret/tpm_nv.h"
#include "rescue/secret/tpm_testing.h"

namespace rescue::secret {
namespace {

using rescue::testing::SoftwareTpm;
using rescue::testing::TemporaryDirectory;
using rescue::testing::WriteFileBytes;
using testing::OpenTpm;

Bytes SomeBlob(std::byte fill) { return Bytes(700, fill); }

TEST_CASE("ABlobIsKeptInNvAndGoesWhenItIsRemoved") {
  SoftwareTpm process;
  {
    const Tpm tpm = OpenTpm(process);
    CHECK_FALSE(ReadFromNv(tpm).value());
    CHECK(RemoveFromNv(tpm).error().code == "not-found");
    REQUIRE(StoreInNv(tpm, SomeBlob(std::byte{1}), /*replace=*/false));
  }
  process.Reboot();
  const Tpm tpm = OpenTpm(process);
  CHECK(ReadFromNv(tpm).value() == SomeBlob(std::byte{1}));
  CHECK(StoreInNv(tpm, SomeBlob(std::byte{2}), /*replace=*/false).error().code == "tpm-nv-exists");
  CHECK(ReadFromNv(tpm).value() == SomeBlob(std::byte{1}));
  REQUIRE(StoreInNv(tpm, SomeBlob(std::byte{2}), /*replace=*/true));
  CHECK(ReadFromNv(tpm).value() == SomeBlob(std::byte{2}));
  REQUIRE(RemoveFromNv(tpm));
  CHECK(tpm.Handles(TPM2_NV_INDEX_FIRST).value().empty());
}

TEST_CASE("ABlobIsReadAlsoWhenTheOwnerHasAPassword") {
  const SoftwareTpm process;
  {
    const Tpm tpm = OpenTpm(process);
    REQUIRE(StoreInNv(tpm, SomeBlob(std::byte{1}), /*replace=*/false));
    TPM2B_AUTH password{};
    password.size = 1;
    password.buffer[0] = 'x';
    testing::Must(Esys_HierarchyChangeAuth(tpm.esys(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD,
                                           ESYS_TR_NONE, ESYS_TR_NONE, &password),
                  "set the owner's password");
  }
  const Tpm later = OpenTpm(process);
  CHECK(ReadFromNv(later).value() == SomeBlob(std::byte{1}));
  CHECK(RemoveFromNv(later).error().code == "tpm-hierarchy-password");
}

TEST_CASE("ATpmWithoutRoomSaysSo") {
  const SoftwareTpm process;
  const Tpm tpm = OpenTpm(process);
  Status stored;
  for (TPM2_HANDLE index = 0x01800000; stored && index < 0x01800100; ++index) {
    stored = StoreInNv(tpm, Bytes(2000, std::byte{1}), /*replace=*/false, index);
  }
  REQUIRE_FALSE(stored);
  CHECK(stored.error().code == "tpm-nv-full");
  CHECK(stored.error().kind == ErrorKind::kRefused);
}

TEST_CASE("TextAndBytesOfABlobAreTheSame") {
  const Bytes blob = SomeBlob(std::byte{0xa5});
  const std::string text = ArmorBlob(blob);
  CHECK(UnarmorBlob(blob) == blob);
  CHECK(UnarmorBlob(AsBytes(text)) == blob);
  // From a serial console, with what stands around it.
  std::string copied = "  seal ok\r\n" + text + "RESULT exit=0\r\n";
  for (std::size_t at = 0; (at = copied.find('\n', at)) != std::string::npos; at += 4) {
    copied.replace(at, 1, "\r\n  ");
  }
  CHECK(UnarmorBlob(AsBytes(copied)) == blob);
  rescue::testing::ForEveryTruncation(AsBytes(text),
                                      [](ByteView piece) { (void)UnarmorBlob(piece); });
}

TEST_CASE("ABlobIsLookedForInTheCredentialThenInNv") {
  const SoftwareTpm process;
  const Tpm tpm = OpenTpm(process);
  const TemporaryDirectory directory;
  const std::string credentials = directory.path().string();
  const auto none = FindBlob(tpm, "", credentials);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == "no-tpm-blob");
  CHECK(none.error().message.find(kBlobCredential) != std::string::npos);
  CHECK(none.error().message.find("0x018e7cd5") != std::string::npos);
  REQUIRE(StoreInNv(tpm, SomeBlob(std::byte{1}), /*replace=*/false));
  CHECK(FindBlob(tpm, "", credentials)->bytes == SomeBlob(std::byte{1}));
  WriteFileBytes(directory.path() / kBlobCredential, AsBytes(ArmorBlob(SomeBlob(std::byte{2}))));
  const auto found = FindBlob(tpm, "", credentials);
  REQUIRE(found);
  CHECK(found->bytes == SomeBlob(std::byte{2}));
  CHECK(found->place == "the credential etcd-rescue.tpm-secret");
}

TEST_CASE("ABlobInANamedFileIsNotReplacedByAnother") {
  const SoftwareTpm process;
  const Tpm tpm = OpenTpm(process);
  REQUIRE(StoreInNv(tpm, SomeBlob(std::byte{1}), /*replace=*/false));
  const auto missing = FindBlob(tpm, "/no/such/blob", "");
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == "no-tpm-blob");
  const TemporaryDirectory directory;
  WriteFileBytes(directory.path() / "large", Bytes(100000));
  CHECK_FALSE(FindBlob(tpm, (directory.path() / "large").string(), ""));
}

}  // namespace
}  // namespace rescue::secret
