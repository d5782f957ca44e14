// UTF-8 from strangers.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace carat::text {

inline constexpr char32_t kReplacementCharacter = 0xFFFD;

// One code point of UTF-8, or what is broken in its place.
struct CodePoint {
  char32_t value = kReplacementCharacter;
  int size_bytes =
      0;  // at least 1; of a broken sequence, those that U+FFFD stands for (the maximal subpart of Unicode 3.9)
  bool valid = false;
  bool cut_short = false;  // broken only because the text ends before the sequence does
};
// At `position` < text.size(). Overlong forms, surrogates and values above U+10FFFF are broken.
CodePoint DecodeUtf8(std::string_view text, size_t position);

bool IsValidUtf8(std::string_view text);
// Every broken sequence becomes U+FFFD, as WHATWG's decoder and Python's errors="replace" do it.
std::string ReplaceInvalidUtf8(std::string_view text);
// `value` must be a code point, not a surrogate.
void AppendUtf8(char32_t value, std::string& out);

}  // namespace carat::text
