// carat inspect.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/json.h"
#include "tests/cli/command.h"
#include "tests/support/gguf_builder.h"

namespace carat::testing_support {
namespace {

class InspectCommandTest : public CommandTest {
 protected:
  static Json Report(const std::string& model, const std::string& option = "--json") {
    const Outcome outcome = RunCarat({"inspect", model, "--json", option});
    EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
    const auto report = ParseJson(outcome.out, "the report");
    EXPECT_TRUE(report) << report.error().message;
    return report ? *report : Json();
  }
  // The bytes of a use or type in the report; 0 if it has none.
  static uint64_t Bytes(const Json& sums, const char* key, const char* name) {
    for (const Json& sum : sums)
      if (sum[key] == name) return sum["bytes"].get<uint64_t>();
    return 0;
  }
};

TEST_F(InspectCommandTest, ReportsTheDecoder) {
  const Json report = Report(Data("golden/hf-e2b/model"));
  EXPECT_EQ(report["name"], "model");
  EXPECT_EQ(report["container"], "Hugging Face folder");
  EXPECT_EQ(report["architecture"], "gemma4");
  const Json& decoder = report["decoder"];
  EXPECT_EQ(decoder["hidden"], 22);
  EXPECT_EQ(decoder["query_heads"], 3);
  EXPECT_EQ(decoder["window"], 4);
  EXPECT_EQ(decoder["logit_soft_cap"], 20.0);
  EXPECT_EQ(decoder["norm_epsilon"], 1e-6);
  EXPECT_EQ(decoder["ple_width"], 6);
  EXPECT_EQ(decoder["ple_row_bytes"], 6 * 6 * 4);
  EXPECT_EQ(decoder["kv_bytes_per_token_global"], 2 * 2 * 12);
  EXPECT_EQ(decoder["kv_bytes_per_token_sliding"], 2 * 2 * 2 * 6);
  ASSERT_EQ(decoder["layers"].size(), 6u);
  EXPECT_EQ(decoder["layers"][3],
            Json({{"attention", "sliding"}, {"kv_heads", 1}, {"head_size", 6}, {"mlp", 28}, {"kv_layer", 1}}));
  EXPECT_EQ(report["tokenizer"], nullptr);
  EXPECT_EQ(report["chat_format"], nullptr);
  EXPECT_EQ(report["sampling"]["top_p"], 0.95);
}

TEST_F(InspectCommandTest, SumsTheBytesByUseAndByType) {
  const Json report = Report(Data("golden/hf-e2b/model"), "--tensors");
  const Json& uses = report["uses"];
  EXPECT_EQ(Bytes(uses, "use", "per_layer_embeddings"), 50u * 144);
  EXPECT_GT(Bytes(uses, "use", "idle"), 0u);  // keys and values of layers that read others'
  uint64_t by_use = 0, by_type = 0, listed = 0;
  for (const Json& sum : uses) by_use += sum["bytes"].get<uint64_t>();
  for (const Json& sum : report["types"]) by_type += sum["bytes"].get<uint64_t>();
  for (const Json& tensor : report["tensors"]) {
    listed += tensor["bytes"].get<uint64_t>();
    const bool dead = tensor["name"] == "model.language_model.layers.4.self_attn.k_proj.weight";
    if (dead) {
      EXPECT_EQ(tensor["use"], "idle");
      EXPECT_EQ(tensor["shape"], Json({6, 22}));
      EXPECT_EQ(tensor["type"], "F32");
    }
  }
  EXPECT_EQ(by_use, by_type);
  EXPECT_EQ(by_use, listed);
}

TEST_F(InspectCommandTest, NamesTheTowers) {
  const std::filesystem::path folder = Path("");
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(Data(std::string("golden/hf-e2b/model/") + file), folder / file);
  const std::string header = R"({"model.vision_tower.x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},)"
                             R"("model.embed_vision.y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                             R"("model.audio_tower.z":{"dtype":"F32","shape":[3],"data_offsets":[12,24]}})";
  Write("towers.safetensors", GgufBuilder::Raw<uint64_t>(header.size()) + header + std::string(24, '\0'));
  Write("model.safetensors.index.json", R"({"weight_map": {"model.vision_tower.x": "towers.safetensors",
        "model.language_model.norm.weight": "model.safetensors"}})");
  const Json uses = Report(folder)["uses"];
  EXPECT_EQ(Bytes(uses, "use", "vision"), 12u);
  EXPECT_EQ(Bytes(uses, "use", "audio"), 12u);
  const std::string text = RunCarat({"inspect", folder}).out;
  EXPECT_NE(text.find("vision encoder, not used yet"), std::string::npos) << text;
}

