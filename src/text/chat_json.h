// The JSON of conversations. Unlike model files, they carry data that must come out as it went in: an integer of any
// length stays exact, where a JSON library makes a float of it.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "carat/result.h"

namespace carat::text {

// Nesting of lists and objects that ParseChatJson accepts, and the renderer with it. Deep enough for any arguments of a
// tool call inside a conversation inside a request; small enough for recursion on any stack.
inline constexpr int kMaxChatNesting = 96;

// Parses one JSON text, such as a conversation, a list of tools or the arguments of a call. An integer beyond 64 bits
// becomes a binary value that holds its digits (BigIntegerDigits). Error: kUsage, naming `name` and the position:
// invalid JSON or UTF-8, duplicate keys, nesting deeper than kMaxChatNesting, numbers beyond a double's range.
Result<Json> ParseChatJson(std::string_view text, std::string_view name);

// JSON text of a value that ParseChatJson made; big integers as their digits, invalid UTF-8 as U+FFFD.
std::string DumpChatJson(const Json& value);

// Decimal digits, with a sign if negative, of a big integer from ParseChatJson.
std::string BigIntegerDigits(const Json& value);

}  // namespace carat::text
