// The JSON inside a journal. Decoding functions throw Malformed or what the JSON library throws;
// nothing leaves DecodePlan and DecodeAfter.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "rescue/edit/journal.h"
#include "rescue/edit/names.h"

namespace rescue::edit {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxPath = 4096;  // PATH_MAX
constexpr int kMaxDepth = 8;            // of the JSON; its deepest part has 6
constexpr std::uint64_t kMaxFileSize = std::uint64_t{1} << 62;
constexpr std::string_view kEncoded = "base64:";

struct Malformed {
  std::string reason;
};

void Require(bool condition, std::string_view reason) {
  if (!condition) throw Malformed{std::string(reason)};
}

// Names on a disk are any bytes, JSON is UTF-8: what is not printable ASCII goes as base64.
std::string EncodeText(std::string_view text) {
  const bool plain =
      !text.starts_with(kEncoded) &&
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7f; });
  return plain ? std::string(text) : std::string(kEncoded) + ToBase64(AsBytes(text));
}

std::string DecodeText(const json& value) {
  std::string text = value.get<std::string>();
  if (!text.starts_with(kEncoded)) return text;
  const auto bytes = ParseBase64(std::string_view(text).substr(kEncoded.size()));
  Require(bytes.has_value(), "bad base64");
  return std::string(AsText(*bytes));
}

std::string DecodePath(const json& value) {
  std::string path = DecodeText(value);
  Require(path.size() <= kMaxPath && IsCleanPath(path), "unclean path");
  return path;
}

std::string DecodeEntryPath(const json& value) {
  std::string path = DecodePath(value);
  Require(!path.empty(), "the root cannot be edited");
  return path;
}

Bytes DecodeBytes(const json& value) {
  auto bytes = ParseBase64(value.get_ref<const std::string&>());
  Require(bytes.has_value(), "bad base64");
  return *std::move(bytes);
}

std::uint64_t Unsigned(const json& object, const char* key, std::uint64_t limit) {
  const json& value = object.at(key);
  Require(value.is_number_unsigned() && value.get<std::uint64_t>() <= limit, "bad number");
  return value.get<std::uint64_t>();
}

TimeNs Time(const json& object, const char* key) {
  const json& value = object.at(key);
  Require(value.is_number_integer() &&
              (!value.is_number_unsigned() || value.get<std::uint64_t>() <= std::uint64_t{1} << 62),
          "bad time");
  return value.get<TimeNs>();
}

json ToJson(const Attributes& attributes) {
  json xattrs = json::array();
  for (const auto& [name, value] : attributes.xattrs) {
    xattrs.push_back({EncodeText(name), ToBase64(value)});
  }
  return {{"mode", attributes.mode},
          {"uid", attributes.uid},
          {"gid", attributes.gid},
          {"xattrs", std::move(xattrs)}};
}

Attributes AttributesFrom(const json& value) {
  constexpr std::uint64_t kMaxId = 0xffffffff;
  Attributes attributes;
  attributes.mode = static_cast<std::uint32_t>(Unsigned(value, "mode", 07777));
  attributes.uid = static_cast<std::uint32_t>(Unsigned(value, "uid", kMaxId));
  attributes.gid = static_cast<std::uint32_t>(Unsigned(value, "gid", kMaxId));
  for (const json& pair : value.at("xattrs")) {
    attributes.xattrs[DecodeText(pair.at(0))] = DecodeBytes(pair.at(1));
  }
  return attributes;
}

