// The LUKS2 header: read by our own parser, checked against an allow-list, kept in memory.
//
// LUKS2 metadata is not authenticated, so the host that holds the disk may have rewritten it
// (CVE-2025-59054, CVE-2025-58356: null ciphers). Therefore: both copies are read with plain reads,
// one is chosen explicitly, everything that steers the kernel is checked, and the volume is
// activated from that checked copy; no library ever loads the header from the device (libcryptsetup
// would write a repaired one). FORMAT.md has the layout.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/checksum.h"
#include "rescue/base/result.h"

namespace rescue::disk {

struct KeyDerivation {
  std::string type;              // "argon2id", "argon2i" or "pbkdf2"
  std::uint64_t iterations = 0;  // passes
  std::uint64_t memory_kib = 0;  // argon2 only
  std::uint64_t threads = 0;     // argon2 only
  std::string hash;              // pbkdf2 only
  std::string salt;              // base64

  bool operator==(const KeyDerivation&) const = default;
};

struct KeySlot {
  int number = 0;
  std::string type;            // "luks2"
  std::uint64_t key_size = 0;  // bytes of volume key
  std::string splitter;        // anti-forensic splitter: "luks1"
  std::string splitter_hash;
  std::uint64_t stripes = 0;
  std::string area_type;          // "raw"
  std::uint64_t area_offset = 0;  // bytes from the start of the device
  std::uint64_t area_size = 0;    // bytes
  std::string area_cipher;        // "aes-xts-plain64"
  std::uint64_t area_key_size = 0;
  std::uint64_t priority = 1;  // 2: tried first, 0: only when named (cryptsetup config --priority)
  KeyDerivation derivation;

  bool operator==(const KeySlot&) const = default;
};

struct Segment {
  int number = 0;
  std::string type;                   // "crypt"
  std::uint64_t offset = 0;           // bytes
  std::optional<std::uint64_t> size;  // bytes; nothing: to the end of the device ("dynamic")
  std::string iv_tweak;               // "0"
  std::string cipher;                 // "aes-xts-plain64"
  std::uint64_t sector_size = 0;      // bytes
  std::string integrity;              // "hmac(sha256)", or "" for none
  std::string journal_encryption;
  std::string journal_integrity;
  std::vector<std::string> flags;

  bool operator==(const Segment&) const = default;
};

struct Digest {
  int number = 0;
  std::string type;  // "pbkdf2"
  std::string hash;
  std::uint64_t iterations = 0;
  std::string salt;    // base64
  std::string digest;  // base64
  std::vector<int> key_slots;
  std::vector<int> segments;

  bool operator==(const Digest&) const = default;
};

struct Token {
  int number = 0;
  std::string type;
  std::vector<int> key_slots;  // that it opens
  // The member diskIsInitialized, whatever the type; nothing when it is missing or no boolean.
  std::optional<bool> initialized;

  bool operator==(const Token&) const = default;
};

// How one of the two copies looked when it was read.
enum class CopyState { kValid, kDamaged };

struct HeaderCopy {
  CopyState state = CopyState::kDamaged;
  std::string damage;          // why it is not used; "" when it is valid
  std::uint64_t sequence = 0;  // the rest only of a valid copy
  std::string uuid;
  std::string label;
  std::string subsystem;
  std::string checksum;  // hexadecimal

  bool operator==(const HeaderCopy&) const = default;
};

// Something about a header that the operator must hear; it does not prevent opening. The code is
// stable: "copy-damaged", "interrupted-write", "epoch-game", "copies-differ", "no-integrity",
// "foreign-token", and the codes of refusals that were accepted.
struct HeaderFinding {
  std::string code;
  std::string text;

