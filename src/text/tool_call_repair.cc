// Reads tool calls that are not quite right. Every rule here answers a mistake that was seen in the output of real
// models.
#include <algorithm>
#include <string>

#include "text/chat_json.h"
#include "text/chat_values.h"
#include "text/tool_call.h"
#include "text/tool_call_writer.h"

namespace carat::text {
namespace {

// Longest key or name that a repair believes in. Bounds what is looked at around every comma.
constexpr size_t kMaxWord = 64;

bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }
bool IsWordChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.' || (static_cast<unsigned char>(c) >= 0x80 && c != kQuoteMark);
}

// The schema of a tool's parameters; null if unknown.
Value ParametersOf(std::string_view name, const Json* tools) {
  if (tools == nullptr) return nullptr;
  for (const Json& tool : *tools) {
    const Value function = Member(&tool, "function");
    const Value declared = Member(function, "name");
    if (!IsString(declared)) continue;
    const std::string_view declared_name = declared->get_ref<const std::string&>();
    const bool with_prefix =
        name.size() > declared_name.size() && name.ends_with(declared_name) &&
        std::string_view(":.").find(name[name.size() - declared_name.size() - 1]) != std::string_view::npos;
    if (name == declared_name || with_prefix) return Member(function, "parameters");
  }
  return nullptr;
}

// Whether a schema says that the value is text.
bool WantsString(Value schema) {
  const Value type = Member(schema, "type");
  if (type == nullptr) return false;
  if (type->is_string()) return Lower(type->get_ref<const std::string&>()) == "string";
  return type->is_array() && !type->empty() && Is(&type->front(), "string");
}

class Repairer {
 public:
  Repairer(std::string_view text, bool in_parentheses) : text_(text), in_parentheses_(in_parentheses) {}

  // The members of the outermost object, from behind its opening brace or parenthesis, to the end of the text.
  std::optional<std::string> Arguments(Value schema) {
    json_.BeginObject();
    if (!Members(schema)) return std::nullopt;
    json_.End();
    // Nothing that means anything may be left.
    for (; at_ < text_.size(); ++at_) {
      if (!IsSpace(text_[at_]) && !IsCloser(text_[at_]) && text_[at_] != kQuoteMark && text_[at_] != ';')
        return std::nullopt;
    }
    return json_.Take();
  }

 private:
  // What a value stands in: an object whose keys may be known, or a list.
  struct Place {
    Value object_schema = nullptr;
    bool in_list = false;
  };

  bool AtEnd() const { return at_ == text_.size(); }
  bool IsCloser(char c) const { return c == '}' || c == ']' || (c == ')' && in_parentheses_); }
  size_t SkipSpace(size_t at) const {
    while (at < text_.size() && IsSpace(text_[at])) ++at;
    return at;
  }
  size_t WordEnd(size_t at) const {
    const size_t limit = std::min(text_.size(), at + kMaxWord);
    while (at < limit && IsWordChar(text_[at])) ++at;
    return at;
  }
  // Whether a value can end before `at`: a comma, a closing bracket or the end of the text comes next.
  bool IsDelimited(size_t at) const {
    at = SkipSpace(at);
    return at == text_.size() || text_[at] == ',' || IsCloser(text_[at]);
  }
  // Whether a member begins at `at`: a key, and the sign behind it.
  bool IsKey(size_t at, Value object_schema) const;
  void SkipSeparators() {
    while (!AtEnd() && (IsSpace(text_[at_]) || text_[at_] == ',' || text_[at_] == ';')) ++at_;
  }

  bool Members(Value schema);
  bool Key(std::string_view& key);
  bool List(Value schema);
  bool ReadValue(Value schema, const Place& place);
  void QuotedString(const Place& place);
  void StringInQuotes(char quote, const Place& place);
  size_t FindClosing(char quote, size_t at);
  void UnclosedString(size_t start, size_t limit, const Place& place);
  void Word(Value schema, const Place& place);
  void PutWord(std::string_view word, Value schema);
  size_t FindKey(size_t start, size_t end, const Place& place) const;

  std::string_view text_;
  bool in_parentheses_;
  size_t at_ = 0;
  // Quotes of which none from here on is followed by a delimiter; not looked for again, which keeps the time linear.
  std::string no_closing_;
  ArgumentsWriter json_;
};

