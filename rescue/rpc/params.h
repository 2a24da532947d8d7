// What a call's params say: the fields of a job that matter to its method.
#pragma once

#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "rescue/rpc/message.h"
#include "rescue/session/job.h"

namespace rescue::rpc {

// Of a job: which disk, and how it opens.
const std::vector<std::string_view>& DiskFields();
// Of a job: what is to be done with it.
const std::vector<std::string_view>& WishFields();

tl::unexpected<RpcError> BadParams(std::string reason);

// Only fields of these lists may be there. Error: kInvalidParams, which names the field.
tl::expected<void, RpcError> CheckParams(
    const nlohmann::json& params, std::initializer_list<std::vector<std::string_view>> allowed);

// What `said` is before anything was.
const session::Job& NothingSaid();

// The job fields of params. What of disk or wishes no field is given for is taken from `said`, as a
// whole.
tl::expected<session::Job, RpcError> ReadJobParams(const nlohmann::json& params,
                                                   const session::Job& said, session::JobUse use);

// A field that is true or false; `otherwise` when it is absent.
tl::expected<bool, RpcError> Flag(const nlohmann::json& params, const char* field, bool otherwise);
// A text; "" when it is absent.
tl::expected<std::string, RpcError> Text(const nlohmann::json& params, const char* field);

}  // namespace rescue::rpc