  bool operator==(const HeaderFinding&) const = default;
};

struct Header {
  std::string uuid;
  std::string label;
  std::string subsystem;
  std::uint64_t sequence = 0;       // "epoch": grows with every change of the header
  std::uint64_t metadata_size = 0;  // bytes of one copy, binary header and JSON
  std::uint64_t key_slots_size = 0;
  HeaderCopy primary;
  HeaderCopy secondary;
  bool uses_secondary = false;
  bool has_stray_bytes = false;  // in places of the binary header that must be zero
  std::vector<KeySlot> key_slots;
  std::vector<Segment> segments;
  std::vector<Digest> digests;
  std::vector<Token> tokens;
  std::vector<std::string> requirements;    // config.requirements.mandatory
  std::vector<std::string> config_flags;    // persistent activation flags
  std::vector<std::string> foreign_fields;  // what neither we nor the node's strict decoder know
  std::vector<HeaderFinding> findings;      // about the two copies

  // The device's first bytes as they were read: both copies and all key slots; and their SHA-256.
  // Empty in a header that was only looked at.
  Bytes area;
  Sha256Digest area_digest{};
  // The JSON text that was chosen, without padding.
  std::string json;

  bool operator==(const Header&) const = default;
};

// Reads and decodes; what it says is not yet judged. Errors (kVolumeRefused): "luks1", "not-luks",
// "header-truncated", "header-damaged" (neither copy is whole), "header-json". One bad copy is a
// warning.
Result<Header> ReadHeader(const std::string& device);

// The same from the first bytes of a device: `area` may be shorter than the
// whole header area as long as the metadata of one copy is in it.
Result<Header> ParseHeader(ByteView area);

// Which disks are expected. Both refuse null ciphers, re-encryption, and anything that lies outside
// the device or over something else.
enum class Profile {
  kConstellation,  // exactly what a Constellation node writes and accepts
  kLuks2,          // other nodes' disks: FORMAT.md has the list
};
std::string_view Name(Profile profile);  // "constellation", "luks2"

struct HeaderPolicy {
  Profile profile = Profile::kConstellation;
  // Codes of refusals that the operator accepts by name (--accept header:CODE).
  std::set<std::string> accepted;

  bool operator==(const HeaderPolicy&) const = default;
};

// The refusals that can be accepted at all: "foreign-field", "foreign-token", "header-padding",
// "kdf-cost". Errors: kUsage "unknown-accept".
Status CheckAcceptable(std::string_view code);

// The allow-list. `device_size` in bytes. Gives what was found beyond the header's own findings,
// accepted refusals among it. Errors (kVolumeRefused) name the field and its value:
// "null-cipher-keyslot", "null-cipher-segment", "foreign-keyslot", "foreign-segment",
// "foreign-digest", "foreign-field", "foreign-token", "foreign-flag", "foreign-requirement",
// "kdf-cost", "header-bounds", "header-padding", "bad-uuid", "no-keyslots", "several-segments".
// A missing or uninitialised token is no refusal; see NodeObjections.
Result<std::vector<HeaderFinding>> CheckHeader(const Header& header, std::uint64_t device_size,
                                               const HeaderPolicy& policy = {});

// Constellation's token type, on token 0 of every initialised state disk.
inline constexpr std::string_view kStateTokenType = "constellation-state-disk";
bool HasStateToken(const Header& header);
// What token 0 says; the node asks nothing else (ConstellationStateDiskTokenIsInitialized).
bool IsInitialized(const Header& header);

// Why a Constellation node would format or refuse a disk with this header at its next boot; one
// line each, empty when it would take it. A port of disk-mapper's own conditions (v2.24.0:
// disk-mapper/cmd/main.go, internal/cryptsetup: IsInitialized, detachHeader with its strict JSON
// decoder, verifyLUKS2Header).
std::vector<std::string> NodeObjections(const Header& header);

// SHA-256 over what decides how data is decrypted: segments and digests of the JSON text in one
// canonical form, and the UUID. It stays the same when key slots or tokens change.
Sha256Digest SecurityDigest(const Header& header);

}  // namespace rescue::disk
