#include "rescue/secret/tpm_nv.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "rescue/secret/tpm_blob.h"

namespace rescue::secret {
namespace {

// Every TPM takes and gives so much at a time.
constexpr std::size_t kPiece = 512;

// The library's own handle of an index; closing it changes nothing in the TPM.
class NvHandle {
 public:
  NvHandle(ESYS_CONTEXT* esys, ESYS_TR handle) : esys_(esys), handle_(handle) {}
  NvHandle(NvHandle&& other) noexcept
      : esys_(other.esys_), handle_(std::exchange(other.handle_, ESYS_TR_NONE)) {}
  NvHandle& operator=(NvHandle&&) = delete;
  ~NvHandle() {
    if (handle_ != ESYS_TR_NONE) (void)Esys_TR_Close(esys_, &handle_);
  }
  ESYS_TR get() const { return handle_; }
  // The library drops it itself with the index.
  ESYS_TR Release() { return std::exchange(handle_, ESYS_TR_NONE); }

 private:
  ESYS_CONTEXT* esys_;
  ESYS_TR handle_;
};

Result<std::optional<NvHandle>> Find(const Tpm& tpm, TPM2_HANDLE index) {
  ASSIGN_OR_RETURN(const auto handles, tpm.Handles(index));
  if (std::find(handles.begin(), handles.end(), index) == handles.end()) return std::nullopt;
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC code =
      Esys_TR_FromTPMPublic(tpm.esys(), index, ESYS_TR_NONE, ESYS_TR_NONE, ESYS_TR_NONE, &handle);
  if (code != TSS2_RC_SUCCESS) return FailTpm("look at the TPM's NV index", code);
  return std::optional<NvHandle>(NvHandle(tpm.esys(), handle));
}

tl::unexpected<Error> FailOwner(std::string_view operation, TSS2_RC code) {
  switch (BareCode(code)) {
    case TPM2_RC_BAD_AUTH:
    case TPM2_RC_AUTH_FAIL:
      return Fail(
          ErrorKind::kCannotUnlock, "tpm-hierarchy-password",
          fmt::format("{}: somebody has set a password for the TPM's owner", operation),
          "remove the owner password (tpm2_changeauth -c owner), or keep the blob in a file");
    case TPM2_RC_NV_SPACE:
      return Fail(
          ErrorKind::kRefused, "tpm-nv-full",
          fmt::format("{}: the TPM has no room for it", operation),
          "keep the blob in a file, or remove an index that nobody needs (tpm2_nvundefine)");
    default:
      return FailTpm(operation, code);
  }
}

std::string Named(std::string_view operation, TPM2_HANDLE index) {
  return fmt::format("{} the TPM's NV index 0x{:08x}", operation, index);
}

Status Undefine(const Tpm& tpm, NvHandle handle, TPM2_HANDLE index) {
  const TSS2_RC code = Esys_NV_UndefineSpace(tpm.esys(), ESYS_TR_RH_OWNER, handle.get(),
                                             ESYS_TR_PASSWORD, ESYS_TR_NONE, ESYS_TR_NONE);
  if (code != TSS2_RC_SUCCESS) return FailOwner(Named("remove", index), code);
  (void)handle.Release();
  return {};
}

Result<NvHandle> Define(const Tpm& tpm, TPM2_HANDLE index, std::size_t size) {
  TPM2B_NV_PUBLIC area{};
  area.nvPublic.nvIndex = index;
  area.nvPublic.nameAlg = TPM2_ALG_SHA256;
  area.nvPublic.attributes =
      TPMA_NV_OWNERWRITE | TPMA_NV_OWNERREAD | TPMA_NV_AUTHREAD | TPMA_NV_NO_DA;
  area.nvPublic.dataSize = static_cast<UINT16>(size);
  const TPM2B_AUTH no_password{};
  ESYS_TR handle = ESYS_TR_NONE;
  const TSS2_RC code =
      Esys_NV_DefineSpace(tpm.esys(), ESYS_TR_RH_OWNER, ESYS_TR_PASSWORD, ESYS_TR_NONE,
                          ESYS_TR_NONE, &no_password, &area, &handle);
  if (code != TSS2_RC_SUCCESS) return FailOwner(Named("make", index), code);
  return NvHandle(tpm.esys(), handle);
}

}  // namespace

Status StoreInNv(const Tpm& tpm, ByteView blob, bool replace, TPM2_HANDLE index) {
  ASSIGN_OR_RETURN(auto old, Find(tpm, index));
  if (old && !replace) {
    return Fail(ErrorKind::kRefused, "tpm-nv-exists",
                Named("make", index) + ": there is one already",
                "replace what is in it with --replace");
  }
  if (old) RETURN_IF_ERROR(Undefine(tpm, *std::move(old), index));
  ASSIGN_OR_RETURN(NvHandle handle, Define(tpm, index, blob.size()));
  for (std::size_t offset = 0; offset < blob.size(); offset += kPiece) {
    const ByteView piece = blob.subspan(offset, std::min(kPiece, blob.size() - offset));
    TPM2B_MAX_NV_BUFFER buffer{};
    buffer.size = static_cast<UINT16>(piece.size());
    std::memcpy(buffer.buffer, piece.data(), piece.size());
    const TSS2_RC code =
        Esys_NV_Write(tpm.esys(), ESYS_TR_RH_OWNER, handle.get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                      ESYS_TR_NONE, &buffer, static_cast<UINT16>(offset));
    if (code != TSS2_RC_SUCCESS) {
      // Half a blob helps nobody.
      (void)Undefine(tpm, std::move(handle), index);
      return FailOwner(Named("write", index), code);
    }
  }
  return {};
}

Result<std::optional<Bytes>> ReadFromNv(const Tpm& tpm, TPM2_HANDLE index) {
  ASSIGN_OR_RETURN(const auto handle, Find(tpm, index));
  if (!handle) return std::nullopt;
  TPM2B_NV_PUBLIC* area_raw = nullptr;
  TSS2_RC code = Esys_NV_ReadPublic(tpm.esys(), handle->get(), ESYS_TR_NONE, ESYS_TR_NONE,
                                    ESYS_TR_NONE, &area_raw, nullptr);
  if (code != TSS2_RC_SUCCESS) return FailTpm(Named("look at", index), code);
  const EsysPtr<TPM2B_NV_PUBLIC> area(area_raw);
  const std::size_t size = std::min<std::size_t>(area->nvPublic.dataSize, kMaxBlob);
  Bytes blob;
  while (blob.size() < size) {
    TPM2B_MAX_NV_BUFFER* raw = nullptr;
    code = Esys_NV_Read(tpm.esys(), handle->get(), handle->get(), ESYS_TR_PASSWORD, ESYS_TR_NONE,
                        ESYS_TR_NONE, static_cast<UINT16>(std::min(kPiece, size - blob.size())),
                        static_cast<UINT16>(blob.size()), &raw);
    if (code != TSS2_RC_SUCCESS) return FailTpm(Named("read", index), code);
    const EsysPtr<TPM2B_MAX_NV_BUFFER> piece(raw);
    if (piece->size == 0) break;
    Append(blob, std::as_bytes(std::span(piece->buffer, piece->size)));
  }
  return blob;
}

Status RemoveFromNv(const Tpm& tpm, TPM2_HANDLE index) {
  ASSIGN_OR_RETURN(auto handle, Find(tpm, index));
  if (!handle) {
    return Fail(ErrorKind::kUsage, "not-found", Named("remove", index) + ": there is none");
  }
  return Undefine(tpm, *std::move(handle), index);
}

}  // namespace rescue::secret