struct EditEncoder {
  json operator()(const WriteRange& e) const {
    return {{"op", "write"},
            {"path", EncodeText(e.path)},
            {"offset", e.offset},
            {"bytes", ToBase64(e.bytes)}};
  }
  json operator()(const Truncate& e) const {
    return {{"op", "truncate"}, {"path", EncodeText(e.path)}, {"size", e.size}};
  }
  json operator()(const CreateFile& e) const {
    return {{"op", "create"},
            {"path", EncodeText(e.path)},
            {"bytes", ToBase64(e.content)},
            {"attributes", ToJson(e.attributes)}};
  }
  json operator()(const MakeDirectory& e) const {
    return {{"op", "make-directory"},
            {"path", EncodeText(e.path)},
            {"attributes", ToJson(e.attributes)}};
  }
  json operator()(const BuildDirectory& e) const {
    return {{"op", "build"},
            {"path", EncodeText(e.path)},
            {"recipe", EncodeText(e.recipe)},
            {"size", e.bytes},
            {"attributes", ToJson(e.attributes)}};
  }
  json operator()(const Exchange& e) const {
    return {{"op", "exchange"},
            {"from", EncodeText(e.first)},
            {"to", EncodeText(e.second)},
            {"marker", EncodeText(e.marker)}};
  }
  json operator()(const Rename& e) const {
    return {{"op", "rename"}, {"from", EncodeText(e.from)}, {"to", EncodeText(e.to)}};
  }
  json operator()(const Remove& e) const {
    return {{"op", "remove"}, {"path", EncodeText(e.path)}};
  }
  json operator()(const SetAttributes& e) const {
    return {{"op", "set-attributes"},
            {"path", EncodeText(e.path)},
            {"attributes", ToJson(e.attributes)}};
  }
};

Edit EditFrom(const json& value) {
  const std::string op = value.at("op").get<std::string>();
  if (op == "rename") {
    return Rename{DecodeEntryPath(value.at("from")), DecodeEntryPath(value.at("to"))};
  }
  if (op == "exchange") {
    return Exchange{DecodeEntryPath(value.at("from")), DecodeEntryPath(value.at("to")),
                    DecodeEntryPath(value.at("marker"))};
  }
  std::string path = DecodeEntryPath(value.at("path"));
  if (op == "build") {
    return BuildDirectory{std::move(path), DecodeText(value.at("recipe")),
                          Unsigned(value, "size", kMaxFileSize),
                          AttributesFrom(value.at("attributes"))};
  }
  if (op == "write") {
    WriteRange write{std::move(path), Unsigned(value, "offset", kMaxFileSize),
                     DecodeBytes(value.at("bytes"))};
    return write;
  }
  if (op == "truncate") return Truncate{std::move(path), Unsigned(value, "size", kMaxFileSize)};
  if (op == "create") {
    return CreateFile{std::move(path), DecodeBytes(value.at("bytes")),
                      AttributesFrom(value.at("attributes"))};
  }
  if (op == "make-directory") {
    return MakeDirectory{std::move(path), AttributesFrom(value.at("attributes"))};
  }
  if (op == "remove") return Remove{std::move(path)};
  Require(op == "set-attributes", "unknown edit");
  return SetAttributes{std::move(path), AttributesFrom(value.at("attributes"))};
}

json ToJson(const std::vector<Range>& ranges) {
  json list = json::array();
  for (const Range& range : ranges) list.push_back({range.offset, range.length});
  return list;
}

std::vector<Range> RangesFrom(const json& value, std::uint64_t size) {
  std::vector<Range> ranges;
  std::uint64_t free_from = 0;
  for (const json& pair : value) {
    Require(pair.at(0).is_number_unsigned() && pair.at(1).is_number_unsigned(), "bad range");
    const Range range{pair.at(0).get<std::uint64_t>(), pair.at(1).get<std::uint64_t>()};
    Require(range.length > 0 && range.offset >= free_from && range.offset < size &&
                range.length <= size - range.offset,
            "range outside its file");
    free_from = range.offset + range.length;
    ranges.push_back(range);
  }
  return ranges;
}

json ToJson(const Former& former) {
  const FileStatus& status = former.status;
  return {{"path", EncodeText(former.path)},
          {"directory", status.type == FileType::kDirectory},
          {"size", status.size},
          {"attributes", ToJson(status.attributes)},
          {"modified", status.modified},
          {"min-size", former.min_size},
          {"max-size", former.max_size},
          {"saved", ToJson(former.saved)}};
}

Former FormerFrom(const json& value) {
  Former former;
  former.path = DecodePath(value.at("path"));
  const bool directory = value.at("directory").get<bool>();
  former.status.type = directory ? FileType::kDirectory : FileType::kRegular;
  former.status.size = Unsigned(value, "size", directory ? 0 : kMaxFileSize);
  former.status.attributes = AttributesFrom(value.at("attributes"));
  former.status.modified = Time(value, "modified");
  former.min_size = Unsigned(value, "min-size", former.status.size);
  former.max_size = Unsigned(value, "max-size", directory ? 0 : kMaxFileSize);
  Require(former.max_size >= former.status.size, "sizes do not enclose the former size");
  former.saved = RangesFrom(value.at("saved"), former.status.size);
  return former;
}

