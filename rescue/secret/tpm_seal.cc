#include "rescue/secret/tpm_seal.h"

#include <fmt/format.h>
#include <tss2/tss2_mu.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "rescue/base/endian.h"

namespace rescue::secret {
namespace {

constexpr std::size_t kMaxPin = 256;
constexpr std::size_t kMaxLabelBytes = 64;
// PCRs may be extended while we work; then everything is done again.
constexpr int kPcrRaces = 3;

// A library's struct, in secret memory.
template <typename T>
class InSecretMemory {
 public:
  InSecretMemory() : memory_(sizeof(T)), value_(new (memory_.Reveal().data()) T{}) {}
  T* get() { return value_; }
  T* operator->() { return value_; }

 private:
  SecretBytes memory_;
  T* value_;
};

// The password that a PIN stands for: its SHA-256, because a TPM takes at most 32 bytes, without
// zeros at the end, because a TPM drops those.
void SetPassword(ByteView pin, TPM2B_AUTH& password) {
  PolicyDigest digest = Sha256Of({pin});
  std::size_t size = digest.size();
  while (size > 0 && digest[size - 1] == std::byte{0}) --size;
  password.size = static_cast<UINT16>(size);
  std::memcpy(password.buffer, digest.data(), size);
  Wipe(digest);
}

TPM2B_DIGEST ToTpm(const PolicyDigest& digest) {
  TPM2B_DIGEST copy{};
  copy.size = static_cast<UINT16>(digest.size());
  std::memcpy(copy.buffer, digest.data(), digest.size());
  return copy;
}

TPM2B_PUBLIC SealTemplate(const PolicyDigest& policy, bool pin) {
  TPM2B_PUBLIC object{};
  object.publicArea.type = TPM2_ALG_KEYEDHASH;
  object.publicArea.nameAlg = TPM2_ALG_SHA256;
  // No USERWITHAUTH: the policy is the only way. Guessing protection is for PINs; without one it
  // would only let strangers lock the secret.
  object.publicArea.objectAttributes =
      TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT | (pin ? 0 : TPMA_OBJECT_NODA);
  object.publicArea.authPolicy = ToTpm(policy);
  object.publicArea.parameters.keyedHashDetail.scheme.scheme = TPM2_ALG_NULL;
  return object;
}

template <typename T, typename MarshalFunction>
Result<Bytes> Marshalled(MarshalFunction marshal, const T& value) {
  Bytes wire(sizeof(T));
  std::size_t size = 0;
  const TSS2_RC code = marshal(&value, reinterpret_cast<uint8_t*>(wire.data()), wire.size(), &size);
  if (code != TSS2_RC_SUCCESS) return FailTpm("encode the sealed object", code);
  wire.resize(size);
  return wire;
}

template <typename T, typename UnmarshalFunction>
bool Unmarshalled(UnmarshalFunction unmarshal, const Bytes& wire, T& value) {
  // Both types start with the size of the rest, which the library does not look at.
  ByteReader reader(wire);
  const auto size = reader.Read<ub16>();
  if (!size || *size != reader.left()) return false;
  std::size_t used = 0;
  const TSS2_RC code =
      unmarshal(reinterpret_cast<const uint8_t*>(wire.data()), wire.size(), &used, &value);
  return code == TSS2_RC_SUCCESS && used == wire.size();
}

// Who this TPM is: a key that derives from the endorsement seed, which clearing does not change.
// Nothing when the endorsement hierarchy is closed to us; it only serves a message.
std::optional<TpmName> IdentityOf(const Tpm& tpm) {
  const auto key = CreateStorageKey(tpm, ESYS_TR_RH_ENDORSEMENT);
  if (!key) return std::nullopt;
  const auto name = NameOf(tpm, key->get());
  return name ? std::optional(*name) : std::nullopt;
}

std::vector<unsigned> NumbersOf(const PcrValues& values) {
  std::vector<unsigned> numbers;
  for (const auto& [number, value] : values) numbers.push_back(number);
  return numbers;
}

// -- diagnosis: everything that can be seen before the TPM is asked to unseal
// -----------------------

tl::unexpected<Error> Refused(std::string code, std::string message, std::string hint) {
  return Fail(ErrorKind::kCannotUnlock, std::move(code), "unseal the secret: " + std::move(message),
              std::move(hint));
}

Status CheckTpm(const Tpm& tpm, ESYS_TR storage_key, const SealedBlob& blob) {
  ASSIGN_OR_RETURN(const TpmName name, NameOf(tpm, storage_key));
  if (name == blob.storage_key) return {};
  const auto identity = blob.identity ? IdentityOf(tpm) : std::nullopt;
  if (identity && identity == blob.identity) {
    return Refused(
        "tpm-cleared", "this TPM was cleared after the secret was sealed to it",
        "the sealed secret is lost: supply the secret in another way, and seal it again");
  }
  if (identity) {
    return Refused("tpm-other", "it is sealed to the TPM of another machine",
                   "use it on the machine that sealed it, or seal the secret on this one");
  }
  return Refused("tpm-other", "it is sealed to another TPM, or this TPM was cleared since",
                 "supply the secret in another way, and seal it again");
}

std::string_view Meaning(unsigned pcr) {
  switch (pcr) {
    case kPcrSecureBoot:
      return "Secure Boot's state and keys";
    case kPcrKernelConfig:
      return "additions from outside the image: kernel command line (SMBIOS), credentials and "
             "add-ons on the ESP";
    default:
      return "measured at boot";
  }
}

Status CheckLiteralPcrs(const PcrValues& now, const PcrValues& sealed) {
  std::string code;
  std::string words;
  for (const auto& [number, value] : sealed) {
    const PcrValue& is = now.at(number);
    if (is == value) continue;
    if (code.empty()) code = fmt::format("tpm-pcr-{}", number);
    words += fmt::format("{}PCR {} ({}) is {}, sealed for {}", words.empty() ? "" : "; ", number,
                         Meaning(number), ToHex(is), ToHex(value));
  }
  if (code.empty()) return {};
  return Refused(code, words,
                 "boot the image as it was booted when the secret was sealed, without additions");
}

Status CheckImageKey(const ImageKey& key, const SealedBlob& blob) {
  if (key.fingerprint == blob.signer) return {};
  return Refused("tpm-other-image",
                 fmt::format("the running image is signed with key {}, sealed for key {}",
                             ToHex(key.fingerprint), ToHex(blob.signer)),
                 "boot the image whose builder's key the secret was sealed for");
}

// The signature that allows PCR 11 as it is now.
Result<PcrSignature> FindSignature(const std::vector<PcrSignature>& signatures,
                                   const SealedBlob& blob, const PcrValue& now) {
  const PolicyDigest wanted = PcrPolicy({{kPcrImage, now}});
  std::size_t of_signer = 0;
  for (const PcrSignature& one : signatures) {
    if (one.signer != blob.signer) continue;
    if (one.policy == wanted) return one;
    ++of_signer;
  }
  return Refused("tpm-pcr-11",
                 fmt::format("PCR 11 (the image and its boot phase) is {}, which none of the "
                             "image's {} signatures allows{}",
                             ToHex(now), of_signer,
                             blob.image ? "; it was " + ToHex(*blob.image) + " when it was sealed"
                                        : std::string()),
                 "boot an unchanged image; something else was measured into PCR 11");
}

std::string ForgetText(const LockoutState& state) {
  return fmt::format("wait: the TPM forgets one wrong try every {} s", state.seconds_per_try);
}

Status CheckLockout(const LockoutState& state, bool spend_last_try) {
  if (state.locked || state.tries_left() == 0) {
    return Refused("tpm-lockout",
                   fmt::format("the TPM is locked after {} wrong PINs", state.failed),
                   ForgetText(state));
  }
  if (state.tries_left() > 1 || spend_last_try) return {};
  return Refused("tpm-last-try",
                 fmt::format("one more wrong PIN locks the TPM ({} of {} tries are spent)",
                             state.failed, state.allowed),
                 ForgetText(state) + "; or use the last one with --spend-last-try");
}

// -- the TPM's part
// --------------------------------------------------------------------------------

// PolicyAuthorize: the state of PCR 11 in `session` is one that the image's key has signed.
Status AuthorizeImage(const Tpm& tpm, ESYS_TR session, const ImageKey& key,
                      const PcrSignature& signature) {
  const TPM2B_PUBLIC area = PublicArea(key);
  ESYS_TR loaded = ESYS_TR_NONE;
  TSS2_RC code = Esys_LoadExternal(tpm.esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, nullptr,
                                   &area, ESYS_TR_RH_OWNER, &loaded);
  if (code != TSS2_RC_SUCCESS) return FailTpm("load the image's key", code);
  const TpmHandle handle(tpm.esys(), loaded);
  TPMT_SIGNATURE wire{};
  wire.sigAlg = TPM2_ALG_RSASSA;
  wire.signature.rsassa.hash = TPM2_ALG_SHA256;
  wire.signature.rsassa.sig.size = static_cast<UINT16>(signature.signature.size());
  std::memcpy(wire.signature.rsassa.sig.buffer, signature.signature.data(),
              signature.signature.size());
  const TPM2B_DIGEST signed_digest = ToTpm(Sha256Of({signature.policy}));
  TPMT_TK_VERIFIED* ticket_raw = nullptr;
  code = Esys_VerifySignature(tpm.esys(), loaded, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                              &signed_digest, &wire, &ticket_raw);
  if (code != TSS2_RC_SUCCESS) {
    return Refused("tpm-signature", "the image's signature over PCR 11 is not valid",
                   "boot an unchanged image");
  }
  const EsysPtr<TPMT_TK_VERIFIED> ticket(ticket_raw);
  ASSIGN_OR_RETURN(const TpmName name, NameOf(key));
  TPM2B_NAME signer{};
  signer.size = static_cast<UINT16>(name.size());
  std::memcpy(signer.name, name.data(), name.size());
  const TPM2B_DIGEST approved = ToTpm(signature.policy);
  const TPM2B_NONCE no_reference{};
  code = Esys_PolicyAuthorize(tpm.esys(), session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                              &approved, &no_reference, &signer, ticket.get());
  if (code != TSS2_RC_SUCCESS) return FailTpm("use the image's signature", code);
  return {};
}

Status UsePcrs(const Tpm& tpm, ESYS_TR session, const std::vector<unsigned>& numbers) {
  const TPM2B_DIGEST as_they_are{};
  const TPML_PCR_SELECTION selection = SelectPcrs(numbers);
  const TSS2_RC code = Esys_PolicyPCR(tpm.esys(), session, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                                      &as_they_are, &selection);
  if (code != TSS2_RC_SUCCESS) return FailTpm("use the PCRs", code);
  return {};
}

struct Unsealer {
  const Tpm& tpm;
  const SealedBlob& blob;
  const ImageKey& key;
  const PcrSignature& signature;
  ESYS_TR storage_key;
  ESYS_TR object;

