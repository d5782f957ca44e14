#include "text/chat_values.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <tuple>
#include <utility>

#include "text/chat_json.h"
#include "text/unicode.h"

namespace carat::text {
namespace {

// str.isspace().
bool IsSpace(char32_t code) {
  return (code >= 0x09 && code <= 0x0d) || (code >= 0x1c && code <= 0x20) || code == 0x85 || code == 0xa0 ||
         code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 || code == 0x2029 || code == 0x202f ||
         code == 0x205f || code == 0x3000;
}

struct CaseRun {
  char32_t first, last;
  uint32_t stride;
  int32_t delta;
};
constexpr CaseRun kLowerCase[] = {
#include "text/chat_lowercase.inc"
};

char32_t LowerOf(char32_t code) {
  if (code < 0x80) return code >= 'A' && code <= 'Z' ? code + 32 : code;
  const auto* run = std::lower_bound(std::begin(kLowerCase), std::end(kLowerCase), code,
                                     [](const CaseRun& r, char32_t c) { return r.last < c; });
  if (run == std::end(kLowerCase) || code < run->first || (code - run->first) % run->stride != 0) return code;
  return static_cast<char32_t>(static_cast<int32_t>(code) + run->delta);
}

// Letters as far as the final sigma is concerned: it matters between Greek letters.
bool IsLetter(char32_t code) {
  return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z') || (code >= 0xc0 && code <= 0x24f) ||
         (code >= 0x370 && code <= 0x52f && code != 0x37e && code != 0x387) || (code >= 0x1f00 && code <= 0x1ffc);
}

// Characters that repr() escapes: controls, formatting, private use, and all spaces but the ASCII one. Code points that
// no version of Unicode has assigned are not in the list.
bool IsPrintable(char32_t c) {
  struct Range {
    char32_t first, last;
  };
  static constexpr Range kHidden[] = {{0, 0x1f},          {0x7f, 0xa0},       {0xad, 0xad},       {0x600, 0x605},
                                      {0x61c, 0x61c},     {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x8e2, 0x8e2},
                                      {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},   {0x2028, 0x202f},
                                      {0x205f, 0x206f},   {0x3000, 0x3000},   {0xd800, 0xf8ff},   {0xfeff, 0xfeff},
                                      {0xfff0, 0xfffb},   {0xfffe, 0xffff},   {0x110bd, 0x110bd}, {0x110cd, 0x110cd},
                                      {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a}, {0xe0000, 0xe00ff}, {0xe01f0, 0x10ffff}};
  return std::none_of(std::begin(kHidden), std::end(kHidden),
                      [&](const Range& range) { return c >= range.first && c <= range.last; });
}

void AppendHex(char32_t code, int digits, std::string& out) {
  for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) out += "0123456789abcdef"[(code >> shift) & 0xf];
}

// repr() of a string.
void AppendQuoted(std::string_view text, std::string& out) {
  const bool has_single = text.find('\'') != text.npos;
  const char quote = has_single && text.find('"') == text.npos ? '"' : '\'';
  out += quote;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeUtf8(text, i);
    if (c.value == '\\' || c.value == static_cast<char32_t>(quote)) {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (c.value == '\n' || c.value == '\r' || c.value == '\t') {
      out += c.value == '\n' ? "\\n" : c.value == '\r' ? "\\r" : "\\t";
    } else if (IsPrintable(c.value)) {
      out += text.substr(i, c.size_bytes);
    } else {
      const int digits = c.value < 0x100 ? 2 : c.value < 0x10000 ? 4 : 8;
      out += digits == 2 ? "\\x" : digits == 4 ? "\\u" : "\\U";
      AppendHex(c.value, digits, out);
    }
    i += c.size_bytes;
  }
  out += quote;
}

// repr() of a float: the shortest decimal that reads back as the same number, with an exponent if that is below -4 or
// at least 16, and always recognisable as no integer.
std::string PrintDouble(double value) {
  if (value != value) return "nan";
  if (value - value != 0) return value > 0 ? "inf" : "-inf";
  std::array<char, 40> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific).ptr;
  const std::string_view printed(buffer.data(), static_cast<size_t>(end - buffer.data()));  // -1.2345e+06
  const size_t e = printed.find('e');
  int exponent = 0;
  const size_t exponent_at = e + (printed[e + 1] == '+' ? 2 : 1);
  std::from_chars(printed.data() + exponent_at, printed.data() + printed.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(printed);

  std::string out = printed.front() == '-' ? "-" : "";
  std::string digits;
  for (const char c : printed.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < 0) return out + "0." + std::string(static_cast<size_t>(-exponent - 1), '0') + digits;
  const size_t whole = static_cast<size_t>(exponent) + 1;
  if (digits.size() < whole) digits.append(whole - digits.size(), '0');
  out += digits.substr(0, whole) + '.';
  return out + (digits.size() > whole ? digits.substr(whole) : "0");
}

// repr(). Recursion is bounded by the nesting that RenderChat lets in.
void AppendRepr(const Json& value, std::string& out) {
  switch (value.type()) {
    case Json::value_t::string:
      return AppendQuoted(value.get_ref<const std::string&>(), out);
    case Json::value_t::array: {
      out += '[';
      bool first = true;
      for (const Json& element : value) {
        if (!std::exchange(first, false)) out += ", ";
        AppendRepr(element, out);
      }
      out += ']';
      return;
    }
    case Json::value_t::object: {
      out += '{';
      bool first = true;
      for (const auto& [key, member] : value.get_ref<const Json::object_t&>()) {
        if (!std::exchange(first, false)) out += ", ";
        AppendQuoted(key, out);
        out += ": ";
        AppendRepr(member, out);
      }
      out += '}';
      return;
    }
    case Json::value_t::boolean:
      out += value.get<bool>() ? "True" : "False";
      return;
    case Json::value_t::number_integer:
      out += std::to_string(value.get<int64_t>());
      return;
    case Json::value_t::number_unsigned:
      out += std::to_string(value.get<uint64_t>());
      return;
    case Json::value_t::number_float:
      out += PrintDouble(value.get<double>());
      return;
    case Json::value_t::binary:
      out += BigIntegerDigits(value);
      return;
    case Json::value_t::null:
    case Json::value_t::discarded:
      out += "None";
      return;
  }
}

}  // namespace

