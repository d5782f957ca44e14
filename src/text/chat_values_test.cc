#include "text/chat_values.h"

#include <gtest/gtest.h>

#include "text/chat_json.h"

namespace carat::text {
namespace {

std::string PrintText(std::string_view json) {
  const auto value = ParseChatJson(json, "test");
  EXPECT_TRUE(value) << value.error().message;
  return value ? Print(&*value) : "";
}

// Expected values are what Python prints.
TEST(ChatValues, PrintsAsPythonDoes) {
  EXPECT_EQ(Print(nullptr), "");
  EXPECT_EQ(PrintText("null"), "None");
  EXPECT_EQ(PrintText("true"), "True");
  EXPECT_EQ(PrintText("\"it's\""), "it's");
  EXPECT_EQ(PrintText("-7"), "-7");
  EXPECT_EQ(PrintText("-0"), "0");
  EXPECT_EQ(PrintText("18446744073709551615"), "18446744073709551615");
  EXPECT_EQ(PrintText("-36893488147419103232"), "-36893488147419103232");
  EXPECT_EQ(PrintText(R"(["string", "null", 1, false, {"a": null}])"), "['string', 'null', 1, False, {'a': None}]");
  EXPECT_EQ(PrintText(R"(["it's", "say \"it's\"", "\\ \n \r \t \u0001 \u007f \u00a0 \u200b é 日 🙂 \ue000"])"),
            "[\"it's\", 'say \"it\\'s\"', '\\\\ \\n \\r \\t \\x01 \\x7f \\xa0 \\u200b é 日 🙂 \\ue000']");
  EXPECT_EQ(PrintText("[]"), "[]");
  EXPECT_EQ(PrintText("{}"), "{}");
}

TEST(ChatValues, PrintsFloatsAsPythonDoes) {
  const struct {
    const char* json;
    const char* printed;
  } cases[] = {{"2.0", "2.0"},
               {"3.5", "3.5"},
               {"-0.0", "-0.0"},
               {"0.1", "0.1"},
               {"1e5", "100000.0"},
               {"1e15", "1000000000000000.0"},
               {"9007199254740993.0", "9007199254740992.0"},
               {"1e16", "1e+16"},
               {"12345678901234567.0", "1.2345678901234568e+16"},
               {"1e22", "1e+22"},
               {"1e100", "1e+100"},
               {"1.7976931348623157e308", "1.7976931348623157e+308"},
               {"0.001", "0.001"},
               {"0.0001", "0.0001"},
               {"0.00012345", "0.00012345"},
               {"0.00001", "1e-05"},
               {"1e-7", "1e-07"},
               {"5e-324", "5e-324"},
               {"123.456", "123.456"},
               {"-1234567.875", "-1234567.875"},
               {"0.30000000000000004", "0.30000000000000004"}};
  for (const auto& [json, printed] : cases) EXPECT_EQ(PrintText(json), printed);
}

TEST(ChatValues, KnowsTruth) {
  for (const char* json : {"null", "false", "0", "0.0", "-0.0", "\"\"", "[]", "{}"}) {
    const Json value = *ParseChatJson(json, "test");
    EXPECT_FALSE(IsTrue(&value)) << json;
  }
  for (const char* json : {"true", "1", "-1", "0.5", "\" \"", "[0]", "{\"\":0}", "99999999999999999999999"}) {
    const Json value = *ParseChatJson(json, "test");
    EXPECT_TRUE(IsTrue(&value)) << json;
  }
  EXPECT_FALSE(IsTrue(nullptr));
}

TEST(ChatValues, StripsUnicodeWhiteSpace) {
  const std::string space =
      "\t\n\v\f\r\x1c\x1d\x1e\x1f \u0085\u00a0\u1680\u2000\u2003\u200a\u2028\u2029\u202f\u205f\u3000";
  EXPECT_EQ(Strip(space + "a" + space + "b" + space), "a" + space + "b");
  EXPECT_EQ(Strip(space), "");
  EXPECT_EQ(Strip(""), "");
  EXPECT_EQ(StripRight(space + "a" + space), space + "a");
  // Not white space: zero width space, byte order mark, and bytes that are no UTF-8.
  for (const char* text :
       {"\u200b", "\ufeff", "\u180e", "\xff", "\x80", "\xc2", "\xe2\x80", "a\x85", "\xa0", "\xa0\xa0"}) {
    EXPECT_EQ(Strip(text), text);
  }
}

TEST(ChatValues, LowersAsPythonDoes) {
  EXPECT_EQ(Lower("AbC_9 Z[`{"), "abc_9 z[`{");
  EXPECT_EQ(Lower("ÀÖØÞßÿŸĀāŁŊ"), "àöøþßÿÿāāłŋ");
  EXPECT_EQ(Lower("ΑΩΆЀЯѠҐ"), "αωάѐяѡґ");
  EXPECT_EQ(Lower("ԱՖႠᎠᏰẞὈ"), "աֆⴀꭰᏸßὀ");
  EXPECT_EQ(Lower("ΣΑΣ ΑΣΑ Σ"), "σας ασα σ");
  EXPECT_EQ(Lower("İI"), "i\u0307i");
  EXPECT_EQ(Lower("日本🙂𐐀𞤀K"), "日本🙂𐐨𞤢k");
  EXPECT_EQ(Lower("A\xff\xc2"), "a\xff\xc2");
}

TEST(ChatValues, SortsMembersByLowerCase) {
  const Json object = *ParseChatJson(R"({"b":0,"A":1,"a":2,"_":3,"B":4,"Z":5,"1":6,"é":7,"É":8,"":9})", "test");
  std::string order;
  for (const auto& [key, value] : SortedMembers(object)) order += std::string(key) + Print(value) + ' ';
  EXPECT_EQ(order, "9 16 _3 A1 a2 b0 B4 Z5 é7 É8 ");
}

TEST(ChatValues, LoopsOverWhatCanBeLoopedOver) {
  const auto loop = [](const char* json) {
    const Json value = *ParseChatJson(json, "test");
    const auto elements = Elements::Of(&value, "it");
    if (!elements) return "error: " + elements.error().message;
    std::string all;
    for (const Value element : *elements) all += Print(element) + ' ';
    return all;
  };
  EXPECT_EQ(loop("[1, \"ab\", null]"), "1 ab None ");
  EXPECT_EQ(loop("{\"a\": 1, \"b\": 2}"), "a b ");
  EXPECT_EQ(loop("\"aé日\""), "a é 日 ");
  EXPECT_EQ(loop("5"), "error: it must be a list");
  EXPECT_EQ(loop("null"), "error: it must be a list");
}

TEST(ChatValues, MeasuresNesting) {
  const Json value = *ParseChatJson(R"([{"a": [1]}, 2])", "test");
  EXPECT_TRUE(NestedAtMost(value, 3));
  EXPECT_FALSE(NestedAtMost(value, 2));
  EXPECT_TRUE(NestedAtMost(Json(1), 0));
}

}  // namespace
}  // namespace carat::text
