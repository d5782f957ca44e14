#include "text/tool_call.h"

#include <algorithm>

#include "text/chat_tools.h"
#include "text/chat_values.h"
#include "text/tool_call_writer.h"

namespace carat::text {
namespace {

constexpr std::string_view kCall = "call:";

// The grammar of tool_call.h, one function a rule. Each returns whether the rule holds and leaves `rest_` behind it.
class Parser {
 public:
  explicit Parser(std::string_view text) : rest_(text) {}

  std::optional<ParsedCall> Call() {
    if (!rest_.starts_with(kCall)) return std::nullopt;
    rest_.remove_prefix(kCall.size());
    const size_t brace = rest_.find('{');
    if (brace == rest_.npos) return std::nullopt;
    const std::string_view name = Strip(rest_.substr(0, brace));
    if (name.empty() || name.find(kQuoteMark) != name.npos) return std::nullopt;
    rest_.remove_prefix(brace);
    if (!Object()) return std::nullopt;
    SkipSpace();
    if (!rest_.empty()) return std::nullopt;
    return ParsedCall{std::string(name), json_.Take()};
  }

 private:
  void SkipSpace() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r\n"), rest_.size())); }
  bool Take(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }

  bool Object() {
    if (!Take('{') || json_.depth() == kMaxCallNesting) return false;
    json_.BeginObject();
    SkipSpace();
    while (!Take('}')) {
      if (!Pair()) return false;
      SkipSpace();
      if (Take(',')) {
        SkipSpace();
        if (rest_.starts_with('}')) return false;
      } else if (!rest_.starts_with('}')) {
        return false;
      }
    }
    json_.End();
    return true;
  }

  bool Pair() {
    std::string_view key;
    if (rest_.starts_with(kQuoteMark)) {
      if (!Quoted(key)) return false;
      SkipSpace();
    } else {
      const size_t end = rest_.find_first_of(":}");
      if (end == rest_.npos) return false;
      key = StripRight(rest_.substr(0, end));
      if (key.empty() || key.find(kQuoteMark) != key.npos || key[0] == '"' || key[0] == '\'') return false;
      rest_.remove_prefix(end);
    }
    if (!Take(':')) return false;
    json_.Key(key);
    SkipSpace();
    return Value();
  }

  bool Value() {
    if (rest_.starts_with('{')) return Object();
    if (rest_.starts_with('[')) return List();
    if (rest_.starts_with(kQuoteMark)) {
      std::string_view text;
      if (!Quoted(text)) return false;
      json_.String(text);
      return true;
    }
    const std::string_view word = rest_.substr(0, rest_.find_first_of(",]} \t\r\n"));
    if (word != "true" && word != "false" && word != "null" && !IsJsonNumber(word)) return false;
    json_.Literal(word);
    rest_.remove_prefix(word.size());
    return true;
  }

  bool List() {
    if (!Take('[') || json_.depth() == kMaxCallNesting) return false;
    json_.BeginList();
    SkipSpace();
    while (!Take(']')) {
      if (!Value()) return false;
      SkipSpace();
      if (Take(',')) {
        SkipSpace();
        if (rest_.starts_with(']')) return false;
      } else if (!rest_.starts_with(']')) {
        return false;
      }
    }
    json_.End();
    return true;
  }

  bool Quoted(std::string_view& text) {
    const size_t end = rest_.find(kQuoteMark, 1);
    if (end == rest_.npos) return false;
    text = rest_.substr(1, end - 1);
    rest_.remove_prefix(end + 1);
    return true;
  }

  std::string_view rest_;
  ArgumentsWriter json_;
};

bool IsDeclared(std::string_view name, const Json& tools) {
  return std::any_of(tools.begin(), tools.end(),
                     [&](const Json& tool) { return Is(Member(Member(&tool, "function"), "name"), name); });
}

// Without the prefix that the model put before a declared name.
std::string DeclaredName(std::string name, const Json* tools) {
  if (tools == nullptr || IsDeclared(name, *tools)) return name;
  const size_t prefix = name.find_last_of(":.");
  if (prefix == name.npos || !IsDeclared(std::string_view(name).substr(prefix + 1), *tools)) return name;
  return name.substr(prefix + 1);
}

}  // namespace

std::optional<ParsedCall> ParseToolCall(std::string_view text) { return Parser(text).Call(); }

std::optional<ParsedCall> ReadToolCall(std::string_view text, const Json* tools) {
  std::optional<ParsedCall> call = ParseToolCall(text);
  if (!call) call = RepairToolCall(text, tools);
  if (call) call->name = DeclaredName(std::move(call->name), tools);
  return call;
}

std::string CallAsText(std::string_view text) {
  std::string out;
  for (size_t mark = 0; (mark = text.find(kQuoteMark)) != text.npos; text.remove_prefix(mark + 1)) {
    out += text.substr(0, mark);
    out += kStringQuote;
  }
  return out += text;
}

}  // namespace carat::text