Value Member(Value object, std::string_view key) {
  if (!IsMapping(object)) return nullptr;
  for (const auto& [name, member] : object->get_ref<const Json::object_t&>()) {
    if (name == key) return &member;
  }
  return nullptr;
}

bool IsTrue(Value value) {
  if (value == nullptr) return false;
  switch (value->type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
      return false;
    case Json::value_t::boolean:
      return value->get<bool>();
    case Json::value_t::number_integer:
      return value->get<int64_t>() != 0;
    case Json::value_t::number_unsigned:
      return value->get<uint64_t>() != 0;
    case Json::value_t::number_float:
      return value->get<double>() != 0;
    case Json::value_t::binary:
      return true;  // a big integer
    case Json::value_t::string:
      return !value->get_ref<const std::string&>().empty();
    case Json::value_t::array:
    case Json::value_t::object:
      return !value->empty();
  }
  return false;
}

std::string Print(Value value) {
  if (value == nullptr) return {};
  if (value->is_string()) return value->get<std::string>();
  std::string out;
  AppendRepr(*value, out);
  return out;
}

Result<Elements> Elements::Of(Value value, std::string_view what) {
  Elements result;
  if (value == nullptr) return result;
  if (value->is_array()) {
    result.values_.reserve(value->size());
    for (const Json& element : *value) result.values_.push_back(&element);
    return result;
  }
  if (value->is_object()) {
    for (const auto& member : value->get_ref<const Json::object_t&>()) result.made_.emplace_back(member.first);
  } else if (value->is_string()) {
    const std::string_view text = value->get_ref<const std::string&>();
    for (size_t i = 0; i < text.size();) {
      const size_t size = static_cast<size_t>(DecodeUtf8(text, i).size_bytes);
      result.made_.emplace_back(std::string(text.substr(i, size)));
      i += size;
    }
  } else {
    return Fail(ErrorCode::kUsage, std::string(what) + " must be a list");
  }
  for (const Json& made : result.made_) result.values_.push_back(&made);
  return result;
}

std::vector<NamedValue> SortedMembers(const Json& object) {
  struct Keyed {
    std::string lower;
    size_t index;  // keeps equals in their order
    NamedValue member;
  };
  std::vector<Keyed> keyed;
  keyed.reserve(object.size());
  for (const auto& [key, value] : object.get_ref<const Json::object_t&>()) {
    keyed.push_back({Lower(key), keyed.size(), {key, &value}});
  }
  // UTF-8 sorts as its code points do.
  std::sort(keyed.begin(), keyed.end(),
            [](const Keyed& a, const Keyed& b) { return std::tie(a.lower, a.index) < std::tie(b.lower, b.index); });
  std::vector<NamedValue> sorted;
  sorted.reserve(keyed.size());
  for (const Keyed& entry : keyed) sorted.push_back(entry.member);
  return sorted;
}

std::string_view StripRight(std::string_view text) {
  while (!text.empty()) {
    size_t start = text.size() - 1;  // of the last character
    while (start > 0 && text.size() - start < 4 && (static_cast<unsigned char>(text[start]) & 0xc0) == 0x80) --start;
    const CodePoint last = DecodeUtf8(text, start);
    if (!IsSpace(last.value) || start + last.size_bytes != text.size()) break;
    text = text.substr(0, start);
  }
  return text;
}

std::string_view StripLeft(std::string_view text) {
  while (!text.empty()) {
    const CodePoint first = DecodeUtf8(text, 0);
    if (!IsSpace(first.value)) break;
    text.remove_prefix(first.size_bytes);
  }
  return text;
}

std::string_view Strip(std::string_view text) { return StripRight(StripLeft(text)); }

std::string Lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  bool after_letter = false;
  for (size_t i = 0; i < text.size();) {
    const CodePoint c = DecodeUtf8(text, i);
    i += c.size_bytes;
    if (c.value == 0x3a3) {  // capital sigma
      const bool before_letter = i < text.size() && IsLetter(DecodeUtf8(text, i).value);
      AppendUtf8(after_letter && !before_letter ? 0x3c2 : 0x3c3, out);
    } else if (c.value == 0x130) {  // capital I with a dot: i and the dot
      out += "i\u0307";
    } else if (c.value == 0xfffd) {
      out += text.substr(i - c.size_bytes, c.size_bytes);  // as it is, be it a stray byte
    } else {
      AppendUtf8(LowerOf(c.value), out);
    }
    after_letter = IsLetter(c.value);
  }
  return out;
}

std::string UpperAscii(std::string text) {
  for (char& c : text) {
    if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
  }
  return text;
}

bool NestedAtMost(const Json& value, int limit) {
  if (!value.is_structured()) return true;
  if (limit == 0) return false;
  return std::all_of(value.begin(), value.end(), [&](const Json& child) { return NestedAtMost(child, limit - 1); });
}

}  // namespace carat::text
