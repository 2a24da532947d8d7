#include "rescue/disk/table_check.h"

#include <fmt/format.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>

#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

constexpr std::uint64_t kSector = 512;
constexpr std::string_view kIntegrityCipher = "capi:authenc(hmac(sha256),xts(aes))-plain64";
constexpr std::string_view kTagSize = "32";  // HMAC-SHA256

// Parameters of the integrity target that say how fast it works, not what it means (Linux,
// Documentation/admin-guide/device-mapper/dm-integrity.rst).
constexpr std::array<std::string_view, 7> kHarmless = {
    "journal_sectors", "interleave_sectors", "buffer_sectors", "journal_watermark",
    "commit_time",     "fix_padding",        "fix_hmac"};

using Words = std::vector<std::string>;

Words Split(const std::string& text) {
  std::istringstream stream(text);
  Words words;
  for (std::string word; stream >> word;) words.push_back(word);
  return words;
}

std::string DeviceWord(dev_t device) {
  return fmt::format("{}:{}", ::major(device), ::minor(device));
}

tl::unexpected<Error> Mismatch(std::string_view what, std::string_view actual,
                               std::string_view expected) {
  return Fail(
      ErrorKind::kVolumeRefused, "table-mismatch",
      fmt::format("compare the kernel's mapping with the checked header: {} is \"{}\", "
                  "expected \"{}\"",
                  what, actual, expected),
      "the volume was closed again; report this with the versions of kernel and cryptsetup");
}

Status Compare(std::string_view what, std::string_view actual, std::string_view expected) {
  if (actual == expected) return {};
  return Mismatch(what, actual, expected);
}

Result<Words> OnlyLine(const Mapping& mapping, std::string_view target, std::size_t least) {
  if (mapping.read_only) return Mismatch(target, "read-only", "writable");
  if (mapping.lines.size() != 1 || mapping.lines[0].start != 0) {
    return Mismatch("number of targets", std::to_string(mapping.lines.size()), "1");
  }
  RETURN_IF_ERROR(Compare("target", mapping.lines[0].target, target));
  Words words = Split(mapping.lines[0].words);
  if (words.size() < least) return Mismatch(target, mapping.lines[0].words, "more words");
  return words;
}

// What follows the fixed words: a count and that many options; sorted.
Result<Words> Options(const Words& words, std::size_t from) {
  if (words.size() == from) return Words{};
  Words options(words.begin() + static_cast<std::ptrdiff_t>(from) + 1, words.end());
  RETURN_IF_ERROR(Compare("number of options", words[from], std::to_string(options.size())));
  std::sort(options.begin(), options.end());
  return options;
}

// "key:96", or ":96:logon:name" for a key in the keyring.
std::string_view KeySize(std::string_view word) {
  if (word.starts_with("key:")) return word.substr(4);
  if (word.starts_with(":")) return word.substr(1, word.find(':', 1) - 1);
  return {};
}

// The target's options that stand for the header's persistent flags (lib/libdevmapper.c,
// get_dm_crypt_params); CheckHeader let no others through.
Words OptionsOfFlags(const Header& header) {
  Words options;
  for (std::string flag : header.config_flags) {
    if (flag == "allow-discards" && !header.segments.at(0).integrity.empty()) continue;
    std::replace(flag.begin(), flag.end(), '-', '_');
    options.push_back(std::move(flag));
  }
  return options;
}

