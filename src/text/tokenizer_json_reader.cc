#include "text/tokenizer_json_reader.h"

#include <charconv>

#include "base/try.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

constexpr size_t kMaxNesting = 64;

}  // namespace

std::unexpected<Error> JsonReader::Failure(const std::string& what) const {
  return Fail(ErrorCode::kBadModel, file_name_ + ": at byte " + std::to_string(position_) + ": " + what);
}

void JsonReader::SkipSpace() {
  while (position_ < text_.size()) {
    const char c = text_[position_];
    if (c != ' ' && c != '\n' && c != '\r' && c != '\t') return;
    ++position_;
  }
}

bool JsonReader::Take(char c) {
  SkipSpace();
  if (position_ == text_.size() || text_[position_] != c) return false;
  ++position_;
  return true;
}

JsonReader::Kind JsonReader::Peek() {
  SkipSpace();
  switch (position_ < text_.size() ? text_[position_] : '\0') {
    case '{':
      return Kind::kObject;
    case '[':
      return Kind::kArray;
    case '"':
      return Kind::kString;
    case 't':
      return Kind::kTrue;
    case 'f':
      return Kind::kFalse;
    case 'n':
      return Kind::kNull;
    default: {
      const char c = position_ < text_.size() ? text_[position_] : '\0';
      return c == '-' || (c >= '0' && c <= '9') ? Kind::kNumber : Kind::kInvalid;
    }
  }
}

Status JsonReader::BeginObject() {
  if (!Take('{')) return Failure("an object was expected");
  first_ = true;
  return {};
}

Status JsonReader::BeginArray() {
  if (!Take('[')) return Failure("a list was expected");
  first_ = true;
  return {};
}

Result<bool> JsonReader::Next(char close) {
  if (Take(close)) {
    first_ = false;
    return false;
  }
  if (!first_ && !Take(',')) return Failure(std::string("',' or '") + close + "' was expected");
  first_ = false;
  return true;
}

Result<bool> JsonReader::NextElement() { return Next(']'); }

Result<bool> JsonReader::NextKey(std::string_view& key) {
  TRY_ASSIGN(const bool more, Next('}'));
  if (!more) return false;
  TRY_ASSIGN(key, String());
  if (!Take(':')) return Failure("':' was expected");
  return true;
}

Result<std::string_view> JsonReader::String() {
  if (!Take('"')) return Failure("a string was expected");
  const size_t begin = position_;
  bool escaped = false;
  for (; position_ < text_.size(); ++position_) {
    const char c = text_[position_];
    if (c == '"') {
      const std::string_view body = text_.substr(begin, position_ - begin);
      last_string_is_copy_ = escaped;
      if (escaped) TRY(Unescape(body));
      ++position_;
      return escaped ? std::string_view(unescaped_) : body;
    }
    if (static_cast<unsigned char>(c) < 0x20) return Failure("a string has a control character in it");
    if (c == '\\') {
      escaped = true;
      ++position_;
    }
  }
  return Failure("a string has no end");
}

Result<char32_t> JsonReader::HexUnit(std::string_view body, size_t at) const {
  unsigned unit = 0;
  const char* begin = body.data() + at;
  if (at + 4 > body.size() || std::from_chars(begin, begin + 4, unit, 16).ptr != begin + 4) {
    return Failure("four hexadecimal digits were expected after \\u");
  }
  return unit;
}

Status JsonReader::Unescape(std::string_view body) {
  unescaped_.clear();
  for (size_t i = 0; i < body.size(); ++i) {
    if (body[i] != '\\') {
      unescaped_.push_back(body[i]);
      continue;
    }
    constexpr std::string_view kNames = "\"\\/bfnrt", kValues = "\"\\/\b\f\n\r\t";
    const char name = body[++i];  // there is one: a backslash before the closing quote would have escaped that
    if (const size_t index = kNames.find(name); index != kNames.npos) {
      unescaped_.push_back(kValues[index]);
      continue;
    }
    if (name != 'u') return Failure("a string has an unknown escape in it");
    TRY_ASSIGN(char32_t value, HexUnit(body, i + 1));
    i += 4;
    if (value >= 0xD800 && value < 0xDC00 && body.substr(i + 1).starts_with("\\u")) {
      TRY_ASSIGN(const char32_t low, HexUnit(body, i + 3));
      if (low < 0xDC00 || low > 0xDFFF) return Failure("a string has half a surrogate pair in it");
      value = 0x10000 + ((value - 0xD800) << 10 | (low - 0xDC00));
      i += 6;
    } else if (value >= 0xD800 && value <= 0xDFFF) {
      return Failure("a string has half a surrogate pair in it");
    }
    AppendUtf8(value, unescaped_);
  }
  return {};
}

Result<int64_t> JsonReader::Integer(int64_t min, int64_t max) {
  if (Peek() != Kind::kNumber) return Failure("a whole number was expected");
  const size_t digits = position_ + (text_[position_] == '-');
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text_.data() + position_, text_.data() + text_.size(), value);
  const auto stop = static_cast<size_t>(end - text_.data());
  const bool leading_zero = error == std::errc() && text_[digits] == '0' && stop > digits + 1;
  const bool goes_on = stop < text_.size() && std::string_view(".eE").find(text_[stop]) != std::string_view::npos;
  if (error != std::errc() || leading_zero || goes_on || value < min || value > max) {
    return Failure("a whole number from " + std::to_string(min) + " to " + std::to_string(max) + " was expected");
  }
  position_ = stop;
  return value;
}

Result<bool> JsonReader::Bool() {
  const Kind kind = Peek();
  const std::string_view word = kind == Kind::kTrue ? "true" : "false";
  if ((kind != Kind::kTrue && kind != Kind::kFalse) || !text_.substr(position_).starts_with(word)) {
    return Failure("true or false was expected");
  }
  position_ += word.size();
  return kind == Kind::kTrue;
}

Result<std::string_view> JsonReader::Raw() {
  if (Peek() == Kind::kInvalid) return Failure("a value was expected");
  const size_t begin = position_;
  std::string open;  // brackets
  do {
    SkipSpace();
    if (position_ == text_.size()) return Failure("the file ends within a value");
    const char c = text_[position_];
    if (c == '"') {
      TRY(String());
      continue;
    }
    if (c == '{' || c == '[') {
      if (open.size() == kMaxNesting) return Failure("values are nested too deeply");
      open.push_back(c == '{' ? '}' : ']');
    } else if (c == '}' || c == ']') {
      if (open.empty() || open.back() != c) return Failure("brackets do not match");
      open.pop_back();
    } else if (open.empty()) {  // a number or a word
      const size_t stop = text_.find_first_of(" \t\r\n,]}", position_);
      position_ = std::min(stop, text_.size());
      break;
    }
    ++position_;
  } while (!open.empty());
  return text_.substr(begin, position_ - begin);
}

Status JsonReader::End() {
  SkipSpace();
  if (position_ != text_.size()) return Failure("the file should end here");
  return {};
}

}  // namespace carat::text