  // TSS2_RC_SUCCESS, or the TPM's answer to the last step.
  Result<TSS2_RC> Once(EsysPtr<TPM2B_SENSITIVE_DATA>& data) const {
    ASSIGN_OR_RETURN(const TpmHandle session, StartSession(tpm, storage_key, TPM2_SE_POLICY));
    RETURN_IF_ERROR(UsePcrs(tpm, session.get(), {kPcrImage}));
    RETURN_IF_ERROR(AuthorizeImage(tpm, session.get(), key, signature));
    RETURN_IF_ERROR(UsePcrs(tpm, session.get(), NumbersOf(blob.literal)));
    if (blob.pin) {
      const TSS2_RC code =
          Esys_PolicyAuthValue(tpm.esys(), session.get(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE);
      if (code != TSS2_RC_SUCCESS) return FailTpm("use the PIN", code);
    }
    TPM2B_SENSITIVE_DATA* raw = nullptr;
    const TSS2_RC code =
        Esys_Unseal(tpm.esys(), object, session.get(), ESYS_TR_NONE, ESYS_TR_NONE, &raw);
    data.reset(raw);
    return code;
  }
};

tl::unexpected<Error> WrongPin(const Tpm& tpm) {
  const auto state = tpm.ReadLockout();
  if (!state) return Fail(Error(state.error()));
  return Refused("tpm-wrong-pin",
                 fmt::format("the PIN is wrong; {} of {} tries are left until the TPM locks",
                             state->tries_left(), state->allowed),
                 ForgetText(*state));
}

// What a refusal of TPM2_Unseal means after all that was checked before.
tl::unexpected<Error> ExplainUnseal(const Tpm& tpm, TSS2_RC code) {
  switch (BareCode(code)) {
    case TPM2_RC_AUTH_FAIL:
    case TPM2_RC_BAD_AUTH:
      return WrongPin(tpm);
    case TPM2_RC_LOCKOUT: {
      const auto state = tpm.ReadLockout();
      if (!state) return Fail(Error(state.error()));
      return Fail(CheckLockout({true, state->failed, state->allowed, state->seconds_per_try}, true)
                      .error());
    }
    case TPM2_RC_POLICY_FAIL:
    case TPM2_RC_POLICY:
      return Refused("bad-tpm-blob",
                     "the TPM holds it to another policy than the blob says: it was changed",
                     "seal the secret again with seal-secret, or supply it in another way");
    default:
      return FailTpm("unseal the secret", code);
  }
}

Result<TpmHandle> LoadObject(const Tpm& tpm, ESYS_TR storage_key, const SealedBlob& blob) {
  TPM2B_PUBLIC public_area{};
  TPM2B_PRIVATE private_area{};
  const auto changed = [] {
    return Refused("bad-tpm-blob", "the TPM did not make it like this: it was changed",
                   "seal the secret again with seal-secret, or supply it in another way");
  };
  if (!Unmarshalled(Tss2_MU_TPM2B_PUBLIC_Unmarshal, blob.public_area, public_area) ||
      !Unmarshalled(Tss2_MU_TPM2B_PRIVATE_Unmarshal, blob.private_area, private_area)) {
    return changed();
  }
  ESYS_TR object = ESYS_TR_NONE;
  const TSS2_RC code = Esys_Load(tpm.esys(), storage_key, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                 ESYS_TR_NONE, &private_area, &public_area, &object);
  // What the TPM's memory or transport cannot do is no tampering.
  if (code != TSS2_RC_SUCCESS && (BareCode(code) & TPM2_RC_FMT1) != 0) return changed();
  if (code != TSS2_RC_SUCCESS) return FailTpm("load the sealed object", code);
  return TpmHandle(tpm.esys(), object);
}

Status SetPin(const Tpm& tpm, ESYS_TR object, const UnsealWishes& wishes) {
  if (!wishes.pin) {
    return Refused("tpm-pin-needed", "it was sealed with a PIN, and none was given",
                   "run this where the PIN can be typed, or give it with --pin FILE");
  }
  ASSIGN_OR_RETURN(const LockoutState state, tpm.ReadLockout());
  RETURN_IF_ERROR(CheckLockout(state, wishes.spend_last_try));
  ASSIGN_OR_RETURN(const SecretBytes pin, wishes.pin(state));
  InSecretMemory<TPM2B_AUTH> password;
  SetPassword(pin.Reveal(), *password.get());
  const TSS2_RC code = Esys_TR_SetAuth(tpm.esys(), object, password.get());
  if (code != TSS2_RC_SUCCESS) return FailTpm("set the PIN", code);
  return {};
}

Result<Secret> UnsealBlob(const Tpm& tpm, ESYS_TR storage_key, const SealedBlob& blob,
                          const ImageKey& key, const UnsealWishes& wishes) {
  RETURN_IF_ERROR(CheckTpm(tpm, storage_key, blob));
  RETURN_IF_ERROR(CheckImageKey(key, blob));
  std::vector<unsigned> numbers = NumbersOf(blob.literal);
  numbers.push_back(kPcrImage);
  ASSIGN_OR_RETURN(const PcrValues now, tpm.ReadPcrs(numbers));
  ASSIGN_OR_RETURN(const PcrSignature signature,
                   FindSignature(wishes.signatures, blob, now.at(kPcrImage)));
  RETURN_IF_ERROR(CheckLiteralPcrs(now, blob.literal));
  ASSIGN_OR_RETURN(const TpmHandle object, LoadObject(tpm, storage_key, blob));
  if (blob.pin) RETURN_IF_ERROR(SetPin(tpm, object.get(), wishes));
  const Unsealer unsealer{tpm, blob, key, signature, storage_key, object.get()};
  EsysPtr<TPM2B_SENSITIVE_DATA> data;
  TSS2_RC code = TPM2_RC_PCR_CHANGED;
  for (int race = 0; race < kPcrRaces && BareCode(code) == TPM2_RC_PCR_CHANGED; ++race) {
    ASSIGN_OR_RETURN(code, unsealer.Once(data));
  }
  if (code != TSS2_RC_SUCCESS) return ExplainUnseal(tpm, code);
  const auto bytes = std::as_writable_bytes(std::span(data->buffer, data->size));
  auto secret = DecodePayload(blob.kind, bytes);
  Wipe(bytes);
  return secret;
}

// -- sealing
// ---------------------------------------------------------------------------------------

Result<PcrValues> LiteralValues(const Tpm& tpm, const SealWishes& wishes) {
  if (wishes.here) {
    std::vector<unsigned> numbers = {kPcrKernelConfig};
    if (wishes.secure_boot) numbers.push_back(kPcrSecureBoot);
    return tpm.ReadPcrs(numbers);
  }
  if (wishes.secure_boot) {
    return Fail(ErrorKind::kUsage, "no-pcr-value",
                "seal the secret: PCR 7 of another boot is not known here",
                "seal it in the booted image, or leave PCR 7 out");
  }
  return PcrValues{{kPcrKernelConfig, PcrValue{}}};
}

Status CheckWishes(const SealWishes& wishes) {
  if (wishes.pin.size() > kMaxPin) {
    return Fail(ErrorKind::kUsage, "bad-pin",
                fmt::format("seal the secret: the PIN is longer than {} bytes", kMaxPin));
  }
  if (wishes.label.size() > kMaxLabelBytes) {
    return Fail(ErrorKind::kUsage, "bad-label",
                fmt::format("seal the secret: the label is longer than {} bytes", kMaxLabelBytes));
  }
  return {};
}

// TPM2_Create of the sealed object, through an encrypted session.
Status CreateObject(const Tpm& tpm, ESYS_TR storage_key, const SecretBytes& payload,
                    const SealWishes& wishes, SealedBlob& blob) {
  InSecretMemory<TPM2B_SENSITIVE_CREATE> sensitive;
  if (blob.pin) SetPassword(wishes.pin.Reveal(), sensitive->sensitive.userAuth);
  sensitive->sensitive.data.size = static_cast<UINT16>(payload.size());
  std::memcpy(sensitive->sensitive.data.buffer, payload.Reveal().data(), payload.size());
  ASSIGN_OR_RETURN(const TpmName signer, NameOf(wishes.key));
  const TPM2B_PUBLIC object = SealTemplate(SealPolicy(signer, blob.literal, blob.pin), blob.pin);
  ASSIGN_OR_RETURN(const TpmHandle session, StartSession(tpm, storage_key, TPM2_SE_HMAC));
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  TPM2B_PRIVATE* private_raw = nullptr;
  TPM2B_PUBLIC* public_raw = nullptr;
  const TSS2_RC code = Esys_Create(tpm.esys(), storage_key, session.get(), ESYS_TR_NONE,
                                   ESYS_TR_NONE, sensitive.get(), &object, &outside, &no_pcrs,
                                   &private_raw, &public_raw, nullptr, nullptr, nullptr);
  if (code != TSS2_RC_SUCCESS) return FailTpm("seal the secret", code);
  const EsysPtr<TPM2B_PRIVATE> private_area(private_raw);
  const EsysPtr<TPM2B_PUBLIC> public_area(public_raw);
  ASSIGN_OR_RETURN(blob.private_area, Marshalled(Tss2_MU_TPM2B_PRIVATE_Marshal, *private_area));
  ASSIGN_OR_RETURN(blob.public_area, Marshalled(Tss2_MU_TPM2B_PUBLIC_Marshal, *public_area));
  return {};
}

// The error would otherwise come at the next boot, when the secret is needed.
Status TryNow(const Tpm& tpm, ESYS_TR storage_key, const SealedBlob& blob,
              const SealWishes& wishes) {
  UnsealWishes unseal;
  unseal.signatures = wishes.signatures;
  unseal.pin = [&](const LockoutState&) -> Result<SecretBytes> {
    return SecretBytes::CopyOf(wishes.pin.Reveal());
  };
  // The PIN is right: no try is spent.
  unseal.spend_last_try = true;
  auto secret = UnsealBlob(tpm, storage_key, blob, wishes.key, unseal);
  if (!secret) return Fail(std::move(secret.error().Within("try what was sealed")));
  return {};
}

}  // namespace

Result<Bytes> SealSecret(const Tpm& tpm, const Secret& secret, const SealWishes& wishes) {
  RETURN_IF_ERROR(CheckWishes(wishes));
  ASSIGN_OR_RETURN(const SecretBytes payload, EncodePayload(secret));
  SealedBlob blob;
  blob.kind = KindOf(secret);
  blob.pin = !wishes.pin.empty();
  blob.label = wishes.label;
  blob.signer = wishes.key.fingerprint;
  ASSIGN_OR_RETURN(blob.literal, LiteralValues(tpm, wishes));
  if (wishes.here) {
    ASSIGN_OR_RETURN(const PcrValues image, tpm.ReadPcrs({kPcrImage}));
    blob.image = image.at(kPcrImage);
  }
  blob.identity = IdentityOf(tpm);
  ASSIGN_OR_RETURN(const TpmHandle storage_key, CreateStorageKey(tpm, ESYS_TR_RH_OWNER));
  ASSIGN_OR_RETURN(blob.storage_key, NameOf(tpm, storage_key.get()));
  RETURN_IF_ERROR(CreateObject(tpm, storage_key.get(), payload, wishes, blob));
  if (wishes.here) RETURN_IF_ERROR(TryNow(tpm, storage_key.get(), blob, wishes));
  return EncodeBlob(blob);
}

Result<Secret> UnsealSecret(const Tpm& tpm, ByteView bytes, const UnsealWishes& wishes) {
  ASSIGN_OR_RETURN(const SealedBlob blob, DecodeBlob(bytes));
  ASSIGN_OR_RETURN(const TpmHandle storage_key, CreateStorageKey(tpm, ESYS_TR_RH_OWNER));
  return UnsealBlob(tpm, storage_key.get(), blob, wishes.key, wishes);
}

}  // namespace rescue::secret
