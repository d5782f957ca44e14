// The tool syntax of Gemma 4: declarations of tools, values, and responses.
#pragma once

#include <string_view>

#include "carat/result.h"
#include "text/chat_values.h"
#include "text/chat_writer.h"

namespace carat::text {

// The token that opens and closes strings.
inline constexpr std::string_view kStringQuote = "<|\"|>";

// `declaration:NAME{...}`, from one element of the request's tools. `where` names it in errors (kUsage).
Status WriteDeclaration(Value tool, std::string_view where, SegmentWriter& out);

// A value as it stands in arguments, responses and enums. Keys are bare in the first two, quoted inside declarations.
enum class Keys { kBare, kQuoted };
void WriteValue(Value value, Keys keys, SegmentWriter& out);

// `key:value,key:value`: the members of an object without its braces, keys bare, sorted.
void WriteMembers(const Json& object, SegmentWriter& out);

// `<|tool_response>response:NAME{...}<tool_response|>`; without the opening token if `opened`.
void WriteResponse(std::string_view name, Value response, bool opened, SegmentWriter& out);

}  // namespace carat::text
