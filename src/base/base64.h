// Base64 (RFC 4648, section 4).
#pragma once

#include <string>
#include <string_view>

#include "carat/result.h"

namespace carat {

std::string EncodeBase64(std::string_view bytes);
// White space is skipped, and the padding at the end may be missing. Error: kUsage, with the position of what is wrong.
Result<std::string> DecodeBase64(std::string_view text);

}  // namespace carat
