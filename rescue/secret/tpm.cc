#include "rescue/secret/tpm.h"

#include <fmt/format.h>
#include <tss2/tss2_rc.h>

#include <algorithm>
#include <cstdlib>

#include "rescue/base/bytes.h"

namespace rescue::secret {
namespace {

// The library reads a few PCRs at a time, and says which.
constexpr int kMostPcrReads = 8;

TPM2B_PUBLIC StorageTemplate() {
  // The storage root key template of the TCG's provisioning guidance (v1.0, 7.5.1) for P-256.
  TPM2B_PUBLIC key{};
  key.publicArea.type = TPM2_ALG_ECC;
  key.publicArea.nameAlg = TPM2_ALG_SHA256;
  key.publicArea.objectAttributes = TPMA_OBJECT_RESTRICTED | TPMA_OBJECT_DECRYPT |
                                    TPMA_OBJECT_FIXEDTPM | TPMA_OBJECT_FIXEDPARENT |
                                    TPMA_OBJECT_SENSITIVEDATAORIGIN | TPMA_OBJECT_USERWITHAUTH |
                                    TPMA_OBJECT_NODA;
  TPMS_ECC_PARMS& ecc = key.publicArea.parameters.eccDetail;
  ecc.symmetric.algorithm = TPM2_ALG_AES;
  ecc.symmetric.keyBits.aes = 128;
  ecc.symmetric.mode.aes = TPM2_ALG_CFB;
  ecc.scheme.scheme = TPM2_ALG_NULL;
  ecc.curveID = TPM2_ECC_NIST_P256;
  ecc.kdf.scheme = TPM2_ALG_NULL;
  return key;
}

bool IsSha256Digest(const TPM2B_DIGEST& digest) { return digest.size == sizeof(PcrValue); }

// The PCR numbers that a selection holds, ascending.
std::vector<unsigned> Selected(const TPML_PCR_SELECTION& selection) {
  std::vector<unsigned> numbers;
  for (std::uint32_t bank = 0; bank < std::min<std::uint32_t>(selection.count, TPM2_NUM_PCR_BANKS);
       ++bank) {
    const TPMS_PCR_SELECTION& one = selection.pcrSelections[bank];
    for (unsigned number = 0; number < std::min<unsigned>(one.sizeofSelect, 4U) * 8; ++number) {
      if ((one.pcrSelect[number / 8] >> (number % 8)) & 1) numbers.push_back(number);
    }
  }
  return numbers;
}

}  // namespace

Result<Tpm> Tpm::Open(const std::string& path) {
  // The library writes every failed command to standard error unless told not to; errors are ours
  // to show. What somebody set by hand stays.
  (void)::setenv("TSS2_LOG", "all+none", 0);
  Tpm tpm;
  tpm.path_ = path;
  ASSIGN_OR_RETURN(tpm.wire_, TpmWire::Open(path));
  ESYS_CONTEXT* context = nullptr;
  const TSS2_RC code = Esys_Initialize(&context, tpm.wire_->context(), nullptr);
  if (code != TSS2_RC_SUCCESS) return FailTpm("start talking to the TPM " + Printable(path), code);
  tpm.esys_.reset(context);
  return tpm;
}

Result<PcrValues> Tpm::ReadPcrs(const std::vector<unsigned>& numbers) const {
  PcrValues values;
  std::vector<unsigned> missing = numbers;
  for (int round = 0; !missing.empty() && round < kMostPcrReads; ++round) {
    const TPML_PCR_SELECTION wanted = SelectPcrs(missing);
    TPML_PCR_SELECTION* read_raw = nullptr;
    TPML_DIGEST* digests_raw = nullptr;
    const TSS2_RC code = Esys_PCR_Read(esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &wanted,
                                       nullptr, &read_raw, &digests_raw);
    if (code != TSS2_RC_SUCCESS) return FailTpm("read PCRs", code);
    const EsysPtr<TPML_PCR_SELECTION> read(read_raw);
    const EsysPtr<TPML_DIGEST> digests(digests_raw);
    const auto got = Selected(*read);
    if (got.empty() || got.size() != digests->count) break;
    for (std::size_t i = 0; i < got.size(); ++i) {
      const TPM2B_DIGEST& digest = digests->digests[i];
      if (!IsSha256Digest(digest)) break;
      std::memcpy(values[got[i]].data(), digest.buffer, sizeof(PcrValue));
    }
    std::erase_if(missing, [&](unsigned number) { return values.contains(number); });
  }
  if (missing.empty()) return values;
  return Fail(ErrorKind::kCannotUnlock, "tpm-no-sha256",
              fmt::format("read PCR {}: the TPM keeps no SHA-256 value of it", missing.front()),
              "switch the TPM's SHA-256 bank on in the firmware");
}

Result<LockoutState> Tpm::ReadLockout() const {
  TPMI_YES_NO more = 0;
  TPMS_CAPABILITY_DATA* raw = nullptr;
  const TSS2_RC code = Esys_GetCapability(
      esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_TPM_PROPERTIES, TPM2_PT_PERMANENT,
      TPM2_PT_LOCKOUT_RECOVERY - TPM2_PT_PERMANENT + 1, &more, &raw);
  if (code != TSS2_RC_SUCCESS) return FailTpm("read the TPM's lockout state", code);
  const EsysPtr<TPMS_CAPABILITY_DATA> data(raw);
  LockoutState state;
  const TPML_TAGGED_TPM_PROPERTY& list = data->data.tpmProperties;
  for (std::uint32_t i = 0; i < std::min<std::uint32_t>(list.count, TPM2_MAX_TPM_PROPERTIES); ++i) {
    const auto& property = list.tpmProperty[i];
    if (property.property == TPM2_PT_PERMANENT) {
      state.locked = (property.value & TPMA_PERMANENT_INLOCKOUT) != 0;
    } else if (property.property == TPM2_PT_LOCKOUT_COUNTER) {
      state.failed = property.value;
    } else if (property.property == TPM2_PT_MAX_AUTH_FAIL) {
      state.allowed = property.value;
    } else if (property.property == TPM2_PT_LOCKOUT_INTERVAL) {
      state.seconds_per_try = property.value;
    }
  }
  return state;
}

Result<std::vector<TPM2_HANDLE>> Tpm::Handles(TPM2_HANDLE first) const {
  TPMI_YES_NO more = 0;
  TPMS_CAPABILITY_DATA* raw = nullptr;
  const TSS2_RC code =
      Esys_GetCapability(esys(), ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, TPM2_CAP_HANDLES, first,
                         TPM2_MAX_CAP_HANDLES, &more, &raw);
  if (code != TSS2_RC_SUCCESS) return FailTpm("list the TPM's handles", code);
  const EsysPtr<TPMS_CAPABILITY_DATA> data(raw);
  const TPML_HANDLE& list = data->data.handles;
  const auto count = std::min<std::uint32_t>(list.count, TPM2_MAX_CAP_HANDLES);
  return std::vector<TPM2_HANDLE>(list.handle, list.handle + count);
}

Result<TpmHandle> CreateStorageKey(const Tpm& tpm, ESYS_TR hierarchy) {
  const TPM2B_SENSITIVE_CREATE no_secret{};
  const TPM2B_PUBLIC key_template = StorageTemplate();
  const TPM2B_DATA outside{};
  const TPML_PCR_SELECTION no_pcrs{};
  ESYS_TR key = ESYS_TR_NONE;
  const TSS2_RC code = Esys_CreatePrimary(tpm.esys(), hierarchy, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                                          ESYS_TR_NONE, &no_secret, &key_template, &outside,
                                          &no_pcrs, &key, nullptr, nullptr, nullptr, nullptr);
  const TSS2_RC bare = BareCode(code);
  if (bare == TPM2_RC_BAD_AUTH || bare == TPM2_RC_AUTH_FAIL) {
    return Fail(ErrorKind::kCannotUnlock, "tpm-hierarchy-password",
                "make the TPM's storage key: somebody has set a password for its owner",
                "remove the owner password (tpm2_changeauth -c owner), or supply the secret in "
                "another way");
  }
  if (code != TSS2_RC_SUCCESS) return FailTpm("make the TPM's storage key", code);
  return TpmHandle(tpm.esys(), key);
}

Result<TpmName> NameOf(const Tpm& tpm, ESYS_TR object) {
  TPM2B_NAME* raw = nullptr;
  const TSS2_RC code = Esys_TR_GetName(tpm.esys(), object, &raw);
  if (code != TSS2_RC_SUCCESS) return FailTpm("ask for an object's name", code);
  const EsysPtr<TPM2B_NAME> name(raw);
  TpmName copy{};
  if (name->size != copy.size()) return FailTpm("ask for an object's name", TSS2_ESYS_RC_BAD_SIZE);
  std::memcpy(copy.data(), name->name, copy.size());
  return copy;
}

Result<TpmHandle> StartSession(const Tpm& tpm, ESYS_TR salt_key, TPM2_SE type) {
  TPMT_SYM_DEF cipher{};
  cipher.algorithm = TPM2_ALG_AES;
  cipher.keyBits.aes = 128;
  cipher.mode.aes = TPM2_ALG_CFB;
  ESYS_TR raw = ESYS_TR_NONE;
  TSS2_RC code =
      Esys_StartAuthSession(tpm.esys(), salt_key, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE,
                            ESYS_TR_NONE, nullptr, type, &cipher, TPM2_ALG_SHA256, &raw);
  if (code != TSS2_RC_SUCCESS) return FailTpm("start an encrypted session with the TPM", code);
  TpmHandle session(tpm.esys(), raw);
  constexpr TPMA_SESSION kFlags =
      TPMA_SESSION_CONTINUESESSION | TPMA_SESSION_DECRYPT | TPMA_SESSION_ENCRYPT;
  code = Esys_TRSess_SetAttributes(tpm.esys(), raw, kFlags, 0xff);
  if (code != TSS2_RC_SUCCESS) return FailTpm("start an encrypted session with the TPM", code);
  return session;
}

TPML_PCR_SELECTION SelectPcrs(const std::vector<unsigned>& numbers) {
  TPML_PCR_SELECTION selection{};
  selection.count = 1;
  selection.pcrSelections[0].hash = TPM2_ALG_SHA256;
  selection.pcrSelections[0].sizeofSelect = 3;
  for (const unsigned number : numbers) {
    if (number >= 24) continue;
    auto& byte = selection.pcrSelections[0].pcrSelect[number / 8];
    byte = static_cast<BYTE>(byte | (1U << (number % 8)));
  }
  return selection;
}

TSS2_RC BareCode(TSS2_RC code) {
  const TSS2_RC layer = code & TSS2_RC_LAYER_MASK;
  if (layer != TSS2_TPM_RC_LAYER && layer != TSS2_RESMGR_TPM_RC_LAYER) return 0;
  const TSS2_RC bare = code & 0xfff;
  // Format one carries a number in bits 8 to 11 and what it counts in bit 6 (Part 2, 6.6.2).
  return (bare & TPM2_RC_FMT1) != 0 ? bare & 0xbf : bare;
}

tl::unexpected<Error> FailTpm(std::string_view operation, TSS2_RC code) {
  return Fail(ErrorKind::kCannotUnlock, "tpm-error",
              fmt::format("{}: {} (0x{:x})", operation, Tss2_RC_Decode(code), code),
              "supply the secret in another way, or try again after a power cycle");
}

}  // namespace rescue::secret
