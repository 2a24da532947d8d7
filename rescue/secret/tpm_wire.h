// How bytes reach a TPM: a descriptor that takes one command and gives one response, as the
// kernel's /dev/tpmrm0 and a software TPM's Unix socket do. Shaped as a TCTI, the lowest layer of
// tpm2-tss (TCG "TSS 2.0 TPM Command Transmission Interface", tss2_tcti.h).
//
// Not Debian's TCTI libraries: their device one takes no socket, their socket one takes no Unix
// socket, and neither wipes its buffer, through which encrypted secrets pass.
#pragma once

#include <tss2/tss2_tcti.h>

#include <memory>
#include <string>

#include "rescue/base/result.h"
#include "rescue/base/secret_bytes.h"
#include "rescue/base/unique_fd.h"

namespace rescue::secret {

class TpmWire {
 public:
  // `path` is a character device or a Unix socket. Errors: kCannotUnlock "tpm-absent" (there is
  // none) or "tpm-busy" (another program holds it).
  static Result<std::unique_ptr<TpmWire>> Open(const std::string& path);
  TpmWire(const TpmWire&) = delete;
  TpmWire& operator=(const TpmWire&) = delete;
  ~TpmWire() = default;

  // What Esys_Initialize takes; valid as long as this object.
  TSS2_TCTI_CONTEXT* context();

 private:
  TpmWire(UniqueFd fd, bool is_socket);
  static TpmWire& Of(TSS2_TCTI_CONTEXT* context);
  static TSS2_RC Transmit(TSS2_TCTI_CONTEXT* context, size_t size, const uint8_t* command);
  static TSS2_RC Receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response,
                         int32_t timeout);
  TSS2_RC Fill(int32_t timeout);

  // What the library sees; it leads back to the object.
  struct Face {
    TSS2_TCTI_CONTEXT_COMMON_V2 common{};
    TpmWire* wire = nullptr;
  };
  Face face_;
  UniqueFd fd_;
  bool is_socket_;
  SecretBytes response_;
  std::size_t have_ = 0;
};

}  // namespace rescue::secret
