// A line of the machine as JSON-RPC hears it: what is read does not depend on the pieces in which
// it came; no answer is more than one record, or quotes a secret; a call that is sent again reads
// the same.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "rescue/rpc/message.h"
#include "rescue/rpc/record.h"
#include "tests/fuzz/fuzz.h"

namespace rescue::rpc {
namespace {

struct Heard {
  std::vector<std::string> texts;
  std::size_t too_long = 0;
  bool operator==(const Heard&) const = default;
};

Heard Hear(ByteView stream, std::size_t piece) {
  Heard heard;
  RecordReader reader;
  while (!stream.empty()) {
    const ByteView part = stream.first(std::min(piece, stream.size()));
    reader.Feed(part, [&](Record record) {
      heard.too_long += record.too_long ? 1 : 0;
      heard.texts.emplace_back(AsText(std::as_const(record.text).Reveal()));
    });
    stream = stream.subspan(part.size());
  }
  return heard;
}

// RS, ASCII without control characters, LF.
void CheckRecord(const std::string& record) {
  PROMISE(record.size() >= 2 && record.front() == '\x1e' && record.back() == '\n');
  for (const char c : std::string_view(record).substr(1, record.size() - 2)) {
    PROMISE(c >= ' ' && c < 0x7f);
  }
}

tl::expected<Call, BadCall> Read(std::string_view text) {
  return ReadCall(Record{SecretBytes::CopyOf(AsBytes(text)), false});
}

void CheckCall(std::string_view text) {
  const auto call = Read(text);
  if (!call) {
    PROMISE(call.error().error.error.kind == ErrorKind::kUsage);
    return CheckRecord(ErrorRecord(call.error().id, call.error().error));
  }
  CheckRecord(ResultRecord(call->id, call->params));
  PROMISE(call->params.is_object());
  if (call->secret) {
    PROMISE(call->params["secret"].is_number());
    return;
  }
  nlohmann::json message = {{"jsonrpc", "2.0"}, {"method", call->method}, {"params", call->params}};
  if (!call->is_notification) message["id"] = call->id;
  const std::string sent = message.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  // A field that was called so with escapes is one now, and would be taken out.
  if (sent.find("\"secret\"") != std::string::npos) return;
  const auto again = Read(sent);
  PROMISE(again.has_value() && again->id == call->id && again->method == call->method &&
          again->params == call->params && again->is_notification == call->is_notification);
}

void Check(ByteView input) {
  const Heard heard = Hear(input, input.size() + 1);
  PROMISE(heard == Hear(input, 1));
  PROMISE(heard == Hear(input, 7));
  for (const auto& text : heard.texts) CheckCall(text);
  // The input as one record, so that its JSON is looked at without luck in the framing.
  CheckCall(AsText(input));
}

}  // namespace
}  // namespace rescue::rpc

int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  rescue::rpc::Check(rescue::fuzz::Input(data, size));
  return 0;
}
