// What a model writes between the tokens of a tool call, `call:NAME{key:value,...}`, as a name and JSON.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"

namespace carat::text {

// Stands for the string quote token in the text of a call. No UTF-8 text has this byte, so that a quote that the model
// spelled with ordinary tokens is told apart.
inline constexpr char kQuoteMark = '\xff';

struct ParsedCall {
  std::string name;
  std::string arguments_json;  // an object, members in the order they were written, numbers digit for digit
  bool operator==(const ParsedCall&) const = default;
};

// Nesting of lists and objects in the arguments that is read.
inline constexpr int kMaxCallNesting = 64;

// Reads a call exactly as the format defines it:
//   call   = "call:" name object          name = characters other than "{", trimmed
//   object = "{" [ pair { "," pair } ] "}"
//   pair   = key ":" value                key  = characters other than ":" and "}", none of " ' first | QUOTE text
//   QUOTE value  = QUOTE text QUOTE | object | list | number | "true" | "false" | "null" list   = "[" [ value { ","
//   value } ] "]"
// with white space between the parts. Nothing is an escape inside of strings. Of members with the same key, the first
// counts. Nothing if the text is anything else. Time and memory are linear in its length.
std::optional<ParsedCall> ParseToolCall(std::string_view text);

// Reads a call with the mistakes that models make: quotes left out at either end of a string or replaced by ' or ",
// words without quotes, braces left out at the end, `key=value`, `name(...)`, commas left out or one too many, plain
// JSON. `tools` (a list as in ChatRequest, or null) tells where strings are expected and which keys exist. Nothing if
// no sense can be made of the text. Linear as well.
std::optional<ParsedCall> RepairToolCall(std::string_view text, const Json* tools);

// Reads a call: exactly if possible, else with repairs. A name that is not among `tools` loses its prefix
// (`server:name`, `api.name`) if what is left is.
std::optional<ParsedCall> ReadToolCall(std::string_view text, const Json* tools);

// The text of a call as the model wrote it, for showing it: with the quote token's string in place of its mark.
std::string CallAsText(std::string_view text);

}  // namespace carat::text