Status CheckCrypt(const Segment& segment, const Words& flags, std::uint64_t key_size, dev_t below,
                  std::uint64_t offset_sectors, const Mapping& mapping) {
  ASSIGN_OR_RETURN(const Words words, OnlyLine(mapping, "crypt", 5));
  const bool integrity = !segment.integrity.empty();
  RETURN_IF_ERROR(Compare("cipher", words[0], integrity ? kIntegrityCipher : segment.cipher));
  RETURN_IF_ERROR(Compare("key size", KeySize(words[1]), std::to_string(key_size)));
  RETURN_IF_ERROR(Compare("IV offset", words[2], "0"));
  RETURN_IF_ERROR(Compare("underlying device", words[3], DeviceWord(below)));
  RETURN_IF_ERROR(Compare("offset", words[4], std::to_string(offset_sectors)));
  ASSIGN_OR_RETURN(const Words options, Options(words, 5));
  Words expected = flags;
  // The kernel does not name its default.
  if (segment.sector_size != kSector) {
    expected.push_back(fmt::format("sector_size:{}", segment.sector_size));
  }
  if (integrity) expected.push_back(fmt::format("integrity:{}:aead", kTagSize));
  std::sort(expected.begin(), expected.end());
  return Compare("options", fmt::format("{}", fmt::join(options, " ")),
                 fmt::format("{}", fmt::join(expected, " ")));
}

Status CheckIntegrity(const Segment& segment, const ExpectedMapping& expected,
                      const Mapping& mapping) {
  ASSIGN_OR_RETURN(const Words words, OnlyLine(mapping, "integrity", 4));
  RETURN_IF_ERROR(Compare("integrity's device", words[0], DeviceWord(expected.data_device)));
  RETURN_IF_ERROR(
      Compare("integrity's offset", words[1], std::to_string(segment.offset / kSector)));
  RETURN_IF_ERROR(Compare("integrity's tag size", words[2], kTagSize));
  // J: journal. Without it a crash leaves sectors whose tags are wrong (facts: never bypass it).
  RETURN_IF_ERROR(Compare("integrity's mode", words[3], "J"));
  ASSIGN_OR_RETURN(const Words options, Options(words, 4));
  bool has_block_size = false;
  for (const std::string& option : options) {
    const std::string name = option.substr(0, option.find(':'));
    if (name == "block_size") {
      has_block_size = true;
      RETURN_IF_ERROR(Compare("integrity's block size", option,
                              fmt::format("block_size:{}", segment.sector_size)));
    } else if (std::find(kHarmless.begin(), kHarmless.end(), name) == kHarmless.end()) {
      return Mismatch("integrity's option", option, "none of that name");
    }
  }
  if (!has_block_size && segment.sector_size != kSector) {
    return Mismatch("integrity's block size", "512", std::to_string(segment.sector_size));
  }
  return {};
}

// A dynamic segment reaches to the end of the device; with integrity the tags take a part of it.
Status CheckLength(const Segment& segment, const ExpectedMapping& expected, const Mapping& crypt,
                   bool integrity) {
  const std::uint64_t length = crypt.lines[0].length;
  const std::uint64_t room =
      segment.size.value_or(expected.data_device_size - segment.offset) / kSector;
  if (integrity && length > 0 && length < room) return {};
  const std::uint64_t per_block = segment.sector_size / kSector;
  if (!integrity && length == room / per_block * per_block) return {};
  return Mismatch("length in sectors", std::to_string(length), std::to_string(room));
}

}  // namespace

Status CheckTables(const Header& header, const ExpectedMapping& expected, const Mapping& crypt,
                   const std::optional<Mapping>& integrity) {
  const Segment& segment = header.segments.at(0);
  const auto slots = UsableKeySlots(header);
  const std::uint64_t key_size = slots.empty() ? 0 : slots.front()->key_size;
  const Words flags = OptionsOfFlags(header);
  if (integrity.has_value() == segment.integrity.empty()) {
    return Mismatch("integrity", integrity ? "there" : "missing", integrity ? "none" : "there");
  }
  if (integrity) {
    RETURN_IF_ERROR(CheckIntegrity(segment, expected, *integrity));
    RETURN_IF_ERROR(CheckCrypt(segment, flags, key_size, integrity->device, 0, crypt));
  } else {
    RETURN_IF_ERROR(CheckCrypt(segment, flags, key_size, expected.data_device,
                               segment.offset / kSector, crypt));
  }
  return CheckLength(segment, expected, crypt, integrity.has_value());
}

}  // namespace rescue::disk
