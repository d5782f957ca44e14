#include "base/json.h"

#include <gtest/gtest.h>

namespace carat {
namespace {

std::string Fault(std::string_view text) {
  const auto json = ParseJson(text, "file.json");
  return json ? "" : json.error().message;
}

TEST(ParseJson, KeepsOrderAndBigIntegers) {
  const auto json = ParseJson(R"( {"b": [1, {"x": null}], "a": 9223372036854775807, "c": 18446744073709551615} )", "f");
  ASSERT_TRUE(json);
  EXPECT_EQ(json->dump(), R"({"b":[1,{"x":null}],"a":9223372036854775807,"c":18446744073709551615})");
  EXPECT_EQ((*json)["b"][1]["x"], nullptr);
}

TEST(ParseJson, RefusesWithTheFileAndThePlace) {
  EXPECT_NE(Fault("{\"a\": }").find("file.json: not valid JSON: byte 7"), std::string::npos) << Fault("{\"a\": }");
  EXPECT_NE(Fault(R"({"a": 1, "a": 2})").find("'a' occurs twice"), std::string::npos);
  EXPECT_NE(Fault("{} x").find("byte 4"), std::string::npos) << Fault("{} x");
  EXPECT_EQ(Fault("[\"\xff\"]").find_first_of("\xff\n"), std::string::npos);
  EXPECT_NE(Fault(""), "");
  EXPECT_NE(Fault("{"), "");
  EXPECT_NE(Fault("[1e999]"), "");
  EXPECT_NE(Fault(std::string(33, '[') + std::string(33, ']')).find("nested deeper"), std::string::npos);
  EXPECT_NE(Fault(std::string(100000, '[')).find("nested deeper"), std::string::npos);
  EXPECT_EQ(Fault(std::string(32, '[') + std::string(32, ']')), "");
  EXPECT_EQ(Fault("{\"a\":\n}").find('\n'), std::string::npos);
  const std::string long_key = std::string(79, 'k') + "é";
  EXPECT_NE(Fault("{\"" + long_key + "\":1,\"" + long_key + "\":2}").find("key '" + std::string(79, 'k') + "' occurs"),
            std::string::npos);
}

TEST(JsonObject, ChecksTypesAndRanges) {
  const auto json = ParseJson(
      R"({"i": 512, "f": 512.0, "half": 0.5, "s": "x", "n": null, "l": [1, 2], "o": {"k": -1}, "big": 18446744073709551615,
          "t": true, "names": ["a", "b"], "mixed": ["a", 1]})",
      "c");
  ASSERT_TRUE(json);
  const JsonObject object = {&*json, "config.json"};
  EXPECT_EQ(object.Integer("i", 1, 1000).value(), 512);
  EXPECT_EQ(object.Integer("f", 1, 1000).value(), 512);
  EXPECT_FALSE(object.Integer("half", 0, 1));
  EXPECT_EQ(object.Integer("i", 1, 100).error().message, "config.json: 'i' is 512, out of the range 1 to 100");
  EXPECT_FALSE(object.Integer("big", 0, INT64_MAX));
  EXPECT_EQ(object.Integer("s", 0, 9).error().message,
            "config.json: 's' must be an integer, but is of the type string");
  EXPECT_EQ(object.Integer("n", 0, 9).error().message, "config.json: 'n' is missing");
  EXPECT_EQ(object.IntegerOr("n", 7, 0, 9).value(), 7);
  EXPECT_FALSE(object.IntegerOr("s", 7, 0, 9));
  EXPECT_EQ(object.Float("i").value(), 512.0);
  EXPECT_TRUE(object.Bool("t").value());
  EXPECT_EQ(object.Integers("l", 0, 9).value(), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(object.Integers("i", 0, 999).value(), (std::vector<int64_t>{512}));
  EXPECT_FALSE(object.Integers("l", 2, 9));
  EXPECT_EQ(object.Strings("names").value(), (std::vector<std::string>{"a", "b"}));
  EXPECT_FALSE(object.Strings("mixed"));
  EXPECT_EQ(object.Object("o")->Integer("k", 0, 9).error().message,
            "config.json: o: 'k' is -1, out of the range 0 to 9");
  EXPECT_FALSE(object.Object("l"));
  EXPECT_EQ(object.Object("l").error().code, ErrorCode::kBadModel);
}

}  // namespace
}  // namespace carat
