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
#include <string>
#include <vector>

#include "rescue/base/bytes.h"
#include "rescue/base/checksum.h"
#include "rescue/base/result.h"

namespace rescue::disk {

struct KeyDerivation {
  std::string type;              // "argon2id"
  std::uint64_t iterations = 0;  // passes
  std::uint64_t memory_kib = 0;
  std::uint64_t threads = 0;
  std::string salt;  // base64

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
  // diskIsInitialized of a constellation-state-disk token; nothing when it is missing or no
  // boolean.
  std::optional<bool> initialized;

  bool operator==(const Token&) const = default;
};

// How one of the two copies looked when it was read.
enum class CopyState { kValid, kDamaged };

struct Header {
  std::string uuid;
  std::string label;
  std::string subsystem;
  std::uint64_t sequence = 0;       // "epoch": grows with every change of the header
  std::uint64_t metadata_size = 0;  // bytes of one copy, binary header and JSON
  std::uint64_t key_slots_size = 0;
  CopyState primary = CopyState::kValid;
  CopyState secondary = CopyState::kValid;
  bool uses_secondary = false;
  std::vector<KeySlot> key_slots;
  std::vector<Segment> segments;
  std::vector<Digest> digests;
  std::vector<Token> tokens;
  std::vector<std::string> requirements;    // config.requirements.mandatory
  std::vector<std::string> config_flags;    // persistent activation flags
  std::vector<std::string> foreign_fields;  // what neither we nor the node's strict decoder know

  // What the operator must hear; none of it prevents opening.
  std::vector<std::string> warnings;
  // False: the node's disk-mapper would treat this disk as new and format it, or refuse it
  // (Constellation: disk-mapper/cmd/main.go, internal/cryptsetup/cryptsetup_cgo.go); the reason
  // says which.
  bool boot_safe = false;
  std::string boot_unsafe_reason;

  // The device's first bytes as they were read: both copies and all key slots; and their SHA-256.
  Bytes area;
  Sha256Digest area_digest{};
  // The JSON text that was chosen, without padding.
  std::string json;
};

// Reads and decodes; what it says is not yet judged. Errors (kVolumeRefused): "luks1", "not-luks",
// "header-truncated", "header-damaged" (neither copy is whole), "header-json". One bad copy is a
// warning.
Result<Header> ReadHeader(const std::string& device);

// The same from the first bytes of a device: `area` may be shorter than the
// whole header area as long as the metadata of one copy is in it.
Result<Header> ParseHeader(ByteView area);

// The allow-list. `device_size` in bytes. Errors (kVolumeRefused) name the field and its value:
// "null-cipher-keyslot", "null-cipher-segment", "foreign-keyslot", "foreign-segment",
// "foreign-digest", "foreign-field", "foreign-requirement", "kdf-cost", "header-bounds",
// "no-keyslots", "several-segments". A missing or uninitialised token is a warning, not a refusal.
Status CheckHeader(const Header& header, std::uint64_t device_size);

}  // namespace rescue::disk
