#include "rescue/session/secret_from.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/secret/supply.h"
#include "rescue/secret/tpm_testing.h"

namespace rescue::session {
namespace {

using rescue::testing::SoftwareTpm;
using rescue::testing::TemporaryDirectory;
using rescue::testing::WriteFileBytes;
using secret::testing::OpenTpm;

constexpr std::string_view kPin = "correct horse";
constexpr std::uint32_t kTries = 4;

SecretBytes Bytes(std::string_view text) { return SecretBytes::CopyOf(AsBytes(text)); }

// A booted image with a secret in a credential, sealed to the machine's TPM with a PIN.
struct Machine {
  SoftwareTpm tpm;
  TemporaryDirectory files;

  Machine() {
    const auto open = OpenTpm(tpm);
    secret::testing::Extend(open, secret::kPcrImage, "kernel, initrd, enter-initrd");
    secret::testing::SetLockout(open, kTries);
    const secret::testing::Signer signer;
    const auto state = open.ReadPcrs({secret::kPcrImage}).value().at(secret::kPcrImage);
    secret::SealWishes wishes;
    wishes.key = signer.key();
    wishes.signatures = signer.Signatures({state});
    wishes.pin = Bytes(kPin);
    const auto blob = secret::SealSecret(open, secret::testing::SomeMaster(), wishes);
    if (!blob) throw std::runtime_error(blob.error().message);
    WriteFileBytes(files.path() / "etcd-rescue.tpm-secret", *blob);
    WriteFileBytes(files.path() / "key.pem", AsBytes(signer.pem()));
    WriteFileBytes(files.path() / "signature.json", AsBytes(signer.File({state})));
  }

  Result<secret::Secret> Ask(std::string_view pin, std::optional<PinTries>& tries,
                             bool spend_last_try = false) const {
    secret::Surroundings around;
    around.credentials = files.path().string();
    around.tpm = tpm.path();
    around.image_key = (files.path() / "key.pem").string();
    around.image_signature = (files.path() / "signature.json").string();
    SecretFrom from;
    from.tpm = true;
    from.pin = Bytes(pin);
    from.spend_last_try = spend_last_try;
    return ReadSecret(from, tries, around);
  }
};

TEST_CASE("WithoutAPinTheTpmSaysHowManyTriesAreLeftAndNoneIsSpent") {
  const Machine machine;
  for (int again = 0; again < 2; ++again) {
    std::optional<PinTries> tries;
    const auto secret = machine.Ask("", tries);
    REQUIRE_FALSE(secret);
    CHECK(secret.error().code == "tpm-pin-needed");
    CHECK(secret.error().kind == ErrorKind::kCannotUnlock);
    CHECK(tries == PinTries{kTries, kTries});
  }
}

TEST_CASE("TheRightPinGivesTheSecretAndAWrongOneIsCounted") {
  const Machine machine;
  std::optional<PinTries> tries;
  const auto wrong = machine.Ask("wrong", tries);
  REQUIRE_FALSE(wrong);
  CHECK(wrong.error().code == "tpm-wrong-pin");
  CHECK_FALSE(tries);
  CHECK_FALSE(machine.Ask("", tries));
  CHECK(tries == PinTries{kTries - 1, kTries});
  const auto right = machine.Ask(kPin, tries);
  REQUIRE(right);
  CHECK(secret::testing::SameMaster(*right, secret::testing::SomeMaster()));
}

TEST_CASE("TheLastTryOfAPinIsSpentOnlyWhenThatWasSaid") {
  const Machine machine;
  std::optional<PinTries> tries;
  for (std::uint32_t i = 1; i < kTries; ++i) CHECK_FALSE(machine.Ask("wrong", tries));
  const auto last = machine.Ask(kPin, tries);
  REQUIRE_FALSE(last);
  CHECK(last.error().code == "tpm-last-try");
  CHECK(machine.Ask(kPin, tries, /*spend_last_try=*/true));
}

TEST_CASE("ATypedSecretCanBeReadForEachOfSeveralDisks") {
  SecretFrom from;
  from.typed = Bytes(std::string(64, 'a'));
  std::optional<PinTries> tries;
  for (int disk = 0; disk < 2; ++disk) CHECK(ReadSecret(from, tries));
}

}  // namespace
}  // namespace rescue::session
