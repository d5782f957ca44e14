#include "text/tokenizer_json_reader.h"

#include <gtest/gtest.h>

namespace carat::text {
namespace {

// The string that a JSON text is, or "error".
std::string ReadString(std::string_view json) {
  JsonReader reader(json, "f");
  const auto text = reader.String();
  if (!text) return "error";
  const std::string copy(*text);
  return reader.End() ? copy : "error";
}

TEST(JsonReader, UnescapesStrings) {
  EXPECT_EQ(ReadString(R"("")"), "");
  EXPECT_EQ(ReadString(R"("a\"\\\/\b\f\n\r\tz")"), "a\"\\/\b\f\n\r\tz");
  EXPECT_EQ(ReadString(R"("\u0041\u00e9\u65E5\ud83d\uDE42")"), "A\u00e9\u65e5\U0001F642");
  EXPECT_EQ(ReadString(R"("\u0000")"), std::string(1, '\0'));
  EXPECT_EQ(ReadString(R"("\uD7FF\uE000")"), "\uD7FF\uE000");
  EXPECT_EQ(ReadString("  \"x\" \r\n\t"), "x");
}

TEST(JsonReader, RefusesBrokenStrings) {
  for (const char* json :
       {R"("a)", R"("a\")", R"("\x")", R"("\u12")", R"("\u12g4")", R"("\u+123")", R"("\u-123")", R"("\ud83d")",
        R"("\ud83d\n")", R"("\ud83d\u0041")", R"("\ude42")", "\"a\nb\"", "\"\x1f\"", "a", "", R"("a" "b")"}) {
    EXPECT_EQ(ReadString(json), "error") << json;
  }
}

TEST(JsonReader, ReadsWholeNumbersInARange) {
  const auto read = [](std::string_view json) {
    JsonReader reader(json, "f");
    const auto value = reader.Integer(-10, 1000);
    return value && reader.End() ? std::to_string(*value) : "error";
  };
  EXPECT_EQ(read("0"), "0");
  EXPECT_EQ(read("-10"), "-10");
  EXPECT_EQ(read(" 1000 "), "1000");
  for (const char* json :
       {"-11", "1001", "1.0", "1e2", "01", "-", "--1", "+1", "0x1", "99999999999999999999", "\"1\"", ""})
    EXPECT_EQ(read(json), "error") << json;
}

TEST(JsonReader, PassesOverValuesOfAnyKind) {
  for (const std::string json : {R"({"a":[1,{"b":"]}"}],"c":"\""})", "[[],[[]]]", "null", "-1.5e3", R"("x,y]")"}) {
    const std::string text = "[" + json + ",7]";
    JsonReader list(text, "f");
    ASSERT_TRUE(list.BeginArray());
    ASSERT_TRUE(*list.NextElement());
    const auto raw = list.Raw();
    ASSERT_TRUE(raw) << raw.error().message;
    EXPECT_EQ(*raw, json);
    ASSERT_TRUE(*list.NextElement());
    EXPECT_EQ(*list.Integer(7, 7), 7);
    EXPECT_FALSE(*list.NextElement());
    EXPECT_TRUE(list.End());
  }
  for (const char* json : {"[", "[}", "{\"a\":[1}", "\"", "", "]"}) {
    JsonReader reader(json, "f");
    EXPECT_FALSE(reader.Raw()) << json;
  }
  const std::string deep(65, '[');
  EXPECT_FALSE(JsonReader(deep, "f").Raw());
}

TEST(JsonReader, WalksThroughObjects) {
  JsonReader reader(R"({"a": true, "b\n": [], "c": {}})", "dir/f.json");
  std::string_view key;
  ASSERT_TRUE(reader.BeginObject());
  ASSERT_TRUE(*reader.NextKey(key));
  EXPECT_EQ(key, "a");
  EXPECT_EQ(*reader.Bool(), true);
  ASSERT_TRUE(*reader.NextKey(key));
  EXPECT_EQ(key, "b\n");
  ASSERT_TRUE(reader.BeginArray());
  EXPECT_FALSE(*reader.NextElement());
  ASSERT_TRUE(*reader.NextKey(key));
  ASSERT_TRUE(reader.BeginObject());
  EXPECT_FALSE(*reader.NextKey(key));
  EXPECT_FALSE(*reader.NextKey(key));
  EXPECT_TRUE(reader.End());
}

TEST(JsonReader, NamesTheFileAndTheByte) {
  JsonReader reader("{\"a\" 1}", "dir/f.json");
  std::string_view key;
  ASSERT_TRUE(reader.BeginObject());
  const auto more = reader.NextKey(key);
  ASSERT_FALSE(more);
  EXPECT_EQ(more.error().code, ErrorCode::kBadModel);
  EXPECT_EQ(more.error().message, "dir/f.json: at byte 5: ':' was expected");
  for (const char* json : {"{\"a\":1 \"b\":2}", "{,}", "{\"a\":1,}", "{1:2}", "{\"a\":1"}) {
    JsonReader object(json, "f");
    ASSERT_TRUE(object.BeginObject());
    bool failed = false;
    for (int i = 0; i < 3 && !failed; ++i) {
      const auto next = object.NextKey(key);
      failed = !next || (*next && !object.Raw());
      if (next && !*next) break;
    }
    EXPECT_TRUE(failed) << json;
  }
}

}  // namespace
}  // namespace carat::text