bool Repairer::IsKey(size_t at, Value object_schema) const {
  at = SkipSpace(at);
  const char quote = at < text_.size() ? text_[at] : ' ';
  const bool quoted = quote == kQuoteMark || quote == '"' || quote == '\'';
  const size_t start = quoted ? at + 1 : at;
  const size_t end = WordEnd(start);
  const std::string_view word = text_.substr(start, end - start);
  if (word.empty()) return false;
  if (IsMapping(object_schema) && Member(Member(object_schema, "properties"), word) == nullptr) return false;
  size_t sign = end;
  if (quoted) {
    if (sign == text_.size() || text_[sign] != quote) return false;
    ++sign;
  }
  sign = SkipSpace(sign);
  return sign < text_.size() && (text_[sign] == ':' || text_[sign] == '=');
}

// Up to and with the closing brace, or the end of the text.
bool Repairer::Members(Value schema) {
  const Place place{.object_schema = schema};
  for (;;) {
    SkipSeparators();
    if (AtEnd()) return true;
    if (IsCloser(text_[at_])) {
      const bool closes = text_[at_++] != ']';
      if (closes) return true;
      continue;  // a list's, too many
    }
    std::string_view key;
    if (!Key(key)) return false;
    json_.Key(key);
    at_ = SkipSpace(at_);
    if (!ReadValue(Member(Member(schema, "properties"), key), place)) return false;
  }
}

// A key in any quotes or none, and the sign behind it.
bool Repairer::Key(std::string_view& key) {
  const char quote = text_[at_];
  if (quote == kQuoteMark || quote == '"' || quote == '\'') {
    const size_t end = text_.find(quote, at_ + 1);
    if (end == text_.npos) return false;
    key = text_.substr(at_ + 1, end - at_ - 1);
    at_ = SkipSpace(end + 1);
  } else {
    const size_t end = text_.find_first_of(":=,{}[]\xff", at_);
    if (end == text_.npos) return false;
    key = Strip(text_.substr(at_, end - at_));
    at_ = end;
  }
  if (key.empty() || AtEnd() || (text_[at_] != ':' && text_[at_] != '=')) return false;
  ++at_;
  return true;
}

bool Repairer::List(Value schema) {
  for (;;) {
    SkipSeparators();
    if (AtEnd()) return true;
    if (text_[at_] == ']') {
      ++at_;
      return true;
    }
    if (IsCloser(text_[at_])) return true;  // of an object around the list, whose own bracket is missing
    if (!ReadValue(Member(schema, "items"), {.in_list = true})) return false;
  }
}

bool Repairer::ReadValue(Value schema, const Place& place) {
  const char c = AtEnd() ? ',' : text_[at_];
  if (c == '{' || c == '[') {
    if (json_.depth() == kMaxCallNesting) return false;
    ++at_;
    if (c == '{') {
      json_.BeginObject();
      if (!Members(schema)) return false;
    } else {
      json_.BeginList();
      if (!List(schema)) return false;
    }
    json_.End();
  } else if (c == kQuoteMark) {
    QuotedString(place);
  } else if (c == '"' || c == '\'') {
    StringInQuotes(c, place);
  } else {
    Word(schema, place);
  }
  return true;
}

// A string that begins with a quote token. The next one ends it, unless what follows cannot follow a string.
void Repairer::QuotedString(const Place& place) {
  const size_t start = at_ + 1;
  size_t end = text_.find(kQuoteMark, start);
  if (end == text_.npos) return UnclosedString(start, text_.size(), place);
  const bool next_is_key = !place.in_list && IsKey(end + 1, place.object_schema);  // only the comma is missing
  if (!IsDelimited(end + 1) && !next_is_key) {
    // Either this string was not closed, and `end` opens the string of a later member; or `end` is part of the text.
    if (FindKey(start, end, place) != text_.npos) return UnclosedString(start, end, place);
    const size_t later = FindClosing(kQuoteMark, end);
    if (later != text_.npos) end = later;
  }
  json_.String(text_.substr(start, end - start));
  at_ = end + 1;
}

// The first such quote at or after `at` behind which a value can end.
size_t Repairer::FindClosing(char quote, size_t at) {
  if (no_closing_.find(quote) != no_closing_.npos) return text_.npos;
  at = text_.find(quote, at);
  while (at != text_.npos && !IsDelimited(at + 1)) at = text_.find(quote, at + 1);
  if (at == text_.npos) no_closing_ += quote;
  return at;
}

// A string in quotes of the keyboard. It ends where a value can end; quotes elsewhere belong to it.
void Repairer::StringInQuotes(char quote, const Place& place) {
  const size_t start = at_ + 1;
  const size_t end = FindClosing(quote, start);
  if (end == text_.npos) return UnclosedString(start, text_.size(), place);
  json_.String(text_.substr(start, end - start));
  at_ = end + 1;
}

