#include "rescue/secret/tpm_seal.h"

#include <catch2/catch_test_macros.hpp>

#include "rescue/secret/tpm_testing.h"

namespace rescue::secret {
namespace {

using rescue::testing::SoftwareTpm;
using testing::Clear;
using testing::Extend;
using testing::OpenTpm;
using testing::SameMaster;
using testing::Signer;
using testing::SomeMaster;

constexpr std::string_view kPin = "correct horse";

SecretBytes Pin(std::string_view text) { return SecretBytes::CopyOf(AsBytes(text)); }

// A machine that has booted an image, up to the phase that the image's builder signed.
struct Machine {
  SoftwareTpm process;
  Signer signer;
  std::vector<PcrSignature> signatures;

  Machine() {
    Boot();
    const Tpm tpm = OpenTpm(process);
    signatures = signer.Signatures({tpm.ReadPcrs({kPcrImage}).value().at(kPcrImage)});
  }
  void Boot() const { Extend(OpenTpm(process), kPcrImage, "kernel, initrd, enter-initrd"); }
  void Reboot() {
    process.Reboot();
    Boot();
  }

  SealWishes Wishes() const {
    SealWishes wishes;
    wishes.key = signer.key();
    wishes.signatures = signatures;
    return wishes;
  }
  Bytes Seal(SealWishes wishes) const {
    auto blob = SealSecret(OpenTpm(process), SomeMaster(), wishes);
    if (!blob) throw std::runtime_error(blob.error().message);
    return *std::move(blob);
  }
  Bytes Seal() const { return Seal(Wishes()); }
  Bytes SealWithPin() const {
    SealWishes wishes = Wishes();
    wishes.pin = Pin(kPin);
    return Seal(std::move(wishes));
  }

