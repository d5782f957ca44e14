// Gemma 3 270M, real weights of five types: a page of English against what the file means
// (tools/reference/real_weights.py).
#include <cmath>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/cli/command.h"
#include "tests/cli/demo_weights.h"
#include "tests/support/fetched_data.h"

namespace carat::testing_support {
namespace {

struct Limits {
  double rms = 0;         // of the differences between log-probabilities
  double perplexity = 0;  // relative
};

class RealWeightsTest : public DemoWeightsTest {
 protected:
  static void CheckPage(const std::vector<std::string>& options, const Limits& limits) {
    std::vector<std::string> arguments = {"eval", DemoWeights().string(), "--logprobs", Data("gemma3-270m/page.txt"),
                                          "--json"};
    arguments.insert(arguments.end(), options.begin(), options.end());
    const Outcome outcome = RunCarat(arguments);
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto got = ParseJson(outcome.out, "the answer");
    const auto want = ParseJson(Read(Data("gemma3-270m/log_probs.json")), "log_probs.json");
    ASSERT_TRUE(got && want);

    ASSERT_EQ(got->at("tokens").get<std::vector<int>>(), want->at("tokens").get<std::vector<int>>());
    const auto got_probs = got->at("log_probs").get<std::vector<double>>();
    const auto want_probs = want->at("log_probs").get<std::vector<double>>();
    ASSERT_EQ(got_probs.size(), 341U);
    ASSERT_EQ(want_probs.size(), 341U);
    double squares = 0;
    for (size_t i = 0; i < got_probs.size(); ++i) squares += std::pow(got_probs[i] - want_probs[i], 2);
    const double rms = std::sqrt(squares / static_cast<double>(got_probs.size()));
    const double perplexity = got->at("perplexity").get<double>() / want->at("perplexity").get<double>() - 1;
    EXPECT_LE(rms, limits.rms);
    EXPECT_LE(std::abs(perplexity), limits.perplexity);
    RecordProperty("rms", std::to_string(rms));
    RecordProperty("perplexity", std::to_string(perplexity));
  }
};

TEST_F(RealWeightsTest, ExactlyWhatTheFileMeans) { CheckPage({"--exact"}, {.rms = 0.002, .perplexity = 0.001}); }

// The path of every answer rounds activations to 8 bits. (llama.cpp, which does so too, is off by rms 0.11.)
TEST_F(RealWeightsTest, TheNormalPathStaysClose) { CheckPage({}, {.rms = 0.12, .perplexity = 0.01}); }

TEST_F(RealWeightsTest, TheSameBitsWithAnyNumberOfThreads) {
  const std::string page = Read(Data("gemma3-270m/page.txt"));
  const auto run = [&](const char* threads) {
    const std::vector<std::string> arguments = {"eval",  DemoWeights().string(), "--json", "--threads",
                                                threads, "--logprobs",           "-"};
    const Outcome outcome = RunCarat(arguments, {.input = page.substr(0, 200)});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    return outcome.out;
  };
  const std::string one = run("1");
  EXPECT_EQ(run("2"), one);
  EXPECT_EQ(run("3"), one);
}

}  // namespace
}  // namespace carat::testing_support
