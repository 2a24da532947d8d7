// What every screen and every job says about the image that it runs in.
#pragma once

#include <string>

namespace rescue::session {

// "" for the appliance and for other machines; for the appliance's debug variant (VARIANT_ID=debug
// in os-release(5)) a few words that nobody should overlook.
std::string ImageMark(const std::string& os_release = "/etc/os-release");

}  // namespace rescue::session
