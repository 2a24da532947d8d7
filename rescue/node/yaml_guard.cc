#include "rescue/node/yaml_guard.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <cstddef>
#include <exception>
#include <sstream>

#include "rescue/base/bytes.h"

namespace rescue::node {
namespace {

constexpr int kMaxDepth = 32;              // a pod manifest has about 12
constexpr std::size_t kMaxNodes = 20'000;  // etcd's has about 200

struct Refused {
  const char* reason;
};

class Guard final : public YAML::EventHandler {
 public:
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t anchor) override { Node(anchor); }
  void OnAlias(const YAML::Mark&, YAML::anchor_t) override { throw Refused{"it uses an alias"}; }
  void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t anchor,
                const std::string&) override {
    Node(anchor);
  }
  void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    Open(anchor);
  }
  void OnSequenceEnd() override { --depth_; }
  void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    Open(anchor);
  }
  void OnMapEnd() override { --depth_; }

 private:
  void Node(YAML::anchor_t anchor) {
    if (anchor != 0) throw Refused{"it uses an anchor"};
    if (++nodes_ > kMaxNodes) throw Refused{"it has too many values"};
  }
  void Open(YAML::anchor_t anchor) {
    Node(anchor);
    if (++depth_ > kMaxDepth) throw Refused{"it nests too deeply"};
  }

  int depth_ = 0;
  std::size_t nodes_ = 0;
};

}  // namespace

std::string YamlProblem(std::string_view text) {
  try {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    Guard guard;
    if (!parser.HandleNextDocument(guard)) return "it is empty";
    if (parser.HandleNextDocument(guard)) return "it has more than one document";
    return {};
  } catch (const Refused& refused) {
    return refused.reason;
  } catch (const std::exception& exception) {
    return Printable(std::string_view(exception.what()));
  }
}

}  // namespace rescue::node
