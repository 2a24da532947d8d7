// The JSON half of the header: from text to values. Nothing is judged here except that the text
// means one thing only: no duplicate names (parsers differ on which one wins), no surprises in
// depth or type.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "rescue/disk/luks2.h"

namespace rescue::disk {
namespace {

using Json = nlohmann::json;

constexpr int kMaxDepth = 8;             // the deepest regular value lies 4 levels down
constexpr std::size_t kMaxObjects = 32;  // lib/luks2/luks2.h, LUKS2_KEYSLOTS_MAX, LUKS2_TOKENS_MAX

tl::unexpected<Error> BadJson(std::string what) {
  return Fail(ErrorKind::kVolumeRefused, "header-json",
              "read the header's JSON: " + std::move(what),
              "the LUKS2 metadata was damaged or edited: restore a header backup with cryptsetup "
              "luksHeaderRestore");
}

Result<Json> ParseStrictly(std::string_view text) {
  for (const char c : text) {
    if ((c < ' ' && c != '\n' && c != '\r' && c != '\t') || c > '~') {
      return BadJson("it has bytes that are not ASCII text");
    }
  }
  std::vector<std::set<std::string>> names;
  std::string trouble;
  const auto watch = [&](int depth, Json::parse_event_t event, Json& value) {
    if (depth > kMaxDepth) {
      trouble = "it is nested too deeply";
      return false;
    }
    if (event == Json::parse_event_t::object_start) names.emplace_back();
    if (event == Json::parse_event_t::object_end && !names.empty()) names.pop_back();
    if (event == Json::parse_event_t::key && !names.empty()) {
      const auto& name = value.get_ref<const std::string&>();
      if (!names.back().insert(name).second) {
        trouble = fmt::format("the name {} is there twice", Printable(name, 40));
      }
    }
    return true;
  };
  Json json = Json::parse(text, watch, /*allow_exceptions=*/false);
  if (!trouble.empty()) return BadJson(trouble);
  if (json.is_discarded() || !json.is_object()) return BadJson("it is not a JSON object");
  return json;
}

// Reads the members of one object; what nobody asked for is reported as foreign. The first failure
// sticks, so that a decoder can read all fields and check once.
class Members {
 public:
  Members(const Json& object, std::string path) : object_(object), path_(std::move(path)) {
    if (!object_.is_object()) Complain("is not an object");
  }

  bool Has(const char* name) const { return object_.is_object() && object_.contains(name); }

  const Json* Get(const char* name) {
    known_.insert(name);
    if (!object_.is_object()) return nullptr;
    const auto it = object_.find(name);
    if (it == object_.end()) {
      Complain(fmt::format("has no {}", name));
      return nullptr;
    }
    return &*it;
  }

  std::string Text(const char* name) {
    const Json* value = Get(name);
    if (value == nullptr) return {};
    if (value->is_string()) return value->get<std::string>();
    Complain(fmt::format("{} is not text", name));
    return {};
  }

  std::uint64_t Number(const char* name) {
    const Json* value = Get(name);
    if (value == nullptr) return 0;
    if (value->is_number_unsigned()) return value->get<std::uint64_t>();
    Complain(fmt::format("{} is not a number", name));
    return 0;
  }

  // LUKS2 writes 64-bit numbers as decimal text.
  std::uint64_t NumberInText(const char* name) {
    const std::string text = Text(name);
    if (const auto number = ParseDecimal(text)) return *number;
    Complain(fmt::format("{} is not a decimal number", name));
    return 0;
  }

  std::vector<std::string> Texts(const char* name) {
    std::vector<std::string> texts;
    const Json* value = Get(name);
    if (value == nullptr) return texts;
    if (!value->is_array()) {
      Complain(fmt::format("{} is not a list", name));
      return texts;
    }
    for (const Json& item : *value) {
      if (item.is_string()) {
        texts.push_back(item.get<std::string>());
      } else {
        Complain(fmt::format("{} has an item that is not text", name));
      }
    }
    return texts;
  }

  std::vector<int> Numbers(const char* name) {
    std::vector<int> numbers;
    for (const std::string& text : Texts(name)) {
      const auto number = ParseDecimal(text);
      if (number && *number < kMaxObjects) {
        numbers.push_back(static_cast<int>(*number));
      } else {
        Complain(fmt::format("{} has an item that is no object's number", name));
      }
    }
    return numbers;
  }

  void Ignore(const char* name) { known_.insert(name); }

  // To be called last.
  Status Finish(std::vector<std::string>& foreign) const {
    if (!trouble_.empty()) return BadJson(trouble_);
    for (const auto& [name, value] : object_.items()) {
      if (!known_.contains(name)) foreign.push_back(Printable(path_ + "." + name));
    }
    return {};
  }

  static std::optional<std::uint64_t> ParseDecimal(std::string_view text) {
    if (text.empty() || text.size() > 20 || (text.size() > 1 && text[0] == '0'))
      return std::nullopt;
    std::uint64_t number = 0;
    for (const char c : text) {
      if (c < '0' || c > '9') return std::nullopt;
      const auto digit = static_cast<std::uint64_t>(c - '0');
      if (number > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) return std::nullopt;
      number = number * 10 + digit;
    }
    return number;
  }

