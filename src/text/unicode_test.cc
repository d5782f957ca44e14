#include "text/unicode.h"

#include <gtest/gtest.h>

namespace carat::text {
namespace {

TEST(Unicode, ReadsWhatIsValid) {
  for (const char32_t value : {U'\0', U'a', U'\x7F', U'\x80', U'\x7FF', U'\x800', U'\xD7FF', U'\xE000', U'\xFFFD',
                               U'\xFFFF', U'\U00010000', U'\U0010FFFF'}) {
    std::string text;
    AppendUtf8(value, text);
    const CodePoint point = DecodeUtf8(text, 0);
    EXPECT_TRUE(point.valid);
    EXPECT_EQ(point.value, value);
    EXPECT_EQ(static_cast<size_t>(point.size_bytes), text.size());
    EXPECT_TRUE(IsValidUtf8("12345678" + text));
    EXPECT_EQ(ReplaceInvalidUtf8(text), text);
    // Without its last byte it is cut short, and one replacement character stands for what is left.
    if (text.size() == 1) continue;
    text.pop_back();
    EXPECT_FALSE(IsValidUtf8("12345678" + text));
    EXPECT_TRUE(DecodeUtf8(text, 0).cut_short);
    EXPECT_EQ(ReplaceInvalidUtf8(text + "a"), "\uFFFDa");
  }
}

// The answers of Python's bytes.decode("utf-8", "replace").
TEST(Unicode, ReplacesTheLongestBeginningOfACharacter) {
  const std::pair<const char*, const char*> cases[] = {
      {"\x80", "\uFFFD"},
      {"\xff\xfe", "\uFFFD\uFFFD"},
      {"\xc0\xaf", "\uFFFD\uFFFD"},                      // overlong
      {"\xe0\x80\xaf", "\uFFFD\uFFFD\uFFFD"},            // overlong
      {"\xed\xa0\x80", "\uFFFD\uFFFD\uFFFD"},            // a surrogate
      {"\xf4\x90\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},  // beyond U+10FFFF
      {"\xf5\x80\x80\x80", "\uFFFD\uFFFD\uFFFD\uFFFD"},
      {"\xe2\x96x", "\uFFFDx"},
      {"\xf0\x9f\x99\xc3\xa9", "\uFFFD\u00e9"},
      {"\xf0\x9f\x99", "\uFFFD"},
      {"a\xc3", "a\uFFFD"},
      {"\xc3\xc3\xa9", "\uFFFD\u00e9"},
  };
  for (const auto& [broken, expected] : cases) {
    EXPECT_FALSE(IsValidUtf8(broken));
    EXPECT_EQ(ReplaceInvalidUtf8(broken), expected);
  }
}

}  // namespace
}  // namespace carat::text
