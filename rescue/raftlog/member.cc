#include "rescue/raftlog/member.h"

#include <fmt/format.h>

#include <charconv>

#include "rescue/raftlog/json.h"

namespace rescue::raftlog {
namespace {

constexpr std::size_t kMaxJsonBytes = std::size_t{1} << 20;
constexpr std::size_t kMaxUrls = 1024;
constexpr std::size_t kMaxDepth = 16;

tl::unexpected<Error> Malformed(std::string_view json) {
  return Fail(
      ErrorKind::kDataDamaged, "member-json-malformed",
      fmt::format("decode member: not a member as JSON: {}", Printable(json.substr(0, 80), 80)));
}

bool IsNull(const JsonScalar& value) { return std::holds_alternative<std::nullptr_t>(value); }

// Like Go's decoder: null leaves the field as it is, another type is an error.
template <typename Stored, typename T>
bool Assign(const JsonScalar& value, T& into) {
  if (IsNull(value)) return true;
  const auto* stored = std::get_if<Stored>(&value);
  if (stored == nullptr) return false;
  into = *stored;
  return true;
}

bool AssignUrl(JsonPath path, const JsonScalar& value, std::vector<std::string>& urls) {
  if (path.size() == 1) return IsNull(value);
  const auto* url = std::get_if<std::string_view>(&value);
  if (path.size() != 2 || path[1] != "[]" || url == nullptr || urls.size() >= kMaxUrls) {
    return false;
  }
  urls.emplace_back(*url);
  return true;
}

bool AssignField(JsonPath path, const JsonScalar& value, MemberContext& context) {
  Member& member = context.member;
  const std::string& key = path[0];
  if (key == "peerURLs") return AssignUrl(path, value, member.peer_urls);
  if (key == "clientURLs") return AssignUrl(path, value, member.client_urls);
  const bool plain = path.size() == 1;
  if (key == "id") return plain && Assign<std::uint64_t>(value, member.id);
  if (key == "name") return plain && Assign<std::string_view>(value, member.name);
  if (key == "isLearner") return plain && Assign<bool>(value, member.is_learner);
  if (key == "isPromote") return plain && Assign<bool>(value, context.is_promote);
  return true;
}

std::string WriteUrls(const std::vector<std::string>& urls) {
  std::string list;
  for (const std::string& url : urls) {
    if (!list.empty()) list += ',';
    list += QuoteJson(url);
  }
  return urls.empty() ? "null" : '[' + list + ']';
}

std::string RaftAttributeFields(const std::vector<std::string>& peer_urls, bool is_learner) {
  return "\"peerURLs\":" + WriteUrls(peer_urls) + (is_learner ? ",\"isLearner\":true" : "");
}

// With a comma in front of each.
std::string OptionalFields(const std::string& name, const std::vector<std::string>& client_urls) {
  std::string fields;
  if (!name.empty()) fields += ",\"name\":" + QuoteJson(name);
  if (!client_urls.empty()) fields += ",\"clientURLs\":" + WriteUrls(client_urls);
  return fields;
}

std::string MemberFields(const Member& member) {
  return fmt::format("\"id\":{},", member.id) +
         RaftAttributeFields(member.peer_urls, member.is_learner) +
         OptionalFields(member.name, member.client_urls);
}

}  // namespace

Result<MemberContext> ParseMemberContext(std::string_view json) {
  MemberContext context;
  const bool valid = json.size() <= kMaxJsonBytes &&
                     WalkJson(json, kMaxDepth, [&](JsonPath path, const JsonScalar& value) {
                       return AssignField(path, value, context);
                     });
  if (!valid) return Malformed(json);
  return context;
}

Result<Member> ParseMemberJson(std::string_view json) {
  ASSIGN_OR_RETURN(MemberContext context, ParseMemberContext(json));
  return std::move(context.member);
}

Result<RaftAttributes> ParseRaftAttributes(std::string_view json) {
  ASSIGN_OR_RETURN(MemberContext context, ParseMemberContext(json));
  return RaftAttributes{std::move(context.member.peer_urls), context.member.is_learner};
}

Result<MemberAttributes> ParseMemberAttributes(std::string_view json) {
  ASSIGN_OR_RETURN(MemberContext context, ParseMemberContext(json));
  return MemberAttributes{std::move(context.member.name), std::move(context.member.client_urls)};
}

std::string WriteMemberJson(const Member& member) { return '{' + MemberFields(member) + '}'; }

std::string WriteMemberContext(const Member& member, bool is_promote) {
  return '{' + MemberFields(member) + ",\"isPromote\":" + (is_promote ? "true}" : "false}");
}

std::string WriteRaftAttributes(const RaftAttributes& attributes) {
  return '{' + RaftAttributeFields(attributes.peer_urls, attributes.is_learner) + '}';
}

std::string WriteMemberAttributes(const MemberAttributes& attributes) {
  const std::string fields = OptionalFields(attributes.name, attributes.client_urls);
  return '{' + (fields.empty() ? fields : fields.substr(1)) + '}';
}

std::string FormatMemberId(std::uint64_t id) { return fmt::format("{:x}", id); }

std::optional<std::uint64_t> ParseMemberId(std::string_view text) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id, 16);
  // One spelling only, so that two names never mean the same member.
  if (error != std::errc() || FormatMemberId(id) != text) return std::nullopt;
  return id;
}

}  // namespace rescue::raftlog
