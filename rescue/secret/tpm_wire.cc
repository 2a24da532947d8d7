#include "rescue/secret/tpm_wire.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "rescue/base/bytes.h"
#include "rescue/base/endian.h"

namespace rescue::secret {
namespace {

constexpr std::uint64_t kMagic = 0x6574'6364'7774'706d;
// No TPM has larger responses (TPM_PT_MAX_RESPONSE_SIZE is 4096 where it is largest).
constexpr std::size_t kMaxResponse = 4096;

// Every response starts with it (TPM 2.0 Library, Part 1, 18.4): tag, size of all, response code.
struct ResponseHeader {
  ub16 tag;
  ub32 size;
  ub32 code;
};
static_assert(sizeof(ResponseHeader) == 10);

tl::unexpected<Error> Absent(const std::string& path, int error) {
  if (error == EBUSY) {
    return Fail(ErrorKind::kCannotUnlock, "tpm-busy",
                fmt::format("open the TPM {}: another program uses it", Printable(path)),
                "end that program, or name the resource manager's device, /dev/tpmrm0");
  }
  return Fail(ErrorKind::kCannotUnlock, "tpm-absent",
              fmt::format("open the TPM {}: {}", Printable(path), std::strerror(error)),
              "give the machine a TPM 2.0, or supply the secret in another way");
}

Result<UniqueFd> OpenSocket(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) return Absent(path, ENAMETOOLONG);
  std::copy(path.begin(), path.end(), address.sun_path);
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!fd || ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address))) {
    return Absent(path, errno);
  }
  return fd;
}

}  // namespace

Result<std::unique_ptr<TpmWire>> TpmWire::Open(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return Absent(path, errno);
  if (S_ISSOCK(status.st_mode)) {
    ASSIGN_OR_RETURN(UniqueFd fd, OpenSocket(path));
    return std::unique_ptr<TpmWire>(new TpmWire(std::move(fd), /*is_socket=*/true));
  }
  if (!S_ISCHR(status.st_mode)) return Absent(path, ENODEV);
  UniqueFd fd(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd) return Absent(path, errno);
  return std::unique_ptr<TpmWire>(new TpmWire(std::move(fd), /*is_socket=*/false));
}

TpmWire::TpmWire(UniqueFd fd, bool is_socket)
    : fd_(std::move(fd)), is_socket_(is_socket), response_(kMaxResponse) {
  face_.common.v1.magic = kMagic;
  face_.common.v1.version = 2;
  face_.common.v1.transmit = Transmit;
  face_.common.v1.receive = Receive;
  face_.wire = this;
}

TSS2_TCTI_CONTEXT* TpmWire::context() { return reinterpret_cast<TSS2_TCTI_CONTEXT*>(&face_); }

TpmWire& TpmWire::Of(TSS2_TCTI_CONTEXT* context) { return *reinterpret_cast<Face*>(context)->wire; }

TSS2_RC TpmWire::Transmit(TSS2_TCTI_CONTEXT* context, size_t size, const uint8_t* command) {
  const TpmWire& wire = Of(context);
  // A device wants the whole command in one write; a socket may take it in pieces.
  for (size_t done = 0; done < size;) {
    // A software TPM that ended must be an error, not a signal.
    const ssize_t put = wire.is_socket_
                            ? ::send(wire.fd_.get(), command + done, size - done, MSG_NOSIGNAL)
                            : ::write(wire.fd_.get(), command + done, size - done);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return TSS2_TCTI_RC_IO_ERROR;
    done += static_cast<size_t>(put);
  }
  return TSS2_RC_SUCCESS;
}

// Reads until a whole response is there.
TSS2_RC TpmWire::Fill(int32_t timeout) {
  while (true) {
    const auto header =
        ByteReader(std::as_const(response_).Reveal().first(have_)).Read<ResponseHeader>();
    if (header && (header->size < sizeof(ResponseHeader) || header->size > kMaxResponse ||
                   have_ > header->size)) {
      return TSS2_TCTI_RC_MALFORMED_RESPONSE;
    }
    if (header && have_ == header->size) return TSS2_RC_SUCCESS;
    pollfd ready{fd_.get(), POLLIN, 0};
    const int events = ::poll(&ready, 1, timeout);
    if (events < 0 && errno == EINTR) continue;
    if (events == 0) return TSS2_TCTI_RC_TRY_AGAIN;
    const auto into = response_.Reveal().subspan(have_);
    const ssize_t got = ::read(fd_.get(), into.data(), into.size());
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return TSS2_TCTI_RC_IO_ERROR;
    have_ += static_cast<std::size_t>(got);
  }
}

TSS2_RC TpmWire::Receive(TSS2_TCTI_CONTEXT* context, size_t* size, uint8_t* response,
                         int32_t timeout) {
  TpmWire& wire = Of(context);
  const TSS2_RC filled = wire.Fill(timeout);
  if (filled == TSS2_TCTI_RC_TRY_AGAIN) return filled;
  if (filled != TSS2_RC_SUCCESS) {
    wire.have_ = 0;
    return filled;
  }
  // Asked for the size only.
  if (response == nullptr) {
    *size = wire.have_;
    return TSS2_RC_SUCCESS;
  }
  if (*size < wire.have_) return TSS2_TCTI_RC_INSUFFICIENT_BUFFER;
  const auto bytes = wire.response_.Reveal().first(wire.have_);
  std::memcpy(response, bytes.data(), bytes.size());
  *size = bytes.size();
  Wipe(bytes);
  wire.have_ = 0;
  return TSS2_RC_SUCCESS;
}

}  // namespace rescue::secret
