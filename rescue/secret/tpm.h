// A conversation with a TPM 2.0: what is asked of it in more than one place, and its errors in
// words. Everything that is made in the TPM here (transient objects, sessions) is flushed again by
// its owner, so nothing stays behind, also on the way out of an error.
#pragma once

#include <tss2/tss2_esys.h>

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "rescue/base/result.h"
#include "rescue/secret/tpm_wire.h"

namespace rescue::secret {

// The kernel's resource manager: several programs may talk to the TPM through it.
inline constexpr const char* kTpmDevice = "/dev/tpmrm0";

// The only bank that is used: systemd's PCR signatures cover it, and every TPM 2.0 has it.
using PcrValue = std::array<std::byte, 32>;
using PcrValues = std::map<unsigned, PcrValue>;  // by PCR number

// The name of an object: what it is, in 2 bytes of algorithm and a SHA-256 digest (Part 1, 16).
using TpmName = std::array<std::byte, 34>;

// Someone guessed passwords: how far the TPM's protection against that has come.
struct LockoutState {
  bool locked = false;
  std::uint32_t failed = 0;
  std::uint32_t allowed = 0;          // failures until it locks
  std::uint32_t seconds_per_try = 0;  // after so long one failure is forgotten
  std::uint32_t tries_left() const { return failed < allowed ? allowed - failed : 0; }
};

class Tpm {
 public:
  // `path` as TpmWire::Open. Errors: kCannotUnlock "tpm-absent", "tpm-busy", "tpm-error".
  static Result<Tpm> Open(const std::string& path);

  ESYS_CONTEXT* esys() const { return esys_.get(); }
  const std::string& path() const { return path_; }

  // Error "tpm-no-sha256" when the TPM keeps no SHA-256 values of these PCRs.
  Result<PcrValues> ReadPcrs(const std::vector<unsigned>& numbers) const;
  Result<LockoutState> ReadLockout() const;
  // Handles of one kind that the TPM holds now; `first` as TPM2_TRANSIENT_FIRST and others.
  Result<std::vector<TPM2_HANDLE>> Handles(TPM2_HANDLE first) const;

 private:
  struct Finalize {
    void operator()(ESYS_CONTEXT* context) const { Esys_Finalize(&context); }
  };
  std::string path_;
  std::unique_ptr<TpmWire> wire_;  // outlives esys_
  std::unique_ptr<ESYS_CONTEXT, Finalize> esys_;
};

// A transient object or a session; flushed when it goes.
class TpmHandle {
 public:
  TpmHandle() = default;
  TpmHandle(ESYS_CONTEXT* esys, ESYS_TR handle) : esys_(esys), handle_(handle) {}
  TpmHandle(TpmHandle&& other) noexcept
      : esys_(std::exchange(other.esys_, nullptr)),
        handle_(std::exchange(other.handle_, ESYS_TR_NONE)) {}
  TpmHandle& operator=(TpmHandle&& other) noexcept {
    std::swap(esys_, other.esys_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~TpmHandle() {
    if (handle_ != ESYS_TR_NONE) (void)Esys_FlushContext(esys_, handle_);
  }
  ESYS_TR get() const { return handle_; }

 private:
  ESYS_CONTEXT* esys_ = nullptr;
  ESYS_TR handle_ = ESYS_TR_NONE;
};

// What the library allocates and the caller frees.
struct EsysFree {
  void operator()(void* memory) const { Esys_Free(memory); }
};
template <typename T>
using EsysPtr = std::unique_ptr<T, EsysFree>;

// The storage key that secrets are sealed under, made anew from a hierarchy's seed: the same seed
// and template always give the same key. Errors: "tpm-hierarchy-password".
Result<TpmHandle> CreateStorageKey(const Tpm& tpm, ESYS_TR hierarchy);
Result<TpmName> NameOf(const Tpm& tpm, ESYS_TR object);
// A session that is salted with `salt_key`, so that nobody on the way can know its keys, and that
// encrypts the first parameter of commands and responses. `type` is TPM2_SE_HMAC or _POLICY.
Result<TpmHandle> StartSession(const Tpm& tpm, ESYS_TR salt_key, TPM2_SE type);

// A PCR selection of the SHA-256 bank.
TPML_PCR_SELECTION SelectPcrs(const std::vector<unsigned>& numbers);

// The TPM's response code without the number of the parameter, handle or session that it is about;
// 0 when the code is not the TPM's own.
TSS2_RC BareCode(TSS2_RC code);
// kCannotUnlock "tpm-error": "<operation>: <the library's words>".
tl::unexpected<Error> FailTpm(std::string_view operation, TSS2_RC code);

}  // namespace rescue::secret
