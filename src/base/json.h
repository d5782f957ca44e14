// JSON from strangers: a parser that refuses instead of throwing, and look-ups that check types and ranges.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"

namespace carat {

using Json = nlohmann::ordered_json;

// Parses one JSON text. Refuses (with `code`, naming `name` and the position): invalid JSON or UTF-8, duplicate keys,
// nesting deeper than 32, trailing bytes. Never throws.
Result<Json> ParseJson(std::string_view text, std::string_view name, ErrorCode code = ErrorCode::kBadModel);

// The value as text, on one line or with `indent` spaces a level. Invalid UTF-8 becomes U+FFFD; never throws for it.
std::string JsonText(const Json& value, int indent = -1);

// Typed look-ups in a JSON object. A null counts as absent. Wrong types and numbers out of range are errors that name
// `where` (such as "config.json: text_config") and the key.
struct JsonObject {
  const Json* json = nullptr;  // an object; must outlive this
  std::string where;
  ErrorCode code = ErrorCode::kBadModel;  // of the errors

  bool Has(std::string_view key) const;  // present and not null
  Result<JsonObject> Object(std::string_view key) const;
  Result<std::string> String(std::string_view key) const;
  Result<int64_t> Integer(std::string_view key, int64_t min, int64_t max) const;
  Result<double> Float(std::string_view key) const;
  Result<bool> Bool(std::string_view key) const;
  Result<std::vector<int64_t>> Integers(std::string_view key, int64_t min,
                                        int64_t max) const;  // a number serves as [number]
  Result<std::vector<std::string>> Strings(std::string_view key) const;
  Result<std::string> StringOr(std::string_view key, std::string fallback) const;
  Result<int64_t> IntegerOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const;
  Result<double> FloatOr(std::string_view key, double fallback) const;
  Result<bool> BoolOr(std::string_view key, bool fallback) const;
};

}  // namespace carat
