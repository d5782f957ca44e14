// --ram and carat doctor --plan: what is planned, and that it holds.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "tests/cli/command.h"
#include "tests/cli/demo_weights.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CARAT_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CARAT_SANITIZED 1
#endif
#endif

namespace carat::testing_support {
namespace {

#ifdef CARAT_SANITIZED
constexpr bool kMemoryIsPlain = false;  // a sanitizer keeps a memory of its own beside the program's
#else
constexpr bool kMemoryIsPlain = true;
#endif

Json Parsed(const Outcome& outcome) {
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  auto json = ParseJson(outcome.out, "the plan");
  EXPECT_TRUE(json) << outcome.out;
  return json ? *json : Json();
}

class PlanCommandTest : public CommandTest {
 protected:
  const std::string kModel = Data("golden/gguf-q8_0-arrays/model.gguf");  // of 512 positions
};

TEST_F(PlanCommandTest, DoctorPrintsAPlan) {
  const Outcome outcome = RunCarat({"doctor", "--plan", kModel, "--ram", "300MB"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* line :
       {"weights ", "\nkeys and values ", "512 tokens, f16\n", "\nactivations ", "tokens at a time\n", "\ntokenizer ",
        "\nprogram ", "\npeak ", "\ngiven                300.0 MB\n"})
    EXPECT_NE(outcome.out.find(line), std::string::npos) << line << "\n" << outcome.out;
}

TEST_F(PlanCommandTest, DoctorPrintsAPlanAsJson) {
  const Json plan = Parsed(
      RunCarat({"doctor", "--plan", kModel, "--ram", "0.3GB", "--context", "100", "--kv-type", "f32", "--json"}));
  EXPECT_EQ(plan.at("context"), 100);
  EXPECT_EQ(plan.at("kv_type"), "f32");
  EXPECT_EQ(plan.at("ram_bytes"), 300'000'000);
  uint64_t sum = 0;
  for (const Json& part : plan.at("parts")) sum += part.at("bytes").get<uint64_t>();
  EXPECT_GE(plan.at("peak_bytes").get<uint64_t>(), sum);
}

TEST_F(PlanCommandTest, WhatDoesNotFitIsRefusedWithATable) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"run", kModel, "--ram", "2MB", "--raw", "a"},
        {"doctor", "--plan", kModel, "--ram", "2MB"},
        {"bench", kModel, "--ram", "2MB"},
        {"eval", kModel, "--ram", "2MB", "--logprobs", Write("text.txt", "a text to predict")}}) {
    const Outcome outcome = RunCarat(arguments);
    EXPECT_EQ(outcome.exit_code, 6) << arguments[0] << outcome.err;
    EXPECT_EQ(outcome.out, "") << arguments[0];
    for (const char* line :
         {"weights ", "\ngiven                  2.0 MB\ncarat: ", "does not fit into 2.0 MB", "MB would work\n"})
      EXPECT_NE(outcome.err.find(line), std::string::npos) << arguments[0] << "\n" << outcome.err;
  }
}

TEST_F(PlanCommandTest, Mistakes) {
  EXPECT_TRUE(FailsWith(RunCarat({"run", kModel, "--ram", "1500", "a"}), 2, "'1500' has no unit"));
  EXPECT_TRUE(FailsWith(RunCarat({"run", kModel, "--ram", "lots", "a"}), 2, "'lots' is no amount of memory"));
  EXPECT_TRUE(
      FailsWith(RunCarat({"run", kModel, "--ram", "1GB", "--context", "9999", "a"}), 2, "a context of 9999 tokens"));
  EXPECT_TRUE(FailsWith(RunCarat({"doctor", "--plan", Path("none.gguf")}), 3, "none.gguf"));
}

// The promise: what a run takes at its peak is below the plan, and the plan below what was given.
TEST_F(PlanCommandTest, ASmallModelStaysBelowItsPlan) {
  if (!kMemoryIsPlain) GTEST_SKIP();
  const Json plan = Parsed(RunCarat({"doctor", "--plan", kModel, "--ram", "40MB", "--json"}));
  const Json reply = Parsed(RunCarat({"run", kModel, "--ram", "40MB", "--raw", std::string(400, 'a'), "--max-tokens",
                                      "8", "--temperature", "0", "--json"}));
  EXPECT_LT(reply.at("peak_memory_bytes"), plan.at("peak_bytes"));
  EXPECT_LE(plan.at("peak_bytes"), 40'000'000);
}

class PlanRealWeightsTest : public DemoWeightsTest {};

TEST_F(PlanRealWeightsTest, AFullContextStaysBelowItsPlan) {
  if (!kMemoryIsPlain) GTEST_SKIP();
  std::string text;
  for (int i = 0; i < 1900; ++i) text += i % 7 == 0 ? " house" : " garden";
  for (const char* ram : {"350MB", "420MB"}) {
    const std::vector<std::string> memory = {"--ram", ram, "--context", "2048"};
    std::vector<std::string> doctor = {"doctor", "--plan", DemoWeights().string(), "--json"};
    std::vector<std::string> run = {"run", DemoWeights().string(), "--raw", text, "--json", "--max-tokens",
                                    "8",   "--temperature",        "0"};
    doctor.insert(doctor.end(), memory.begin(), memory.end());
    run.insert(run.end(), memory.begin(), memory.end());
    const Json plan = Parsed(RunCarat(doctor)), reply = Parsed(RunCarat(run));
    EXPECT_GT(reply.at("prompt_tokens"), 1800);
    const auto given = plan.at("ram_bytes").get<uint64_t>(), planned = plan.at("peak_bytes").get<uint64_t>();
    const auto peak = reply.at("peak_memory_bytes").get<uint64_t>();
    EXPECT_LT(peak, planned) << ram;
    EXPECT_LE(planned, given) << ram;
    EXPECT_GT(peak + peak / 6, planned) << ram << ": a plan that is far from the truth is a guess";
  }
}

}  // namespace
}  // namespace carat::testing_support
