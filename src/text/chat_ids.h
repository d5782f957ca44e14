// Where chat format and tokenizer meet: from the segments of a prompt to token ids.
#pragma once

#include <cstdint>
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

// A medium becomes its placeholder token, as many times as it has soft tokens. `media`, if given, gets the index of the
// first of each. Error: kBadModel if the tokenizer lacks a control token of the format.
Result<std::vector<TokenId>> EncodeSegments(const Tokenizer& tokenizer, std::span<const ChatSegment> segments,
                                            std::vector<int64_t>* media = nullptr);

}  // namespace carat::text
