// The two chat formats. See RenderChat for the contract.
#pragma once

#include <vector>

#include "carat/result.h"
#include "text/chat.h"

namespace carat::text {

Result<std::vector<ChatSegment>> RenderGemma4(const ChatRequest& request);
Result<std::vector<ChatSegment>> RenderGemma3(const ChatRequest& request);

}  // namespace carat::text
