// A member as JSON, in the four forms that etcd writes it in.
//
// Promise: what a parser accepts, its writer writes so that it parses to the same.
#include "rescue/raftlog/member.h"
#include "tests/fuzz/fuzz.h"

using namespace rescue;  // NOLINT(google-build-using-namespace): the hooks are global

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view json = AsText(fuzz::Input(data, size));
  const auto member = raftlog::ParseMemberJson(json);
  const auto context = raftlog::ParseMemberContext(json);
  const auto raft = raftlog::ParseRaftAttributes(json);
  const auto attributes = raftlog::ParseMemberAttributes(json);
  PROMISE(member.has_value() == context.has_value());
  PROMISE(member.has_value() == raft.has_value());
  PROMISE(member.has_value() == attributes.has_value());
  if (!member) {
    PROMISE(member.error().code == "member-json-malformed");
    PROMISE(member.error().message.find('\n') == std::string::npos);
    return 0;
  }
  PROMISE(raftlog::ParseMemberJson(raftlog::WriteMemberJson(*member)) == *member);
  const std::string written = raftlog::WriteMemberContext(context->member, context->is_promote);
  PROMISE(raftlog::ParseMemberContext(written) == *context);
  PROMISE(raftlog::ParseRaftAttributes(raftlog::WriteRaftAttributes(*raft)) == *raft);
  PROMISE(raftlog::ParseMemberAttributes(raftlog::WriteMemberAttributes(*attributes)) ==
          *attributes);
  PROMISE(raftlog::ParseMemberId(raftlog::FormatMemberId(member->id)) == member->id);
  return 0;
}