 private:
  void Complain(std::string_view what) {
    if (trouble_.empty()) trouble_ = fmt::format("{} {}", Printable(path_), what);
  }

  const Json& object_;
  std::string path_;
  std::set<std::string> known_;
  std::string trouble_;
};

// Calls `decode` for every numbered object of the named section, in order of the numbers.
template <typename Decode>
Status ForEachNumbered(Members& root, const char* section, Decode decode) {
  const Json* objects = root.Get(section);
  if (objects == nullptr) return {};  // the root complains
  if (!objects->is_object()) return BadJson(fmt::format("{} is not an object", section));
  std::map<std::uint64_t, const Json*> ordered;
  for (const auto& [name, value] : objects->items()) {
    const auto number = Members::ParseDecimal(name);
    if (!number || *number >= kMaxObjects) {
      return BadJson(fmt::format("{} has an entry named {}", section, Printable(name, 40)));
    }
    ordered[*number] = &value;
  }
  for (const auto& [number, value] : ordered) {
    RETURN_IF_ERROR(
        decode(static_cast<int>(number), *value, fmt::format("{}.{}", section, number)));
  }
  return {};
}

Status DecodeDerivation(const Json& json, const std::string& path, KeyDerivation& derivation,
                        std::vector<std::string>& foreign) {
  Members members(json, path);
  derivation.type = members.Text("type");
  if (derivation.type == "pbkdf2") {
    derivation.hash = members.Text("hash");
    derivation.iterations = members.Number("iterations");
    derivation.salt = members.Text("salt");
    return members.Finish(foreign);
  }
  // Other functions have other parameters; the allow-list refuses them by their name.
  if (derivation.type != "argon2id" && derivation.type != "argon2i") return {};
  derivation.iterations = members.Number("time");
  derivation.memory_kib = members.Number("memory");
  derivation.threads = members.Number("cpus");
  derivation.salt = members.Text("salt");
  return members.Finish(foreign);
}

Status DecodeKeySlot(int number, const Json& json, const std::string& path, Header& header) {
  Members members(json, path);
  KeySlot slot;
  slot.number = number;
  slot.type = members.Text("type");
  if (slot.type != "luks2") {
    header.key_slots.push_back(std::move(slot));
    return {};
  }
  slot.key_size = members.Number("key_size");
  if (members.Has("priority")) {
    slot.priority = members.Number("priority");
    // Known to us, but not to the node's decoder.
    header.foreign_fields.push_back(path + ".priority");
  }
  if (const Json* af = members.Get("af")) {
    Members splitter(*af, path + ".af");
    slot.splitter = splitter.Text("type");
    slot.stripes = splitter.Number("stripes");
    slot.splitter_hash = splitter.Text("hash");
    RETURN_IF_ERROR(splitter.Finish(header.foreign_fields));
  }
  if (const Json* area_json = members.Get("area")) {
    Members area(*area_json, path + ".area");
    slot.area_type = area.Text("type");
    slot.area_offset = area.NumberInText("offset");
    slot.area_size = area.NumberInText("size");
    slot.area_cipher = area.Text("encryption");
    slot.area_key_size = area.Number("key_size");
    RETURN_IF_ERROR(area.Finish(header.foreign_fields));
  }
  if (const Json* kdf = members.Get("kdf")) {
    RETURN_IF_ERROR(DecodeDerivation(*kdf, path + ".kdf", slot.derivation, header.foreign_fields));
  }
  RETURN_IF_ERROR(members.Finish(header.foreign_fields));
  header.key_slots.push_back(std::move(slot));
  return {};
}

Status DecodeSegment(int number, const Json& json, const std::string& path, Header& header) {
  Members members(json, path);
  Segment segment;
  segment.number = number;
  segment.type = members.Text("type");
  if (segment.type != "crypt") {
    header.segments.push_back(std::move(segment));
    return {};
  }
  segment.offset = members.NumberInText("offset");
  if (members.Text("size") != "dynamic") segment.size = members.NumberInText("size");
  segment.iv_tweak = members.Text("iv_tweak");
  segment.cipher = members.Text("encryption");
  segment.sector_size = members.Number("sector_size");
  if (members.Has("flags")) segment.flags = members.Texts("flags");
  if (members.Has("integrity")) {
    Members integrity(*members.Get("integrity"), path + ".integrity");
    segment.integrity = integrity.Text("type");
    segment.journal_encryption = integrity.Text("journal_encryption");
    segment.journal_integrity = integrity.Text("journal_integrity");
    RETURN_IF_ERROR(integrity.Finish(header.foreign_fields));
  }
  RETURN_IF_ERROR(members.Finish(header.foreign_fields));
  header.segments.push_back(std::move(segment));
  return {};
}

Status DecodeDigest(int number, const Json& json, const std::string& path, Header& header) {
  Members members(json, path);
  Digest digest;
  digest.number = number;
  digest.type = members.Text("type");
  digest.key_slots = members.Numbers("keyslots");
  digest.segments = members.Numbers("segments");
  if (digest.type == "pbkdf2") {
    digest.hash = members.Text("hash");
    digest.iterations = members.Number("iterations");
    digest.salt = members.Text("salt");
    digest.digest = members.Text("digest");
    RETURN_IF_ERROR(members.Finish(header.foreign_fields));
  }
  header.digests.push_back(std::move(digest));
  return {};
}

bool IsSameIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
    return std::tolower(static_cast<unsigned char>(x)) ==
           std::tolower(static_cast<unsigned char>(y));
  });
}

