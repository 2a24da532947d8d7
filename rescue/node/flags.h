// Go's command line flags as etcd reads them.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace rescue::node {

// Flag values by name, without dashes. -flag, --flag, --flag=value and --flag value are the same;
// a later occurrence wins; parsing ends at "--" or at the first word that is no flag
// (Go, flag.FlagSet.parseOne). A boolean flag never takes the next word; alone it means "true".
std::map<std::string, std::string> ParseFlags(const std::vector<std::string>& arguments);

// "true", "1", "t", "T", "TRUE", "True" (Go, strconv.ParseBool).
bool IsTrue(std::string_view value);

// Kubernetes' $(NAME) in commands and arguments; "$$" is one "$", unknown names stay as they are
// (k8s.io/kubernetes third_party/forked/golang/expansion).
std::string ExpandVariables(std::string_view text,
                            const std::map<std::string, std::string>& variables);

// "a,b" -> {"a", "b"}, without empty parts.
std::vector<std::string> SplitList(std::string_view text);

}  // namespace rescue::node