void CheckTables(const JournalPlan& plan) {
  Require(plan.paths == NamedPaths(plan.edits), "named paths do not belong to the edits");
  Require(plan.steps.size() == NameEdits(plan.edits).size() + 1, "steps do not match the edits");
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    Require(plan.steps[i].size() == plan.paths.size() &&
                plan.steps[i].find_first_not_of("-fd") == std::string::npos,
            "bad step");
    Require(i == 0 || plan.steps[i] != plan.steps[i - 1], "a step without change");
  }
  for (std::size_t i = 1; i < plan.former.size(); ++i) {
    Require(plan.former[i - 1].path < plan.former[i].path, "former states are not in order");
  }
}

json Parse(std::string_view text) {
  bool too_deep = false;
  json value = json::parse(
      text.begin(), text.end(),
      [&too_deep](int depth, json::parse_event_t, json&) {
        if (depth > kMaxDepth) too_deep = true;
        return !too_deep;
      },
      /*allow_exceptions=*/true);
  Require(!too_deep, "nested too deeply");
  return value;
}

// Runs a decoder and turns whatever it throws into an error value.
template <typename Decoder>
auto Guarded(std::string_view what, Decoder decode) -> Result<decltype(decode())> {
  std::string reason;
  try {
    return decode();
  } catch (const Malformed& malformed) {
    reason = malformed.reason;
  } catch (const json::exception& exception) {
    reason = Printable(std::string_view(exception.what()));
  }
  return Fail(ErrorKind::kUnfinishedJournal, "journal-damaged",
              fmt::format("read the journal's {}: {}", what, reason));
}

}  // namespace

std::string EncodePlan(const JournalPlan& plan) {
  json value;
  value["fingerprint"] = plan.fingerprint;
  value["note"] = EncodeText(plan.note);
  value["edits"] = json::array();
  for (const Edit& edit : plan.edits) value["edits"].push_back(std::visit(EditEncoder{}, edit));
  value["paths"] = json::array();
  for (const std::string& path : plan.paths) value["paths"].push_back(EncodeText(path));
  value["steps"] = plan.steps;
  value["former"] = json::array();
  for (const Former& former : plan.former) value["former"].push_back(ToJson(former));
  return value.dump();
}

Result<JournalPlan> DecodePlan(std::string_view text) {
  return Guarded("plan", [&] {
    const json value = Parse(text);
    JournalPlan plan;
    plan.fingerprint = value.at("fingerprint").get<std::string>();
    plan.note = DecodeText(value.at("note"));
    for (const json& edit : value.at("edits")) plan.edits.push_back(EditFrom(edit));
    for (const json& path : value.at("paths")) plan.paths.push_back(DecodeEntryPath(path));
    for (const json& step : value.at("steps")) plan.steps.push_back(step.get<std::string>());
    for (const json& former : value.at("former")) plan.former.push_back(FormerFrom(former));
    Require(plan.fingerprint == Fingerprint(plan.edits), "the edits do not have their fingerprint");
    CheckTables(plan);
    return plan;
  });
}

std::string EncodeAfter(const std::vector<After>& after) {
  json files = json::array();
  for (const After& file : after) {
    files.push_back({{"path", EncodeText(file.path)},
                     {"size", file.size},
                     {"modified", file.modified},
                     {"written", ToJson(file.written)},
                     {"sha256", ToHex(file.digest)}});
  }
  return json{{"after", std::move(files)}}.dump();
}

Result<std::vector<After>> DecodeAfter(std::string_view text) {
  return Guarded("last record", [&] {
    const json value = Parse(text);
    std::vector<After> list;
    for (const json& entry : value.at("after")) {
      After file;
      file.path = DecodeEntryPath(entry.at("path"));
      file.size = Unsigned(entry, "size", kMaxFileSize);
      file.modified = Time(entry, "modified");
      file.written = RangesFrom(entry.at("written"), file.size);
      const auto digest = ParseHex(entry.at("sha256").get<std::string>());
      Require(digest && digest->size() == file.digest.size(), "bad digest");
      std::copy(digest->begin(), digest->end(), file.digest.begin());
      list.push_back(std::move(file));
    }
    return list;
  });
}

}  // namespace rescue::edit