// Tokens are free-form; nothing here steers the kernel.
Status DecodeToken(int number, const Json& json, const std::string& path, Header& header) {
  Members members(json, path);
  Token token;
  token.number = number;
  token.type = members.Text("type");
  token.key_slots = members.Numbers("keyslots");
  std::vector<std::string> ignored;
  RETURN_IF_ERROR(members.Finish(ignored));
  // Go's decoder takes any case, and the last of several wins: only an undisputed "true" counts.
  for (const auto& [name, value] : json.items()) {
    if (!IsSameIgnoringCase(name, "diskIsInitialized") || !value.is_boolean()) continue;
    token.initialized = token.initialized.value_or(true) && value.get<bool>();
  }
  header.tokens.push_back(std::move(token));
  return {};
}

Status DecodeConfig(const Json& json, Header& header) {
  Members members(json, "config");
  const std::uint64_t json_size = members.NumberInText("json_size");
  header.key_slots_size = members.NumberInText("keyslots_size");
  if (members.Has("flags")) header.config_flags = members.Texts("flags");
  if (members.Has("requirements")) {
    // A list in early versions, {"mandatory": [...]} since.
    const Json& requirements = *members.Get("requirements");
    Members inner(requirements, "config.requirements");
    header.requirements = requirements.is_object() && requirements.contains("mandatory")
                              ? inner.Texts("mandatory")
                              : members.Texts("requirements");
  }
  RETURN_IF_ERROR(members.Finish(header.foreign_fields));
  if (json_size != header.metadata_size - kBinaryHeaderSize) {
    return BadJson(fmt::format("config.json_size is {}, but the copy has room for {}", json_size,
                               header.metadata_size - kBinaryHeaderSize));
  }
  return {};
}

}  // namespace

Status DecodeMetadata(std::string_view text, Header& header) {
  ASSIGN_OR_RETURN(const Json json, ParseStrictly(text));
  Members root(json, "the header");
  const auto with = [&header](auto decode) {
    return [&header, decode](int number, const Json& object, const std::string& path) {
      return decode(number, object, path, header);
    };
  };
  RETURN_IF_ERROR(ForEachNumbered(root, "keyslots", with(DecodeKeySlot)));
  RETURN_IF_ERROR(ForEachNumbered(root, "tokens", with(DecodeToken)));
  RETURN_IF_ERROR(ForEachNumbered(root, "segments", with(DecodeSegment)));
  RETURN_IF_ERROR(ForEachNumbered(root, "digests", with(DecodeDigest)));
  if (const Json* config = root.Get("config")) RETURN_IF_ERROR(DecodeConfig(*config, header));
  return root.Finish(header.foreign_fields);
}

namespace {

void CollectDifferences(const Json& a, const Json& b, const std::string& path, std::size_t limit,
                        std::vector<std::string>& found) {
  if (found.size() >= limit || a == b) return;
  if (!a.is_object() || !b.is_object()) {
    found.push_back(path.empty() ? "everything" : path);
    return;
  }
  Json both = a;
  both.update(b);
  for (const auto& [name, value] : both.items()) {
    const std::string below = path.empty() ? name : fmt::format("{}.{}", path, name);
    CollectDifferences(a.value(name, Json()), b.value(name, Json()), below, limit, found);
  }
}

}  // namespace

std::vector<std::string> DifferingFields(std::string_view a, std::string_view b,
                                         std::size_t limit) {
  const auto first = ParseStrictly(a);
  const auto second = ParseStrictly(b);
  if (!first || !second) return {"one of them is not the JSON of a header"};
  std::vector<std::string> found;
  CollectDifferences(*first, *second, "", limit, found);
  return found;
}

Sha256Digest SecurityDigest(const Header& header) {
  const Json json = Json::parse(header.json, nullptr, /*allow_exceptions=*/false);
  Json chosen = {{"uuid", header.uuid}};
  for (const char* section : {"segments", "digests"}) {
    // In one digest lie salt and iterations of the volume key's proof, and the numbers of the key
    // slots, which may change.
    Json part = json.is_object() ? json.value(section, Json::object()) : Json::object();
    for (auto& [number, object] : part.items()) {
      if (object.is_object()) object.erase("keyslots");
    }
    chosen[section] = std::move(part);
  }
  // Objects are sorted by name, and the parser let only ASCII through.
  return Sha256(AsBytes(chosen.dump()));
}

}  // namespace rescue::disk