TEST_F(InspectCommandTest, ShowsTheBitsOfLowBitReleases) {
  const Json report = Report(Data("golden/mobile-e2b/model"));
  const auto share = [&](const std::string& role, const std::string& type) {
    for (const Json& entry : report["weights"])
      if (entry["role"] == role && entry["type"] == type) return entry;
    ADD_FAILURE() << role << " " << type << " is not there";
    return Json();
  };
  EXPECT_EQ(share("mlp", "C4")["layers"], Json({0, 1}));
  EXPECT_EQ(share("mlp", "C2")["layers"], Json({2, 3}));
  // 40 rows of 7 bytes twice, 28 rows of 10 bytes, and four bytes of scale for each row, in two layers.
  EXPECT_EQ(share("mlp", "C2")["bytes"], 2 * (2 * 40 * 7 + 28 * 10 + 108 * 4));
  EXPECT_EQ(share("attention", "C4")["layers"], Json({0, 1, 2, 3}));
  EXPECT_EQ(share("ple gate", "C8")["elements"], 4 * 8 * 28);
  EXPECT_EQ(share("head", "C2")["token_bytes"], 96 * (7 + 4));
  EXPECT_EQ(share("embedding", "C2")["token_bytes"], 7 + 4);       // a row
  EXPECT_EQ(share("ple table", "C4")["token_bytes"], 16 + 4 * 4);  // with a scale for each layer
  uint64_t token_bytes = 0;
  for (const Json& entry : report["weights"]) token_bytes += entry["token_bytes"].get<uint64_t>();
  EXPECT_EQ(report["token_bytes"], token_bytes);
  EXPECT_EQ(Bytes(report["uses"], "use", "embedding"), 96u * (7 + 4));
  EXPECT_EQ(Bytes(report["uses"], "use", "idle"), 4u * 4);  // copies of other layers' cache scales
  const std::string text = RunCarat({"inspect", Data("golden/mobile-e2b/model")}).out;
  EXPECT_NE(text.find("\nmlp             C2     3.03  2-3 "), std::string::npos) << text;
  EXPECT_NE(text.find("C8, C4, C2: codes of 8, 4, 2 bits"), std::string::npos) << text;
}

TEST_F(InspectCommandTest, ShowsTheBitsOfTowers) {
  const std::filesystem::path folder = Path("");
  for (const char* file : {"config.json", "model.safetensors"})
    std::filesystem::copy_file(Data(std::string("golden/mobile-e2b/model/") + file), folder / file);
  // Bytes of a tensor each, and of its scales.
  const std::vector<std::tuple<std::string, std::string, int, int>> tensors = {
      {"model.vision_tower.encoder.layers.0.mlp.up_proj.linear.weight", "I8", 4, 6},
      {"model.vision_tower.patch_embedder.input_proj.weight", "BF16", 2, 3},
      {"model.audio_tower.layers.0.lconv1d.linear_start.linear.weight", "U8", 4, 3},
      {"model.audio_tower.layers.0.lconv1d.linear_end.linear.weight", "U8", 4, 2}};
  Json header, index;
  size_t end = 0;
  const auto add = [&](const std::string& name, const std::string& type, int rows, int columns, int width) {
    const size_t begin = std::exchange(end, end + static_cast<size_t>(rows * columns * width));
    header[name] = {{"dtype", type}, {"shape", {rows, columns}}, {"data_offsets", {begin, end}}};
    index["weight_map"][name] = "towers.safetensors";
  };
  for (const auto& [name, type, rows, columns] : tensors) {
    add(name, type, rows, columns, type == "BF16" ? 2 : 1);
    if (type != "BF16") add(name + "_scale", "F32", rows, 1, 4);
  }
  index["weight_map"]["model.language_model.norm.weight"] = "model.safetensors";
  Write("towers.safetensors",
        GgufBuilder::Raw<uint64_t>(header.dump().size()) + header.dump() + std::string(end, '\0'));
  Write("model.safetensors.index.json", index.dump());
  Json config = Json::parse(std::ifstream(folder / "config.json"));
  config["quantization_config"]["module_quant_configs"][R"(audio_tower\.layers\.\d+\.lconv1d\.linear_start\.)"]
        ["num_bits"] = 4;
  config["quantization_config"]["modules_to_not_convert"] = Json::array();
  Write("config.json", config.dump());
  std::map<std::pair<std::string, std::string>, std::pair<int, int>> shares;
  const Json report = Report(folder);
  for (const Json& share : report["weights"]) {
    const std::string role = share["role"].get<std::string>();
    if (role.ends_with("encoder")) shares[{role, share["type"]}] = {share["elements"], share["bytes"]};
  }
  const std::map<std::pair<std::string, std::string>, std::pair<int, int>> expected = {
      {{"vision encoder", "C8"}, {24, 24 + 16}},
      {{"vision encoder", "BF16"}, {6, 12}},
      {{"audio encoder", "C4"}, {24, 12 + 16}},
      {{"audio encoder", "C2"}, {32, 8 + 16}}};
  EXPECT_EQ(shares, expected);
}

