#include "gemma/module_pattern.h"

#include <gtest/gtest.h>

#include <string>

namespace carat::gemma {
namespace {

bool Finds(std::string_view pattern, std::string_view name) {
  int64_t work = 0;
  const auto parsed = ModulePattern::Parse(pattern);
  EXPECT_TRUE(parsed) << pattern << ": " << parsed.error().message;
  return parsed && parsed->Finds(name, work) && work <= ModulePattern::kMaxWork;
}

bool Begins(std::string_view pattern, std::string_view name) {
  int64_t work = 0;
  const auto parsed = ModulePattern::Parse(pattern);
  EXPECT_TRUE(parsed) << pattern << ": " << parsed.error().message;
  return parsed && parsed->Begins(name, work);
}

// The answers are those of Python's re.search.
TEST(ModulePattern, FindsWhatPythonFinds) {
  const std::string up = "model.language_model.layers.12.mlp.up_proj";
  for (const char* pattern : {"",
                              "mlp",
                              R"(language_model\.layers\.\d+\.mlp\.)",
                              R"(layers\.1[0-4]\.)",
                              R"(layers\.(3|12|15)\.mlp)",
                              "up_proj$",
                              "^model",
                              "^.*proj$",
                              R"(\.1{1}2\.)",
                              R"(layers\.[^0-9]|mlp)",
                              R"(layers\.(?!3)\d+)",
                              R"(layers(?=\.1))",
                              R"(\w+_model)",
                              R"(l.yers)",
                              R"(s\.\d?\d?\d?\.m)",
                              R"(^(model\.|x)+(language_model\.){1,3}layers)",
                              R"(\.(?:mlp|self_attn)\.up)",
                              R"((a*)*layers)",
                              R"([\w.]{20,}proj)",
                              R"(layers\.\d{2}\.)",
                              R"(layers\.\d{1,}?\.)",
                              "[]m]lp",
                              "[l-n-]odel"})
    EXPECT_TRUE(Finds(pattern, up)) << pattern;
  for (const char* pattern :
       {"mlp$", R"(layers\.77\.)", R"(layers\.1[3-9]\.)", "^language", R"(layers\.(3|4|15)\.mlp)", R"(layers\.(?!1)\d)",
        R"(layers(?=\.3))", R"(^\d)", R"(\s)", R"(\D{43})", "[^a-z0-9_.]", R"(layers\.\d{3}\.)", "upproj",
        R"((up|down)_proj\.linear)", "x*q+u", R"(\.lm_head|^lm_head$)"})
    EXPECT_FALSE(Finds(pattern, up)) << pattern;
  EXPECT_FALSE(
      Finds(R"(audio_tower(?!.*lconv1d\.linear_start))", "model.audio_tower.layers.0.lconv1d.linear_start.linear"));
  EXPECT_TRUE(
      Finds(R"(audio_tower(?!.*lconv1d\.linear_start))", "model.audio_tower.layers.0.lconv1d.linear_end.linear"));
  EXPECT_TRUE(Finds("^$", ""));
  EXPECT_TRUE(Finds("", std::string(ModulePattern::kMaxName, 'a')));
  EXPECT_FALSE(Finds("", std::string(ModulePattern::kMaxName + 1, 'a')));
}

TEST(ModulePattern, SaysWhereTheFirstMatchIs) {
  int64_t work = 0;
  EXPECT_EQ(ModulePattern::Parse("b+c?")->PlaceIn("aabbc", work), 2u);
  EXPECT_EQ(ModulePattern::Parse("$")->PlaceIn("abc", work), 3u);
  EXPECT_EQ(ModulePattern::Parse("")->PlaceIn("abc", work), 0u);
  EXPECT_EQ(ModulePattern::Parse("d")->PlaceIn("abc", work), std::string_view::npos);
}

TEST(ModulePattern, BeginsAtTheStartAndEndsWithAModule) {
  EXPECT_TRUE(Begins("model.vision", "model.vision.patch"));
  EXPECT_TRUE(Begins("model.vision.patch", "model.vision.patch"));
  EXPECT_TRUE(Begins(R"(model\.)", "model.vision"));
  EXPECT_TRUE(Begins("layer.*", "layer.11.attn"));
  EXPECT_FALSE(Begins("layer.1", "layer.11.attn"));
  EXPECT_FALSE(Begins("mlp.gate", "mlp.gate_proj"));
  EXPECT_FALSE(Begins("vision", "model.vision"));
}

TEST(ModulePattern, RefusesWhatItDoesNotRead) {
  for (const char* pattern :
       {"(",   "a)",  "(a",    "[a",        "[",     "*a",         "a**",     "a{2",   "a{2,1}",   "a{x}", "a{9999}",
        "{1}", "a\\", "[z-a]", R"([\d-z])", R"(\1)", R"(\bmodel)", "(?<=a)b", "(?i)a", "(?P<n>a)", "a++",  "a|*"}) {
    const auto parsed = ModulePattern::Parse(pattern);
    EXPECT_FALSE(parsed) << pattern;
    if (!parsed) {
      EXPECT_EQ(parsed.error().code, ErrorCode::kBadModel);
    }
  }
  EXPECT_FALSE(ModulePattern::Parse(std::string(ModulePattern::kMaxPattern + 1, 'a')));
  EXPECT_FALSE(ModulePattern::Parse(std::string(100, '(') + std::string(100, ')')));
}

// What takes other engines exponential time.
TEST(ModulePattern, TimeIsBounded) {
  const std::string name(ModulePattern::kMaxName, 'a');
  for (const char* pattern : {"(a*)*b", "(a|aa)+$b", "(a|a)*b", "(.*)(.*)(.*)(.*)(.*)x", "((((((a*)*)*)*)*)*)*b",
                              "((((a{1000}){1000}){1000}){1000}){1000}", "(?!(?!(?!(?!.*.*.*b).*b).*b).*b)b"}) {
    int64_t work = 0;
    const auto parsed = ModulePattern::Parse(pattern);
    ASSERT_TRUE(parsed) << pattern;
    EXPECT_FALSE(parsed->Finds(name, work) && work <= ModulePattern::kMaxWork) << pattern;
    EXPECT_LE(work, 2 * ModulePattern::kMaxWork) << pattern;
  }
}

TEST(ModulePattern, RulesForOtherModulesCostLittle) {
  const auto pattern = ModulePattern::Parse(R"(^model\.language_model\.layers\.17\.mlp\.gate_proj$)");
  ASSERT_TRUE(pattern);
  int64_t work = 0;
  EXPECT_FALSE(pattern->Finds("model.language_model.layers.18.self_attn.q_proj", work));
  EXPECT_LT(work * 1200 * 250, ModulePattern::kMaxWork) << "a rule for each matrix of an E2B";
  const int64_t before = work;
  EXPECT_FALSE(pattern->Finds(std::string(ModulePattern::kMaxName + 1, 'a'), work));
  EXPECT_GT(work, before) << "a name that is not looked at costs, too";
}

}  // namespace
}  // namespace carat::gemma
