#include "text/tool_call_writer.h"

#include <charconv>

#include "base/json.h"
#include "text/tool_call.h"

namespace carat::text {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

size_t SkipDigits(std::string_view text, size_t at) {
  while (at < text.size() && IsDigit(text[at])) ++at;
  return at;
}

}  // namespace

bool IsJsonNumber(std::string_view text) {
  size_t at = !text.empty() && text[0] == '-' ? 1 : 0;
  const size_t whole = at;
  at = SkipDigits(text, at);
  if (at == whole || (text[whole] == '0' && at > whole + 1)) return false;
  if (at < text.size() && text[at] == '.') {
    const size_t fraction = at + 1;
    at = SkipDigits(text, fraction);
    if (at == fraction) return false;
  }
  bool tiny = false;
  if (at < text.size() && (text[at] == 'e' || text[at] == 'E')) {
    ++at;
    if (at < text.size() && (text[at] == '+' || text[at] == '-')) tiny = text[at++] == '-';
    const size_t exponent = at;
    at = SkipDigits(text, exponent);
    if (at == exponent) return false;
  }
  if (at != text.size()) return false;
  // A number too close to zero reads as zero; one that is too large is not a number for any reader of JSON.
  double value = 0;
  return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc() || tiny;
}

void ArgumentsWriter::Key(std::string_view key) {
  Level& level = open_.back();
  level.member_start = json_.size();
  level.repeated = !level.keys.insert(CallAsText(key)).second;
  if (!level.empty) json_ += ',';
  AppendString(key);
  json_ += ':';
}

void ArgumentsWriter::String(std::string_view text) {
  BeforeValue();
  AppendString(text);
  AfterValue();
}

void ArgumentsWriter::Literal(std::string_view json) {
  BeforeValue();
  json_ += json;
  AfterValue();
}

void ArgumentsWriter::Begin(char open, char close) {
  BeforeValue();
  json_ += open;
  open_.push_back({.close = close, .keys = {}});
}

void ArgumentsWriter::End() {
  json_ += open_.back().close;
  open_.pop_back();
  AfterValue();
}

void ArgumentsWriter::BeforeValue() {
  if (!open_.empty() && open_.back().close == ']' && !open_.back().empty) json_ += ',';
}

void ArgumentsWriter::AfterValue() {
  if (open_.empty()) return;
  Level& level = open_.back();
  if (std::exchange(level.repeated, false)) {
    json_.resize(level.member_start);
  } else {
    level.empty = false;
  }
}

// A quote token inside of a string (that a repair left there) becomes the token's text.
void ArgumentsWriter::AppendString(std::string_view text) { json_ += JsonText(CallAsText(text)); }

}  // namespace carat::text
