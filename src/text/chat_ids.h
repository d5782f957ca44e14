// Where chat format and tokenizer meet: from the segments of a prompt to token ids.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "carat/engine.h"
#include "carat/result.h"
#include "text/chat.h"
#include "text/tokenizer.h"

namespace carat::text {

// The format whose turns the tokenizer has markers for; none if it has neither's.
std::optional<ChatFormat> ChatFormatOf(const Tokenizer& tokenizer);

// A medium becomes its one placeholder token. Error: kBadModel if the tokenizer lacks a control token of the format.
Result<std::vector<TokenId>> EncodeSegments(const Tokenizer& tokenizer, std::span<const ChatSegment> segments);

}  // namespace carat::text
