// carat bench: the figures are the machine's, their form is ours.
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/cli/command.h"

namespace carat::testing_support {
namespace {

class BenchCommandTest : public CommandTest {
 protected:
  // Runs a small bench with `more` options, and reads its JSON.
  Json Run(std::vector<std::string> more) const {
    more.insert(more.begin(), {"bench", kModel, "--reps", "2", "--json"});
    const Outcome outcome = RunCarat(more);
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(outcome.err, "");
    auto json = ParseJson(outcome.out, "the figures");
    EXPECT_TRUE(json) << outcome.out;
    return json ? *json : Json();
  }
  static void ExpectFigure(const Json& json, const std::string& name) {
    const auto median = json.at(name).get<double>();
    const auto range = json.at(name + "_range").get<std::vector<double>>();
    ASSERT_EQ(range.size(), 2u);
    EXPECT_GT(range[0], 0) << name;
    EXPECT_LE(range[0], median) << name;
    EXPECT_LE(median, range[1]) << name;
  }

  const std::string kModel = Data("golden/gguf-q8_0-arrays/model.gguf");  // of 512 positions
};

TEST_F(BenchCommandTest, MeasuresWhatItIsAsked) {
  const Json json = Run({"--prefill", "20,7", "--depth", "40,0", "--decode", "2"});
  ASSERT_EQ(json.at("prefill").size(), 2u);
  EXPECT_EQ(json["prefill"][0]["tokens"], 20);
  EXPECT_EQ(json["prefill"][1]["tokens"], 7);
  for (const Json& row : json["prefill"]) ExpectFigure(row, "tokens_per_s");
  ASSERT_EQ(json.at("decode").size(), 2u);
  EXPECT_EQ(json["decode"][0]["depth"], 0);
  EXPECT_EQ(json["decode"][1]["depth"], 40);
  for (const Json& row : json["decode"]) {
    for (const char* name : {"tokens_per_s", "bytes_per_s", "share_of_bandwidth"}) ExpectFigure(row, name);
  }
  EXPECT_GT(json["decode"][1]["bytes_per_token"], json["decode"][0]["bytes_per_token"]) << "the cache is read too";
  for (const char* name : {"load_s", "first_token_s", "bandwidth_bytes_per_s"}) ExpectFigure(json, name);
  EXPECT_GT(json["peak_memory_bytes"], 1000000);
  EXPECT_GT(json["kv_bytes"], 0);
}

TEST_F(BenchCommandTest, DepthsMayBeNearEachOther) {
  const Json json = Run({"--prefill", "0", "--depth", "3,0,3", "--decode", "8"});
  ASSERT_EQ(json.at("decode").size(), 3u);
  EXPECT_EQ(json["decode"][0]["depth"], 0);
  EXPECT_EQ(json["decode"][1]["depth"], 3);
  EXPECT_EQ(json["decode"][1]["bytes_per_token"], json["decode"][2]["bytes_per_token"]);
}

TEST_F(BenchCommandTest, LeavesOutWhatTheModelHasNoPositionsFor) {
  const Json json = Run({"--decode", "2"});
  ASSERT_EQ(json.at("prefill").size(), 2u);
  EXPECT_EQ(json["prefill"][1]["tokens"], 512);
  ASSERT_EQ(json.at("decode").size(), 1u);
  EXPECT_FALSE(json.contains("agent"));
}

TEST_F(BenchCommandTest, LeavesOutWhatIsNotWanted) {
  EXPECT_EQ(Run({"--prefill", "0", "--decode", "0"}).at("prefill").size(), 0u);
  const Json json = Run({"--prefill", "4", "--decode", "0"});
  EXPECT_EQ(json.at("decode").size(), 0u);
  EXPECT_FALSE(json.contains("bandwidth_bytes_per_s"));
}

TEST_F(BenchCommandTest, PrintsATable) {
  const Outcome outcome = RunCarat({"bench", kModel, "--reps", "1", "--decode", "1", "--prefill", "5"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* line : {"load ", "prefill 5 ", "decode behind 0 ", "bandwidth ", "peak memory "})
    EXPECT_NE(outcome.out.find(std::string("\n") + line), std::string::npos) << outcome.out;
}

TEST_F(BenchCommandTest, Mistakes) {
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--prefill", "600"}), 2, "a context of 600 tokens"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--prefill", "-1"}), 2, "-1"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--depth", "2147483647"}), 2, "--depth"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--reps", "0"}), 2, "--reps"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", Path("none.gguf")}), 3, "none.gguf"));
}

}  // namespace
}  // namespace carat::testing_support
