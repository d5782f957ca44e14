// Folders of quantised weights with one fault each: refused with a line that names the file and the fault.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/json.h"
#include "carat/engine.h"
#include "carat/session.h"
#include "formats/checkpoint.h"
#include "gemma/load_quantized.h"
#include "tests/support/changed_folder.h"
#include "tests/support/dump.h"

namespace carat {
namespace {

namespace fs = std::filesystem;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
const std::string kText = "model.language_model.";
const std::string kGate = kText + "layers.0.mlp.gate_proj.";

// A checkpoint of the project's golden set.
struct Folder : testing_support::ChangedFolder {
  explicit Folder(const std::string& name)
      : ChangedFolder(fs::path(CARAT_SOURCE_DIR) / "tests/data/golden" / name / "model") {}

  // Adds a column to a tensor of bytes.
  void Widen(const std::string& name) {
    Entry& entry = At(name);
    entry.shape[1] += 1;
    entry.bytes.resize(entry.bytes.size() + static_cast<size_t>(entry.shape[0]));
  }
  void Rule(const char* pattern) { Quantization()["module_quant_configs"][pattern]["num_bits"] = 4; }
  Json& Quantization() { return config["quantization_config"]; }
  Json& Group() { return Quantization()["config_groups"]["group_0"]; }
};

struct Fault {
  const char* name;
  const char* model;
  std::function<void(Folder&)> apply;
  const char* message;  // a part of it
};

const Fault kFaults[] = {
    {"WidthThatFitsNoBits", "mobile-e2b", [](Folder& f) { f.Widen(kGate + "weight"); },
     "gate_proj.weight' has rows of 15 U8, which are no 28 codes of 2, 4 or 8 bits"},
    {"CodesOfAnotherType", "mobile-e2b", [](Folder& f) { f.At(kGate + "weight").type = quant::Type::kI8; },
     "has rows of 14 I8"},
    {"WeightMissing", "mobile-e2b", [](Folder& f) { f.Remove(kGate + "weight"); }, "gate_proj.weight' is missing"},
    {"ScaleMissing", "mobile-e2b", [](Folder& f) { f.Remove(kGate + "weight_scale"); },
     "gate_proj.weight_scale' is missing"},
    {"ScaleNan", "mobile-e2b", [](Folder& f) { f.SetFloat(kGate + "weight_scale", 3, kNan); },
     "gate_proj.weight_scale' has an element that is no scale"},
    {"ScaleNegative", "mobile-e2b", [](Folder& f) { f.SetFloat(kGate + "weight_scale", 19, -0.5f); },
     "gate_proj.weight_scale' has an element that is no scale"},
    {"ScaleZero", "mobile-e2b", [](Folder& f) { f.SetFloat(kGate + "weight_scale", 5, 0.0f); },
     "gate_proj.weight_scale' has an element that is no scale (negative, zero, infinite"},
    {"ScaleInfinite", "mobile-e2b", [](Folder& f) { f.SetFloat(kGate + "weight_scale", 5, HUGE_VALF); },
     "gate_proj.weight_scale' has an element that is no scale"},
    {"ScaleInteger", "mobile-e2b", [](Folder& f) { f.At(kGate + "weight_scale").type = quant::Type::kI32; },
     "gate_proj.weight_scale' is not F32"},
    {"ScaleOfAnotherShape", "mobile-e2b", [](Folder& f) { f.At(kGate + "weight_scale").shape = {10, 2}; },
     "gate_proj.weight_scale' has the shape [10, 2]"},
    {"InputScaleMissing", "mobile-e2b", [](Folder& f) { f.Remove(kGate + "input_activation_scale"); },
     "gate_proj.input_activation_scale' is missing"},
    {"OutputScaleNan", "mobile-e2b", [](Folder& f) { f.SetFloat(kGate + "output_activation_scale", 0, kNan); },
     "gate_proj.output_activation_scale' is no scale"},
    {"InputScaleNegative", "mobile-e2b", [](Folder& f) { f.SetFloat(kGate + "input_activation_scale", 0, -0.1f); },
     "gate_proj.input_activation_scale' is no scale"},
    {"InputScaleInfinite", "mobile-e2b", [](Folder& f) { f.SetFloat(kGate + "input_activation_scale", 0, HUGE_VALF); },
     "gate_proj.input_activation_scale' is no scale"},
    {"InputScaleOfTwoNumbers", "mobile-e2b",
     [](Folder& f) {
       f.At(kGate + "input_activation_scale").shape = {2};
       f.At(kGate + "input_activation_scale").bytes.resize(8);
     },
     "is F32 [2], not one F32 number"},
    {"EmbeddingScaleMissing", "mobile-e2b", [](Folder& f) { f.Remove(kText + "embed_tokens.embedding_scale"); },
     "embed_tokens.embedding_scale' is missing"},
    {"EmbeddingScaleNan", "mobile-e2b", [](Folder& f) { f.SetFloat(kText + "embed_tokens.embedding_scale", 9, kNan); },
     "embed_tokens.embedding_scale' has an element that is no scale"},
    {"TableScalesThatDivideNothing", "mobile-e2b",
     [](Folder& f) {
       f.At(kText + "embed_tokens_per_layer.embedding_scale").shape = {96, 3};
       f.At(kText + "embed_tokens_per_layer.embedding_scale").bytes.resize(96 * 3 * 4);
     },
     "is F32 [96, 3], not F32 [96, a divisor of 32]"},
    {"EmbeddingMissing", "mobile-e2b", [](Folder& f) { f.Remove(kText + "embed_tokens.embedding_quantized"); },
     "there is no tensor"},
    {"HeadMissing", "mobile-e2b", [](Folder& f) { f.Remove("lm_head.weight"); }, "'lm_head.weight' is missing"},
    {"HalfOfTheCacheScales", "mobile-e2b", [](Folder& f) { f.Remove(kText + "layers.1.self_attn.v_cache_scale"); },
     "layers.1.self_attn.v_cache_scale' is missing"},
    {"BitsUnknown", "mobile-e2b",
     [](Folder& f) { f.Quantization()["module_quant_configs"]["^lm_head$"]["num_bits"] = 3; },
     "'^lm_head$': num_bits is 3; codes of 2, 4 and 8 bits are read"},
    {"BitsNoNumber", "mobile-e2b", [](Folder& f) { f.Quantization()["num_bits"] = "four"; }, "num_bits"},
    {"PatternNoObject", "mobile-e2b", [](Folder& f) { f.Quantization()["module_quant_configs"]["^lm_head$"] = 2; },
     "'^lm_head$' is not an object"},
    {"PatternOfAnAbsentLayer", "mobile-e2b", [](Folder& f) { f.Rule(R"(language_model\.layers\.77\.mlp)"); },
     R"('language_model\.layers\.77\.mlp' is about no module of the checkpoint)"},
    {"PatternOfAbsentLayers", "mobile-e2b", [](Folder& f) { f.Rule(R"(language_model\.layers\.[7-9]\.mlp\.)"); },
     R"('language_model\.layers\.[7-9]\.mlp\.' is about no module of the checkpoint)"},
    {"PatternOfAlternatives", "mobile-e2b", [](Folder& f) { f.Rule(R"(language_model\.layers\.(7|8|12)\.mlp\.)"); },
     R"('language_model\.layers\.(7|8|12)\.mlp\.' is about no module of the checkpoint)"},
    {"PatternOfAnAbsentPart", "mobile-e2b", [](Folder& f) { f.Rule(R"(layers\.\d+\.self_attn\.sinks)"); },
     R"('layers\.\d+\.self_attn\.sinks' is about no module of the checkpoint)"},
    {"PatternOfAnAbsentTower", "mobile-e2b", [](Folder& f) { f.Rule(R"(video_tower)"); },
     R"('video_tower' is about no module of the checkpoint)"},
    {"PatternOfAnAbsentTowerLayer", "mobile-e2b", [](Folder& f) { f.Rule(R"(vision_tower\.encoder\.layers\.16\.)"); },
     R"('vision_tower\.encoder\.layers\.16\.' is about no module of the checkpoint)"},
    {"PatternThatIsNone", "mobile-e2b", [](Folder& f) { f.Rule(R"(language_model\.layers\.(\d+)"); },
     R"('language_model\.layers\.(\d+' leaves a group open)"},
    {"PatternThatIsNotRead", "mobile-e2b", [](Folder& f) { f.Rule(R"((?<=language_model)\.layers)"); },
     R"('(?<=language_model)\.layers' has a group of a kind that is not read here)"},
    {"PatternThatTakesLong", "mobile-e2b", [](Folder& f) { f.Rule("(?=.*(?=.*(?=.*(?=.*(?=.*!)))))"); },
     "takes too long to look for"},
    {"KeptModuleAbsent", "mobile-e2b",
     [](Folder& f) { f.Quantization()["modules_to_not_convert"].push_back("mlp.router"); },
     "modules_to_not_convert: 'mlp.router' is about no module of the checkpoint"},
    {"KeptModulesNoList", "mobile-e2b", [](Folder& f) { f.Quantization()["modules_to_not_convert"] = 3; },
     "modules_to_not_convert"},
    {"AnotherMethod", "mobile-e2b", [](Folder& f) { f.Quantization()["quant_method"] = "gptq"; },
     "the weights are quantised by 'gptq', which is not supported"},
    {"MethodMissing", "mobile-e2b", [](Folder& f) { f.Quantization().erase("quant_method"); },
     "the weights are quantised by 'unknown'"},
    {"Mlx", "mobile-e2b", [](Folder& f) { f.config["quantization"]["bits"] = 4; }, "quantised for MLX"},

    {"GroupBits", "w4a16", [](Folder& f) { f.Group()["weights"]["num_bits"] = 8; },
     "group_0: weights of 8 bits, type 'int', symmetric, strategy 'group', group size 32, which is not supported"},
    {"GroupSize", "w4a16", [](Folder& f) { f.Group()["weights"]["group_size"] = 128; }, "group size 128"},
    {"GroupAsymmetric", "w4a16", [](Folder& f) { f.Group()["weights"]["symmetric"] = false; }, "asymmetric"},
    {"GroupFloat", "w4a16", [](Folder& f) { f.Group()["weights"]["type"] = "float"; }, "type 'float'"},
    {"GroupChannel", "w4a16", [](Folder& f) { f.Group()["weights"]["strategy"] = "channel"; }, "strategy 'channel'"},
    {"GroupReordered", "w4a16", [](Folder& f) { f.Group()["weights"]["actorder"] = "group"; },
     "activation ordering 'group'"},
    {"GroupActivations", "w4a16", [](Folder& f) { f.Group()["input_activations"] = Json{{"num_bits", 8}}; },
     "input_activations are quantised"},
    {"GroupFormat", "w4a16", [](Folder& f) { f.Group()["format"] = "nvfp4-pack-quantized"; },
     "weights in the format 'nvfp4-pack-quantized'"},
    {"GroupsMissing", "w4a16", [](Folder& f) { f.Quantization()["config_groups"] = Json::object(); },
     "a configuration without groups"},
    {"Format", "w4a16", [](Folder& f) { f.Quantization()["format"] = "float-quantized"; },
     "weights in the format 'float-quantized'"},
    {"CacheScheme", "w4a16", [](Folder& f) { f.Quantization()["kv_cache_scheme"] = Json{{"num_bits", 8}}; },
     "a kv_cache_scheme"},
    {"Transform", "w4a16", [](Folder& f) { f.Quantization()["transform_config"] = Json{{"u", 1}}; },
     "a transform_config"},
    {"ZeroPoints", "w4a16",
     [](Folder& f) {
       f.tensors.push_back({kGate + "weight_zero_point", quant::Type::kI32, {1}, std::vector<std::byte>(4)});
     },
     "gate_proj.weight_zero_point' says that the weights are asymmetric or reordered"},
    {"GroupScaleMissing", "w4a16", [](Folder& f) { f.Remove(kGate + "weight_scale"); },
     "gate_proj.weight_scale' is missing"},
    {"GroupScaleNan", "w4a16",
     [](Folder& f) { f.At(kGate + "weight_scale").bytes[1] = f.At(kGate + "weight_scale").bytes[0] = std::byte{0xff}; },
     "gate_proj.weight_scale' has an element that is no scale"},
    {"PackedWidth", "w4a16", [](Folder& f) { f.At(kGate + "weight_packed").shape = {64, 2}; },
     "gate_proj.weight_packed' has the shape [64, 2] where the configuration asks for [32, 4]"},
    {"ShapeThatIsAnother", "w4a16", [](Folder& f) { f.At(kGate + "weight_shape").bytes[0] = std::byte{31}; },
     "gate_proj.weight_shape' is not the I64 numbers 32 and 32"},
};

class MobileFaultTest : public testing::TestWithParam<Fault> {};

TEST_P(MobileFaultTest, IsNamedInOneLine) {
  Folder folder(GetParam().model);
  GetParam().apply(folder);
  const fs::path path = folder.Write();
  const auto engine = Engine::Load(path, {.threads = 1, .cpu = {}, .progress = {}});
  ASSERT_FALSE(engine);
  EXPECT_EQ(engine.error().code, ErrorCode::kBadModel);
  EXPECT_NE(engine.error().message.find(GetParam().message), std::string::npos) << engine.error().message;
  EXPECT_TRUE(engine.error().message.starts_with(path.string())) << engine.error().message;
  EXPECT_EQ(engine.error().message.find('\n'), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Faults, MobileFaultTest, testing::ValuesIn(kFaults),
                         [](const auto& fault) { return std::string(fault.param.name); });

// The table of per-layer embeddings is not looked at when a model loads: it is on disk.
TEST(MobileFault, ScaleInTheTableShowsWhenItsRowIsRead) {
  Folder folder("mobile-e2b");
  folder.SetFloat(kText + "embed_tokens_per_layer.embedding_scale", 5 * 4 + 1, kNan);
  const auto engine = Engine::Load(folder.Write(), {.threads = 1, .cpu = {}, .progress = {}});
  ASSERT_TRUE(engine) << engine.error().message;
  auto session = Session::Create(*engine);
  ASSERT_TRUE(session) << session.error().message;
  const TokenId good[] = {2, 4, 6}, bad[] = {5};
  EXPECT_TRUE(session->Append(good));
  const Status status = session->Append(bad);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, ErrorCode::kBadModel);
  EXPECT_NE(status.error().message.find("the per-layer embedding of token 5 has a scale that is none"),
            std::string::npos)
      << status.error().message;
}

TEST(MobileFault, RowsThatLookAlikeInTwoAndFourBits) {
  Folder folder("mobile-e2b");
  folder.At(kGate + "weight").shape = {20, 1};
  folder.At(kGate + "weight").bytes.resize(20);
  const auto checkpoint = formats::Checkpoint::Open(folder.Write());
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const std::string module = kGate.substr(0, kGate.size() - 1);
  for (const int64_t columns : {1, 2}) {
    const auto matrix = gemma::BindGemmaLinear(*checkpoint, module, 20, columns);
    ASSERT_FALSE(matrix);
    EXPECT_NE(matrix.error().message.find("which look alike in 2 and in 4 bits"), std::string::npos)
        << matrix.error().message;
  }
  EXPECT_EQ(gemma::BindGemmaLinear(*checkpoint, module, 20, 3)->type, quant::Type::kC2);
}

// Codes of 8 bits have no NaN; a float cache has, and then the logits show it.
TEST(MobileFault, NanOnItsWayIntoTheCache) {
  for (const char* side : {"k_proj.", "v_proj."}) {
    Folder folder("mobile-e2b");
    const std::string module = kText + "layers.1.self_attn." + side;
    folder.At(module + "weight") = {
        module + "weight", quant::Type::kBF16, {12, 28}, std::vector<std::byte>(12 * 28 * 2, std::byte{0xff})};
    const auto engine = Engine::Load(folder.Write(), {.threads = 1, .cpu = {}, .progress = {}});
    ASSERT_TRUE(engine) << engine.error().message;
    const TokenId ids[] = {2, 4, 6};
    for (const KvCacheType type : {KvCacheType::kInt8, KvCacheType::kF16, KvCacheType::kF32}) {
      SessionOptions options;
      options.kv_type = type;
      auto session = Session::Create(*engine, options);
      ASSERT_TRUE(session) << session.error().message;
      Status status = session->Append(ids);
      EXPECT_EQ(status.has_value(), type != KvCacheType::kInt8);
      if (status) {
        const auto token = session->Sample();
        ASSERT_FALSE(token);
        status = std::unexpected(token.error());
      }
      EXPECT_EQ(status.error().code, ErrorCode::kFailure);
      EXPECT_NE(status.error().message.find(type == KvCacheType::kInt8
                                                ? "layer 1: the model computed keys or values that are not numbers"
                                                : "the model computed logits that are not numbers"),
                std::string::npos)
          << status.error().message;
    }
  }
}

TEST(MobileFault, WhatIsLeftAloneLoads) {
  Folder folder("mobile-e2b");
  EXPECT_TRUE(Engine::Load(folder.Write(), {.threads = 1, .cpu = {}, .progress = {}}));
  // Scales of one number as [1], rules for towers that are not there, no scales for an 8-bit cache, a float module.
  folder.At(kGate + "input_activation_scale").shape = {1};
  folder.Quantization()["module_quant_configs"]["vision_tower\\.encoder\\.layers\\.9\\."]["num_bits"] = 4;
  folder.Quantization()["modules_to_not_convert"].push_back("model.audio_tower.output_proj");
  folder.Quantization()["modules_to_not_convert"].push_back("relative_k_proj");
  std::erase_if(folder.tensors, [](const Folder::Entry& entry) { return entry.name.ends_with("_cache_scale"); });
  folder.At(kGate + "weight") = {kGate + "weight", quant::Type::kBF16, {20, 28}, std::vector<std::byte>(20 * 28 * 2)};
  const auto engine = Engine::Load(folder.Write(), {.threads = 1, .cpu = {}, .progress = {}});
  EXPECT_TRUE(engine) << engine.error().message;
}

}  // namespace
}  // namespace carat
