// A look at YAML before the parser builds a tree from it.
#pragma once

#include <string>
#include <string_view>

namespace rescue::node {

// Why a text is not taken as a manifest; empty when it may be parsed. Anchors and aliases are
// refused (they can expand without limit and no manifest has them), deep nesting, many nodes,
// and more than one document.
std::string YamlProblem(std::string_view text);

}  // namespace rescue::node