  UnsealWishes Booted() const {
    UnsealWishes wishes;
    wishes.key = signer.key();
    wishes.signatures = signatures;
    return wishes;
  }
  Result<Secret> Unseal(ByteView blob) const {
    return UnsealSecret(OpenTpm(process), blob, Booted());
  }
  Result<Secret> UnsealWith(ByteView blob, std::string_view pin, bool last_try = false) const {
    UnsealWishes wishes = Booted();
    wishes.pin = [pin](const LockoutState&) -> Result<SecretBytes> { return Pin(pin); };
    wishes.spend_last_try = last_try;
    return UnsealSecret(OpenTpm(process), blob, wishes);
  }
};

void CheckRefused(const Result<Secret>& result, std::string_view code) {
  REQUIRE_FALSE(result);
  INFO(result.error().message);
  CHECK(result.error().code == code);
  CHECK(result.error().kind == ErrorKind::kCannotUnlock);
  CHECK(result.error().message.find('\n') == std::string::npos);
  CHECK_FALSE(result.error().hint.empty());
}

TEST_CASE("ASealedSecretComesBackAfterAReboot") {
  Machine machine;
  const Bytes blob = machine.Seal();
  CHECK(blob.size() < 1024);
  machine.Reboot();
  const auto secret = machine.Unseal(blob);
  INFO((secret ? "" : secret.error().message));
  REQUIRE(secret);
  CHECK(SameMaster(*secret, SomeMaster()));
}

TEST_CASE("ADiskKeyCanBeSealedAlone") {
  const Machine machine;
  const std::string key(32, 'k');
  SealWishes wishes = machine.Wishes();
  wishes.label = "78587c41-ed99-4337-8022-dc28be882f72";
  const auto blob =
      SealSecret(OpenTpm(machine.process), DiskKey{SecretBytes::CopyOf(AsBytes(key))}, wishes);
  REQUIRE(blob);
  CHECK(DecodeBlob(*blob)->label == wishes.label);
  const auto secret = machine.Unseal(*blob);
  REQUIRE(secret);
  CHECK(AsText(std::get<DiskKey>(*secret).bytes.Reveal()) == key);
}

TEST_CASE("WhatATpmCannotHoldIsRefusedBeforeItIsAsked") {
  const Machine machine;
  const Secret large = MasterSecret{SecretBytes(100), SecretBytes(64)};
  const auto blob = SealSecret(OpenTpm(machine.process), large, machine.Wishes());
  REQUIRE_FALSE(blob);
  CHECK(blob.error().code == "secret-too-long");
}

TEST_CASE("TheBlobDoesNotShowTheSecret") {
  const Machine machine;
  const Bytes blob = machine.SealWithPin();
  CHECK(AsText(blob).find("this is the key") == std::string_view::npos);
  CHECK(AsText(blob).find("this is the salt") == std::string_view::npos);
  CHECK(AsText(blob).find(kPin) == std::string_view::npos);
}

TEST_CASE("AChangedImageIsRefusedWithBothValuesOfPcr11") {
  Machine machine;
  const Bytes blob = machine.Seal();
  const std::string sealed = ToHex(*DecodeBlob(blob)->image);
  Extend(OpenTpm(machine.process), kPcrImage, "leave-initrd");
  const auto now = OpenTpm(machine.process).ReadPcrs({kPcrImage}).value().at(kPcrImage);
  const auto secret = machine.Unseal(blob);
  CheckRefused(secret, "tpm-pcr-11");
  CHECK(secret.error().message.find(sealed) != std::string::npos);
  CHECK(secret.error().message.find(ToHex(now)) != std::string::npos);
}

TEST_CASE("ANewImageWithTheSameKeyGetsTheSecret") {
  Machine machine;
  const Bytes blob = machine.Seal();
  machine.process.Reboot();
  Extend(OpenTpm(machine.process), kPcrImage, "the next version");
  const auto now = OpenTpm(machine.process).ReadPcrs({kPcrImage}).value().at(kPcrImage);
  machine.signatures = machine.signer.Signatures({PcrValue{}, now});
  const auto secret = machine.Unseal(blob);
  REQUIRE(secret);
  CHECK(SameMaster(*secret, SomeMaster()));
}

TEST_CASE("AnImageOfAnotherKeyIsRefusedWithBothKeys") {
  Machine machine;
  const Bytes blob = machine.Seal();
  const Signer other;
  const auto states = OpenTpm(machine.process).ReadPcrs({kPcrImage}).value();
  UnsealWishes wishes;
  wishes.key = other.key();
  wishes.signatures = other.Signatures({states.at(kPcrImage)});
  const auto secret = UnsealSecret(OpenTpm(machine.process), blob, wishes);
  CheckRefused(secret, "tpm-other-image");
  CHECK(secret.error().message.find(ToHex(other.key().fingerprint)) != std::string::npos);
  CHECK(secret.error().message.find(ToHex(machine.signer.key().fingerprint)) != std::string::npos);
}

TEST_CASE("AnotherKeyInTheRightKeysNameIsFoundOutByTheTpm") {
  // The image says that its own key is the one that the secret is sealed for.
  Machine machine;
  const Bytes blob = machine.Seal();
  const Signer other;
  const auto states = OpenTpm(machine.process).ReadPcrs({kPcrImage}).value();
  UnsealWishes wishes = machine.Booted();
  wishes.signatures = other.Signatures({states.at(kPcrImage)});
  for (auto& signature : wishes.signatures) signature.signer = machine.signer.key().fingerprint;
  CheckRefused(UnsealSecret(OpenTpm(machine.process), blob, wishes), "tpm-signature");
  // And with its own key under that fingerprint: the policy names another key.
  wishes.key = other.key();
  wishes.key.fingerprint = machine.signer.key().fingerprint;
  CheckRefused(UnsealSecret(OpenTpm(machine.process), blob, wishes), "bad-tpm-blob");
}

TEST_CASE("AKernelCommandLineFromOutsideIsRefusedWithBothValuesOfPcr12") {
  Machine machine;
  const Bytes blob = machine.Seal();
  Extend(OpenTpm(machine.process), kPcrKernelConfig, "init=/bin/sh");
  const auto secret = machine.Unseal(blob);
  CheckRefused(secret, "tpm-pcr-12");
  const auto now = OpenTpm(machine.process).ReadPcrs({12}).value().at(12);
  CHECK(secret.error().message.find(ToHex(now)) != std::string::npos);
  CHECK(secret.error().message.find(std::string(64, '0')) != std::string::npos);
}

TEST_CASE("SecureBootCountsOnlyWhenItWasBound") {
  Machine machine;
  const Bytes without = machine.Seal();
  SealWishes wishes = machine.Wishes();
  wishes.secure_boot = true;
  const Bytes with = machine.Seal(std::move(wishes));
  CHECK(machine.Unseal(with));
  Extend(OpenTpm(machine.process), kPcrSecureBoot, "Secure Boot is off");
  CHECK(machine.Unseal(without));
  CheckRefused(machine.Unseal(with), "tpm-pcr-7");
}

TEST_CASE("SealingInAnImageThatCouldNotUnsealIsRefusedAtOnce") {
  Machine machine;
  Extend(OpenTpm(machine.process), kPcrImage, "sysinit");
  const auto blob = SealSecret(OpenTpm(machine.process), SomeMaster(), machine.Wishes());
  REQUIRE_FALSE(blob);
  CHECK(blob.error().code == "tpm-pcr-11");
}

TEST_CASE("SealingForALaterBootOfTheImageWorksFromAnotherSystem") {
  Machine machine;
  machine.process.Reboot();
  Extend(OpenTpm(machine.process), kPcrImage, "another operating system");
  Extend(OpenTpm(machine.process), kPcrKernelConfig, "its command line");
  SealWishes wishes = machine.Wishes();
  wishes.here = false;
  const Bytes blob = machine.Seal(std::move(wishes));
  CHECK_FALSE(DecodeBlob(blob)->image);
  CheckRefused(machine.Unseal(blob), "tpm-pcr-11");
  machine.Reboot();
  CHECK(machine.Unseal(blob));
  wishes = machine.Wishes();
  wishes.here = false;
  wishes.secure_boot = true;
  const auto unknown = SealSecret(OpenTpm(machine.process), SomeMaster(), wishes);
  REQUIRE_FALSE(unknown);
  CHECK(unknown.error().code == "no-pcr-value");
}

TEST_CASE("AWrongPinIsToldApartAndCounted") {
  const Machine machine;
  testing::SetLockout(OpenTpm(machine.process), 4);
  const Bytes blob = machine.SealWithPin();
  CheckRefused(machine.Unseal(blob), "tpm-pin-needed");
  const auto wrong = machine.UnsealWith(blob, "wrong");
  CheckRefused(wrong, "tpm-wrong-pin");
  CHECK(wrong.error().message.find("3 of 4 tries are left") != std::string::npos);
  const auto right = machine.UnsealWith(blob, kPin);
  REQUIRE(right);
  CHECK(SameMaster(*right, SomeMaster()));
}

TEST_CASE("TheLastPinTryIsNotSpentUnasked") {
  const Machine machine;
  testing::SetLockout(OpenTpm(machine.process), 2);
  const Bytes blob = machine.SealWithPin();
  CheckRefused(machine.UnsealWith(blob, "wrong"), "tpm-wrong-pin");
  bool asked = false;
  UnsealWishes wishes = machine.Booted();
  wishes.pin = [&](const LockoutState&) -> Result<SecretBytes> {
    asked = true;
    return Pin(kPin);
  };
  const auto last = UnsealSecret(OpenTpm(machine.process), blob, wishes);
  CheckRefused(last, "tpm-last-try");
  CHECK_FALSE(asked);
  wishes.spend_last_try = true;
  CHECK(UnsealSecret(OpenTpm(machine.process), blob, wishes));
  CHECK(asked);
}

TEST_CASE("ALockedTpmSaysSoAndHowLongToWait") {
  const Machine machine;
  testing::SetLockout(OpenTpm(machine.process), 2);
  const Bytes blob = machine.SealWithPin();
  const Bytes without_pin = machine.Seal();
  CheckRefused(machine.UnsealWith(blob, "wrong"), "tpm-wrong-pin");
  CheckRefused(machine.UnsealWith(blob, "wrong", /*last_try=*/true), "tpm-wrong-pin");
  const auto locked = machine.UnsealWith(blob, kPin, /*last_try=*/true);
  CheckRefused(locked, "tpm-lockout");
  CHECK(locked.error().hint.find("3600 s") != std::string::npos);
  // Guessing somebody's PIN does not lock what has none.
  CHECK(machine.Unseal(without_pin));
}

TEST_CASE("AClearedTpmAndAnotherTpmAreToldApart") {
  Machine machine;
  const Bytes blob = machine.Seal();
  const SoftwareTpm other;
  Extend(OpenTpm(other), kPcrImage, "kernel, initrd, enter-initrd");
  CheckRefused(UnsealSecret(OpenTpm(other), blob, machine.Booted()), "tpm-other");
  Clear(OpenTpm(machine.process));
  CheckRefused(machine.Unseal(blob), "tpm-cleared");
  CHECK(machine.Unseal(machine.Seal()));
}

TEST_CASE("WithoutATpmItSaysSo") {
  const auto none = Tpm::Open("/no/such/tpm");
  REQUIRE_FALSE(none);
  CHECK(none.error().code == "tpm-absent");
  CHECK(none.error().kind == ErrorKind::kCannotUnlock);
  CHECK(Tpm::Open("/etc/passwd").error().code == "tpm-absent");
  SoftwareTpm gone;
  gone.PowerOff();
  CHECK(Tpm::Open(gone.path()).error().code == "tpm-absent");
}

TEST_CASE("ATpmThatGoesAwayIsAnErrorAndNoHang") {
  Machine machine;
  const Bytes blob = machine.Seal();
  const Tpm tpm = OpenTpm(machine.process);
  machine.process.PowerOff();
  const auto secret = UnsealSecret(tpm, blob, machine.Booted());
  CheckRefused(secret, "tpm-error");
}

TEST_CASE("AnOwnerPasswordIsNamed") {
  const Machine machine;
  {
    const Tpm tpm = OpenTpm(machine.process);
    TPM2B_AUTH password{};
    password.size = 3;
    password.buffer[0] = 'a';
    password.buffer[2] = 'c';
    testing::Must(Esys_HierarchyChangeAuth(tpm.esys(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD,
                                           ESYS_TR_NONE, ESYS_TR_NONE, &password),
                  "set the owner's password");
  }
  const auto blob = SealSecret(OpenTpm(machine.process), SomeMaster(), machine.Wishes());
  REQUIRE_FALSE(blob);
  CHECK(blob.error().code == "tpm-hierarchy-password");
}

// The blob with one byte changed; with its checksum made right again where `repair` says so.
Bytes Flipped(const Bytes& blob, std::size_t at, bool repair) {
  Bytes changed = blob;
  changed[at] ^= std::byte{0x40};
  if (!repair) return changed;
  const std::size_t covered = changed.size() - sizeof(PolicyDigest);
  const auto digest = Sha256Of({ByteView(changed).first(covered)});
  std::copy(digest.begin(), digest.end(), changed.begin() + static_cast<std::ptrdiff_t>(covered));
  return changed;
}

TEST_CASE("AnyDamagedByteOfABlobIsNoticedBeforeTheTpmSeesIt") {
  const Machine machine;
  const Bytes blob = machine.Seal();
  for (std::size_t at = 0; at < blob.size(); ++at) {
    INFO(at);
    const auto read = DecodeBlob(Flipped(blob, at, /*repair=*/false));
    REQUIRE_FALSE(read);
    CHECK(read.error().code == "bad-tpm-blob");
  }
}

TEST_CASE("ATamperedBlobNeverGivesASecretThatWasNotSealed") {
  // Somebody who can write the blob makes its checksum right. Then the TPM must refuse, except
  // where the byte only serves messages.
  const Machine machine;
  const Bytes blob = machine.Seal();
  const auto original = *DecodeBlob(blob);
  const Tpm tpm = OpenTpm(machine.process);
  std::map<std::string, int> outcomes;
  for (std::size_t at = 0; at + sizeof(PolicyDigest) < blob.size(); ++at) {
    INFO(at);
    const Bytes changed = Flipped(blob, at, /*repair=*/true);
    const auto secret = UnsealSecret(tpm, changed, machine.Booted());
    if (!secret) {
      ++outcomes[secret.error().code];
      CHECK(secret.error().kind == ErrorKind::kCannotUnlock);
      continue;
    }
    ++outcomes["unsealed"];
    CHECK(SameMaster(*secret, SomeMaster()));
    auto read = *DecodeBlob(changed);
    read.image = original.image;
    read.identity = original.identity;
    read.label = original.label;
    CHECK(read == original);
  }
  CHECK(outcomes["bad-tpm-blob"] > 200);
  CHECK(outcomes["tpm-error"] == 0);
  CHECK(outcomes["unsealed"] == 32 + 34);
}

TEST_CASE("AHundredRoundsLeaveNothingBehindInTheTpm") {
  // Straight to the TPM: no resource manager cleans up behind us.
  const Machine machine;
  const Tpm tpm = OpenTpm(machine.process);
  const auto left = [&] {
    std::vector<TPM2_HANDLE> all;
    for (const TPM2_HANDLE first :
         {TPM2_TRANSIENT_FIRST, TPM2_LOADED_SESSION_FIRST, TPM2_ACTIVE_SESSION_FIRST,
          TPM2_NV_INDEX_FIRST, TPM2_PERSISTENT_FIRST}) {
      const auto some = tpm.Handles(first).value();
      all.insert(all.end(), some.begin(), some.end());
    }
    return all;
  };
  const auto before = left();
  SealWishes wishes = machine.Wishes();
  wishes.pin = Pin(kPin);
  const Signer other;
  for (int round = 0; round < 100; ++round) {
    INFO(round);
    const auto blob = SealSecret(tpm, SomeMaster(), wishes);
    REQUIRE(blob);
    UnsealWishes unseal = machine.Booted();
    // Every third time with a mistake: errors clean up, too.
    const bool wrong = round % 3 == 2;
    if (wrong) unseal.key = other.key();
    unseal.pin = [](const LockoutState&) -> Result<SecretBytes> { return Pin(kPin); };
    CHECK(UnsealSecret(tpm, *blob, unseal).has_value() == !wrong);
    if (round % 10 == 0) CHECK_FALSE(UnsealSecret(tpm, Flipped(*blob, 300, true), unseal));
  }
  CHECK(left() == before);
}

}  // namespace
}  // namespace rescue::secret