// A string without an end: it goes up to the comma before the next key, or else to the brackets that end the text.
void Repairer::UnclosedString(size_t start, size_t limit, const Place& place) {
  size_t end = FindKey(start, limit, place);
  if (end == text_.npos) {
    end = limit;
    for (int closers = json_.depth(); closers > 0; --closers) {
      size_t last = end;
      while (last > start && IsSpace(text_[last - 1])) --last;
      if (last == start || !IsCloser(text_[last - 1])) break;
      end = last - 1;
    }
  }
  json_.String(text_.substr(start, end - start));
  at_ = end;
}

// The comma before the first key of the object within a string that was not closed. Without a schema, only a key
// directly before the opening quote of its value is one.
size_t Repairer::FindKey(size_t start, size_t end, const Place& place) const {
  if (place.in_list) return text_.npos;
  if (IsMapping(place.object_schema)) {
    for (size_t comma = text_.find(',', start); comma < end; comma = text_.find(',', comma + 1)) {
      if (IsKey(comma + 1, place.object_schema)) return comma;
    }
    return text_.npos;
  }
  if (end == text_.size()) return text_.npos;
  const std::string_view tail =
      text_.substr(end - std::min(end - start, 2 * kMaxWord), std::min(end - start, 2 * kMaxWord));
  const size_t comma = tail.rfind(',');
  if (comma == tail.npos) return text_.npos;
  const size_t at = end - tail.size() + comma;
  const size_t sign = WordEnd(SkipSpace(at + 1));
  return IsKey(at + 1, nullptr) && SkipSpace(SkipSpace(sign) + 1) == end ? at : text_.npos;
}

// A value without quotes. Of an object's member, a comma is part of it unless a key comes next.
void Repairer::Word(Value schema, const Place& place) {
  const size_t start = at_;
  for (; !AtEnd() && !IsCloser(text_[at_]); ++at_) {
    if (text_[at_] == kQuoteMark) {  // it lacked only the first quote
      json_.String(Strip(text_.substr(start, at_ - start)));
      ++at_;
      return;
    }
    if (text_[at_] == ',' && (place.in_list || IsKey(at_ + 1, nullptr) || IsDelimited(at_ + 1))) break;
  }
  PutWord(Strip(text_.substr(start, at_ - start)), schema);
}

void Repairer::PutWord(std::string_view word, Value schema) {
  if (word == "null") return json_.Literal("null");
  if (WantsString(schema)) return json_.String(word);
  if (IsJsonNumber(word)) return json_.Literal(word);
  const std::string lower = Lower(word.substr(0, 8));
  if (word.size() <= 5 && (lower == "true" || lower == "false")) return json_.Literal(lower);
  if (word.empty() || (word.size() <= 4 && (lower == "null" || lower == "none" || lower == "nil")))
    return json_.Literal("null");
  json_.String(word);
}

}  // namespace

std::optional<ParsedCall> RepairToolCall(std::string_view text, const Json* tools) {
  static constexpr std::string_view kCall = "call:";
  text = Strip(text);
  if (text.starts_with(kCall)) text.remove_prefix(kCall.size());
  const size_t open = text.find_first_of("{(");
  const std::string_view name = Strip(text.substr(0, open));
  if (name.empty() || name.size() > kMaxWord ||
      !std::all_of(name.begin(), name.end(), [](char c) { return IsWordChar(c) || c == ':' || c == '/'; })) {
    return std::nullopt;
  }
  if (open == text.npos) return ParsedCall{std::string(name), "{}"};

  const bool in_parentheses = text[open] == '(';
  std::string_view body = text.substr(open);
  if (in_parentheses) {  // name({...}) or name(key=value)
    const std::string_view inside = Strip(body.substr(1));
    if (inside.starts_with('{')) body = inside;
  }
  if (body.find(kQuoteMark) == body.npos) {  // perhaps it is plain JSON
    const std::string_view json = body.substr(0, body.rfind('}') + 1);
    const auto parsed = ParseChatJson(json, name);
    if (parsed && parsed->is_object() && NestedAtMost(*parsed, kMaxCallNesting)) {
      return ParsedCall{std::string(name), DumpChatJson(*parsed)};
    }
  }
  std::optional<std::string> arguments = Repairer(body.substr(1), in_parentheses).Arguments(ParametersOf(name, tools));
  if (!arguments) return std::nullopt;
  return ParsedCall{std::string(name), std::move(*arguments)};
}

}  // namespace carat::text
