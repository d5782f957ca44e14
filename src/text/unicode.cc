#include "text/unicode.h"

#include <cstdint>
#include <cstring>

#include "base/check.h"

namespace carat::text {
namespace {

// What a lead byte promises, and the range of the byte after it (table 3-7 of the Unicode standard: the narrower ranges
// exclude overlong forms, surrogates and values above U+10FFFF).
struct Lead {
  int size_bytes;
  uint8_t second_min = 0x80, second_max = 0xBF;
};

Lead ReadLead(uint8_t byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};  // a continuation, or an overlong form
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

}  // namespace

CodePoint DecodeUtf8(std::string_view text, size_t position) {
  const auto byte_at = [text](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte_at(position);
  if (first < 0x80) return {first, 1, true};
  const Lead lead = ReadLead(first);
  if (lead.size_bytes == 0) return {kReplacementCharacter, 1, false};
  char32_t value = first & (0x7Fu >> lead.size_bytes);
  for (int i = 1; i < lead.size_bytes; ++i) {
    if (position + i == text.size()) return {kReplacementCharacter, i, false, true};
    const uint8_t byte = byte_at(position + i);
    const uint8_t min = i == 1 ? lead.second_min : 0x80;
    const uint8_t max = i == 1 ? lead.second_max : 0xBF;
    if (byte < min || byte > max) return {kReplacementCharacter, i, false};
    value = value << 6 | (byte & 0x3Fu);
  }
  return {value, lead.size_bytes, true};
}

bool IsValidUtf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    uint64_t eight = 0;
    if (text.size() - i >= sizeof eight) {  // most text is ASCII: eight at a time
      std::memcpy(&eight, text.data() + i, sizeof eight);
      if ((eight & 0x8080808080808080u) == 0) {
        i += sizeof eight;
        continue;
      }
    }
    const CodePoint point = DecodeUtf8(text, i);
    if (!point.valid) return false;
    i += point.size_bytes;
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const CodePoint point = DecodeUtf8(text, i);
    if (point.valid) {
      out.append(text, i, point.size_bytes);
    } else {
      AppendUtf8(kReplacementCharacter, out);
    }
    i += point.size_bytes;
  }
  return out;
}

void AppendUtf8(char32_t value, std::string& out) {
  CHECK(value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF));
  const auto append = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (value < 0x80) {
    append(value);
  } else if (value < 0x800) {
    append(0xC0 | value >> 6);
    append(0x80 | (value & 0x3F));
  } else if (value < 0x10000) {
    append(0xE0 | value >> 12);
    append(0x80 | (value >> 6 & 0x3F));
    append(0x80 | (value & 0x3F));
  } else {
    append(0xF0 | value >> 18);
    append(0x80 | (value >> 12 & 0x3F));
    append(0x80 | (value >> 6 & 0x3F));
    append(0x80 | (value & 0x3F));
  }
}

}  // namespace carat::text