TEST_F(InspectCommandTest, ReadsWellAndKnowsSplitSets) {
  const std::string model = Data("golden/gguf-f32-split/model-00001-of-00003.gguf");
  const Outcome outcome = RunCarat({"inspect", model, "--tensors"});
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_EQ(outcome.err, "");
  for (const char* line : {"\narchitecture  gemma4\n", "              GGUF v3, 87.9 KiB in 3 files\n",
                           "\nlayers  attention  KV heads  head size  MLP  keys and values\n",
                           "\n0 2     global            1         14   12  its own\n",
                           "\n4       sliding           1          6   24  those of layer 3\n", "\ntokenizer     none;",
                           "\nblk.0.attn_k.weight               F32   14 x 20   1120  decoder\n"}) {
    EXPECT_NE(outcome.out.find(line), std::string::npos) << line << "in\n" << outcome.out;
  }
  size_t longest = 0;
  for (size_t at = 0, end = 0; (end = outcome.out.find('\n', at)) != std::string::npos; at = end + 1)
    longest = std::max(longest, end - at);
  EXPECT_LE(longest, 120u);
}

TEST_F(InspectCommandTest, ShowsTheTensorsOfModelsThatDoNotRun) {
  GgufBuilder gguf;
  gguf.String("general.architecture", "clip").String("general.name", "eyes");
  gguf.Tensor({.name = "v.blk.0.attn_q.weight", .dims = {4, 2}, .data = std::string(32, '\0')});
  const Outcome outcome = RunCarat({"inspect", Write("mmproj.gguf", gguf.Build()), "--tensors"});
  EXPECT_TRUE(FailsWith(outcome, 4, "mmproj"));
  EXPECT_NE(outcome.out.find("model         eyes\n"), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("v.blk.0.attn_q.weight  F32   2 x 4     32"), std::string::npos) << outcome.out;
}

TEST_F(InspectCommandTest, Mistakes) {
  EXPECT_TRUE(FailsWith(RunCarat({"inspect", Path("nothing.gguf")}), 3, "nothing.gguf: no such file or folder"));
  EXPECT_TRUE(FailsWith(RunCarat({"inspect", Write("x.gguf", "GGUF")}), 4, "x.gguf: too short"));
  ASSERT_EQ(mkfifo(Path("pipe.gguf").c_str(), 0600), 0);
  EXPECT_TRUE(FailsWith(RunCarat({"inspect", Path("pipe.gguf")}), 4, "pipe.gguf: is a pipe; only a regular file"));
  EXPECT_TRUE(FailsWith(RunCarat({"tokenize", "/dev/null", "x"}), 4, "/dev/null: is a device; only a regular file"));
  EXPECT_TRUE(FailsWith(RunCarat({"inspect"}), 2, "MODEL is required"));
}

}  // namespace
}  // namespace carat::testing_support
