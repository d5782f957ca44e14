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
  for (const Json& row : json["prefill"]) {
    ExpectFigure(row, "tokens_per_s");
    ExpectFigure(row, "operations_per_s");
    EXPECT_GT(row["block_operations"], 0) << "products of 8-bit weights";
    EXPECT_GT(row["float_operations"], 0) << "attention";
  }
  EXPECT_GT(json["prefill"][0]["block_operations"], json["prefill"][1]["block_operations"]);
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

// The scalar kernels, which some machines have alone, name no limit.
TEST_F(BenchCommandTest, ComparesWithTheArithmeticLimitWhereThereIsOne) {
  const Json json = Run({"--prefill", "20", "--decode", "0"});
  ASSERT_EQ(json["kernels"] == "scalar", !json.contains("peak_operations_per_s"));
  if (json["kernels"] != "scalar") {
    for (const char* codes : {"integer", "blocks"})
      EXPECT_GT(json["peak_operations_per_s"][codes], json["peak_operations_per_s"]["float"]);
    ExpectFigure(json["prefill"][0], "share_of_arithmetic");
    EXPECT_LT(json["prefill"][0]["share_of_arithmetic"], 1);
  }
  const Json scalar = Run({"--cpu", "scalar", "--prefill", "20", "--decode", "0"});
  EXPECT_FALSE(scalar["prefill"][0].contains("share_of_arithmetic"));
}

TEST_F(BenchCommandTest, SaysWhatTheBytesPredict) {
  const Json json = Run({"--prefill", "0", "--depth", "0,200", "--decode", "2"});
  EXPECT_FALSE(json["decode"][0].contains("share_of_prediction")) << "the point that it is predicted from";
  EXPECT_DOUBLE_EQ(
      json["decode"][1]["share_of_prediction"].get<double>(),
      json["decode"][1]["share_of_bandwidth"].get<double>() / json["decode"][0]["share_of_bandwidth"].get<double>());
}

TEST_F(BenchCommandTest, DrawsAPlot) {
  const std::string path = Path("plot.svg");
  Run({"--prefill", "8,16", "--depth", "0,8", "--decode", "1", "--plot", path});
  const std::string svg = Read(path);
  EXPECT_TRUE(svg.starts_with("<svg ")) << svg;
  EXPECT_TRUE(svg.ends_with("</svg>\n")) << svg;
  for (const char* text : {">Prefill<", ">Decode<", ">8<", ">16<", "GB/s allows<", "what the bytes predict"})
    EXPECT_NE(svg.find(text), std::string::npos) << text;
  EXPECT_EQ(svg.find("nan"), std::string::npos);
  EXPECT_EQ(svg.find("inf"), std::string::npos);
}

TEST_F(BenchCommandTest, DrawsASinglePointAndNothingToo) {
  const std::string path = Path("plot.svg");
  Run({"--prefill", "8", "--depth", "3", "--decode", "1", "--plot", path});
  EXPECT_EQ(Read(path).find("nan"), std::string::npos);
  Run({"--prefill", "0", "--decode", "0", "--plot", path});
  EXPECT_TRUE(Read(path).ends_with("</svg>\n"));
}

TEST_F(BenchCommandTest, PrintsATable) {
  const Outcome outcome = RunCarat({"bench", kModel, "--reps", "1", "--decode", "1", "--prefill", "5"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const char* line : {"load ", "prefill 5 ", "... arithmetic ", "decode behind 0 ", "bandwidth ", "peak memory "})
    EXPECT_NE(outcome.out.find(std::string("\n") + line), std::string::npos) << outcome.out;
}

TEST_F(BenchCommandTest, Mistakes) {
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--prefill", "600"}), 2, "a context of 600 tokens"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--prefill", "-1"}), 2, "-1"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--depth", "2147483647"}), 2, "--depth"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--reps", "0"}), 2, "--reps"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--plot", "a.png"}), 2, "a.png: only SVG is written"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", kModel, "--plot", Path("none/a.svg")}), 1, "cannot be written"));
  EXPECT_TRUE(FailsWith(RunCarat({"bench", Path("none.gguf")}), 3, "none.gguf"));
}

}  // namespace
}  // namespace carat::testing_support
