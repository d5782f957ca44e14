// Vision towers with one fault each: refused with a line that names the file and the fault. And what is no fault.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "base/thread_pool.h"
#include "formats/checkpoint.h"
#include "gemma/vision_encoder.h"
#include "gemma/vision_model.h"
#include "kernels/kernels.h"
#include "tests/support/changed_folder.h"
#include "tests/support/gguf_builder.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using gemma::PatchGrid;
using gemma::VisionEncoder;
using gemma::VisionModel;
using testing_support::ChangedFolder;
using testing_support::GgufBuilder;

const fs::path kData = fs::path(CARAT_SOURCE_DIR) / "tests/data/vision";
const std::string kTower = "model.vision_tower.";
const std::string kGate = kTower + "encoder.layers.1.mlp.gate_proj.";

// Loads what is at `path`; its error, or an empty one.
Error LoadError(const fs::path& path) {
  const auto checkpoint = formats::Checkpoint::Open(path);
  if (!checkpoint) return checkpoint.error();
  const auto model = VisionModel::Load(*checkpoint);
  return model ? Error{} : model.error();
}

void ExpectRefused(const Error& error, const fs::path& path, const std::string& message,
                   ErrorCode code = ErrorCode::kBadModel) {
  EXPECT_EQ(error.code, code) << error.message;
  EXPECT_NE(error.message.find(message), std::string::npos) << error.message;
  EXPECT_NE(error.message.find(path.string()), std::string::npos) << error.message;
}

// --- Hugging Face folders

struct FolderFault {
  const char* name;
  std::function<void(ChangedFolder&)> apply;
  const char* message;  // a part of it
};

Json& Vision(ChangedFolder& f) { return f.config["vision_config"]; }

const FolderFault kFolderFaults[] = {
    {"OtherTower", [](ChangedFolder& f) { Vision(f)["model_type"] = "siglip"; }, "the model_type is 'siglip'"},
    {"Biases", [](ChangedFolder& f) { Vision(f)["attention_bias"] = true; }, "attention_bias"},
    {"Activation", [](ChangedFolder& f) { Vision(f)["hidden_activation"] = "quick_gelu"; }, "'quick_gelu'"},
    {"RopeType", [](ChangedFolder& f) { Vision(f)["rope_parameters"]["rope_type"] = "yarn"; }, "RoPE of the type"},
    {"RopeBase", [](ChangedFolder& f) { Vision(f)["rope_parameters"]["rope_theta"] = 0; }, "RoPE base"},
    {"Epsilon", [](ChangedFolder& f) { Vision(f)["rms_norm_eps"] = -1; }, "epsilon"},
    {"HeadSize", [](ChangedFolder& f) { Vision(f)["head_dim"] = 18; }, "head size of 18"},
    {"KvHeads", [](ChangedFolder& f) { Vision(f)["num_key_value_heads"] = 3; }, "cannot share 3 K/V heads"},
    {"HugeLayers", [](ChangedFolder& f) { Vision(f)["num_hidden_layers"] = 1 << 30; }, "num_hidden_layers"},
    {"HugePatch", [](ChangedFolder& f) { Vision(f)["patch_size"] = 1 << 20; }, "patch_size"},
    {"NoPatch", [](ChangedFolder& f) { Vision(f)["patch_size"] = 0; }, "patch_size"},
    {"HugePooling", [](ChangedFolder& f) { Vision(f)["pooling_kernel_size"] = 1 << 30; }, "pooling_kernel_size"},
    {"HugeTable", [](ChangedFolder& f) { Vision(f)["position_embedding_size"] = int64_t{1} << 40; },
     "position_embedding_size"},
    {"NoSize", [](ChangedFolder& f) { Vision(f).erase("hidden_size"); }, "hidden_size"},
    {"NoTextConfig", [](ChangedFolder& f) { f.config.erase("text_config"); }, "text_config"},
    {"OtherLayers", [](ChangedFolder& f) { Vision(f)["num_hidden_layers"] = 3; },
     "layers.2.input_layernorm.weight' is missing"},
    {"OtherWidth", [](ChangedFolder& f) { Vision(f)["intermediate_size"] = 41; },
     "gate_proj.linear.weight' has the shape [40, 32] where the configuration asks for [41, 32]"},
    {"OtherTable", [](ChangedFolder& f) { Vision(f)["position_embedding_size"] = 25; },
     "position_embedding_table' has the shape [2, 24, 32] where the configuration asks for [2, 25, 32]"},
    {"OtherTextWidth", [](ChangedFolder& f) { f.config["text_config"]["hidden_size"] = 25; }, "[24, 32]"},
    {"NotStandardised", [](ChangedFolder& f) { Vision(f)["standardize"] = true; }, "std_bias' is missing"},
    {"WeightMissing", [](ChangedFolder& f) { f.Remove(kGate + "linear.weight"); },
     "gate_proj.linear.weight' is missing"},
    {"NormNan", [](ChangedFolder& f) { f.SetFloat(kTower + "encoder.layers.0.input_layernorm.weight", 3, NAN); },
     "input_layernorm.weight' has an element that is not finite"},
    {"BoundNan", [](ChangedFolder& f) { f.SetFloat(kGate + "input_min", 0, NAN); }, "input_min' is not a number"},
    {"BoundsCross", [](ChangedFolder& f) { f.SetFloat(kGate + "output_min", 0, 1e6f); },
     "has a lower bound above the upper one"},
    {"BoundOfMany",
     [](ChangedFolder& f) {
       f.At(kGate + "output_max").shape = {2};
       f.At(kGate + "output_max").bytes.resize(8);
     },
     "output_max' is F32 [2], not one number"},
    {"BoundOfIntegers", [](ChangedFolder& f) { f.At(kGate + "output_max").type = quant::Type::kI32; },
     "output_max' is I32 [], not one number"},
};

class FolderFaultTest : public testing::TestWithParam<FolderFault> {};

TEST_P(FolderFaultTest, IsNamed) {
  ChangedFolder folder(kData / "hf-f32/model");
  GetParam().apply(folder);
  const fs::path path = folder.Write();
  ExpectRefused(LoadError(path), path, GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(All, FolderFaultTest, testing::ValuesIn(kFolderFaults),
                         [](const auto& fault) { return std::string(fault.param.name); });

TEST(VisionFaults, AFolderWithoutATower) {
  for (const bool has_config : {true, false}) {
    ChangedFolder folder(kData / "hf-f32/model");
    if (has_config)
      folder.Remove(kTower + "patch_embedder.input_proj.weight");
    else
      folder.config["vision_config"] = nullptr;
    const fs::path path = folder.Write();
    ExpectRefused(LoadError(path), path, "there is no vision tower", ErrorCode::kNotFound);
    EXPECT_FALSE(VisionModel::IsIn(*formats::Checkpoint::Open(path)));
  }
  EXPECT_TRUE(VisionModel::IsIn(*formats::Checkpoint::Open(kData / "hf-f32/model")));
}

// What bounds nothing may be left out, or be written as infinities.
TEST(VisionFaults, BoundsMayBeMissingOrInfinite) {
  ChangedFolder folder(kData / "hf-f32/model");
  folder.Remove(kGate + "input_min");
  folder.SetFloat(kGate + "output_max", 0, INFINITY);
  const auto checkpoint = formats::Checkpoint::Open(folder.Write());
  const auto model = VisionModel::Load(*checkpoint);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_TRUE(model->has_bounds);
  EXPECT_EQ(model->layers[1].gate.input_min, -INFINITY);
  EXPECT_EQ(model->layers[1].gate.output_max, INFINITY);
  const auto unbounded = formats::Checkpoint::Open(kData / "hf-wide/model");
  EXPECT_FALSE(VisionModel::Load(*unbounded)->has_bounds);
}

// --- mmproj files

// A tower of one layer, 8 wide: two heads of 4, an MLP of 12, patches of 2, 5 positions, soft tokens of 6.
GgufBuilder SmallTower() {
  GgufBuilder file;
  file.String("general.architecture", "clip").String("clip.vision.projector_type", "gemma4v");
  file.Add(GgufBuilder::Entry("clip.has_vision_encoder", GgufBuilder::kBool, GgufBuilder::Raw<uint8_t>(1)));
  file.U32("clip.vision.embedding_length", 8).U32("clip.vision.projection_dim", 6).U32("clip.vision.block_count", 1);
  file.U32("clip.vision.feed_forward_length", 12).U32("clip.vision.attention.head_count", 2);
  file.U32("clip.vision.patch_size", 2);
  const auto tensor = [&](const std::string& name, std::vector<uint64_t> dims) {
    uint64_t count = 1;
    for (const uint64_t size : dims) count *= size;
    std::string data;
    for (uint64_t i = 0; i < count; ++i) data += GgufBuilder::Raw(0.1f * static_cast<float>(i % 7) - 0.2f);
    file.Tensor({.name = name, .dims = std::move(dims), .type = 0, .data = std::move(data)});
  };
  tensor("v.patch_embd.weight", {2, 2, 3, 8});
  tensor("v.position_embd.weight", {8, 5, 2});
  for (const char* name : {"ln1", "attn_post_norm", "ln2", "ffn_post_norm"})
    tensor(std::string("v.blk.0.") + name + ".weight", {8});
  for (const char* name : {"attn_q_norm", "attn_k_norm"}) tensor(std::string("v.blk.0.") + name + ".weight", {4});
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_out"})
    tensor(std::string("v.blk.0.") + name + ".weight", {8, 8});
  for (const char* name : {"ffn_gate", "ffn_up"}) tensor(std::string("v.blk.0.") + name + ".weight", {8, 12});
  tensor("v.blk.0.ffn_down.weight", {12, 8});
  tensor("mm.input_projection.weight", {8, 6});
  return file;
}

fs::path WriteFile(const GgufBuilder& file) {
  std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
  std::ranges::replace(test, '/', '-');
  const fs::path path = fs::path(testing::TempDir()) / ("carat-tower-" + test + ".gguf");
  std::ofstream(path, std::ios::binary) << file.Build();
  return path;
}

void Set(GgufBuilder& file, const std::string& key, const std::string& entry) {
  std::erase_if(file.entries, [&](const std::string& old) { return old.starts_with(GgufBuilder::Text(key)); });
  if (!entry.empty()) file.Add(entry);
}
void SetString(GgufBuilder& file, const std::string& key, const std::string& value) {
  Set(file, key, GgufBuilder::Entry(key, GgufBuilder::kString, GgufBuilder::Text(value)));
}
void SetNumber(GgufBuilder& file, const std::string& key, uint32_t value) {
  Set(file, key, GgufBuilder::Entry(key, GgufBuilder::kU32, GgufBuilder::Raw(value)));
}
GgufBuilder::TensorSpec& At(GgufBuilder& file, const std::string& name) {
  return *std::ranges::find(file.tensors, name, &GgufBuilder::TensorSpec::name);
}
void SetFloats(GgufBuilder& file, const std::string& key, const std::vector<float>& values) {
  std::string payload = GgufBuilder::Raw<uint32_t>(GgufBuilder::kF32) + GgufBuilder::Raw<uint64_t>(values.size());
  for (const float value : values) payload += GgufBuilder::Raw(value);
  Set(file, key, GgufBuilder::Entry(key, GgufBuilder::kArray, payload));
}

struct FileFault {
  const char* name;
  std::function<void(GgufBuilder&)> apply;
  const char* message;
  ErrorCode code = ErrorCode::kBadModel;
};

const FileFault kFileFaults[] = {
    {"TextModel", [](GgufBuilder& f) { SetString(f, "general.architecture", "gemma4"); },
     "there is no vision tower in this file: its architecture is 'gemma4'", ErrorCode::kNotFound},
    {"AudioOnly", [](GgufBuilder& f) { Set(f, "clip.has_vision_encoder", ""); },
     "there is no vision tower in this file; Carat runs mmproj files", ErrorCode::kNotFound},
    {"EncoderOf12B", [](GgufBuilder& f) { SetString(f, "clip.vision.projector_type", "gemma4uv"); },
     "the encoder of Gemma 4 12B ('gemma4uv')"},
    {"OtherProjector", [](GgufBuilder& f) { SetString(f, "clip.vision.projector_type", "qwen3vl_merger"); },
     "the projector_type is 'qwen3vl_merger'; Carat runs mmproj files of Gemma 4 E2B and E4B"},
    {"NoProjector", [](GgufBuilder& f) { Set(f, "clip.vision.projector_type", ""); }, "clip.projector_type"},
    {"ShiftedPixels", [](GgufBuilder& f) { SetFloats(f, "clip.vision.image_mean", {0.5f, 0.5f, 0.5f}); },
     "clip.vision.image_mean is not 0 for each channel"},
    {"ScaledPixels", [](GgufBuilder& f) { SetFloats(f, "clip.vision.image_std", {1, 0.5f, 1}); },
     "clip.vision.image_std is not 1 for each channel"},
    {"HugeHeads", [](GgufBuilder& f) { SetNumber(f, "clip.vision.attention.head_count", 1u << 30); }, "head_count"},
    {"NoHeads", [](GgufBuilder& f) { SetNumber(f, "clip.vision.attention.head_count", 0); }, "head_count"},
    {"OddHeads", [](GgufBuilder& f) { SetNumber(f, "clip.vision.attention.head_count", 3); }, "head size of 2"},
    {"HugePooling", [](GgufBuilder& f) { SetNumber(f, "clip.vision.projector.scale_factor", 1u << 31); },
     "clip.vision.projector.scale_factor"},
    {"OtherPatch", [](GgufBuilder& f) { SetNumber(f, "clip.vision.patch_size", 3); },
     "v.patch_embd.weight' has the shape [8, 3, 2, 2] where the configuration asks for [8, 3, 3, 3]"},
    {"PatchInBlocks",
     [](GgufBuilder& f) {
       auto& patch = At(f, "v.patch_embd.weight");
       patch = {.name = patch.name, .dims = {32, 32, 3, 8}, .type = 8, .data = std::string(3 * 32 * 8 * 34, '\0')};
       SetNumber(f, "clip.vision.patch_size", 32);
     },
     "the kernel of patches is F32, F16 or BF16"},
    {"FlatTable", [](GgufBuilder& f) { At(f, "v.position_embd.weight").dims = {8, 10}; }, "table of positions"},
    {"NoTable", [](GgufBuilder& f) { At(f, "v.position_embd.weight").name = "v.other.weight"; }, "table of positions"},
    {"TableOfOneAxis", [](GgufBuilder& f) { At(f, "v.position_embd.weight").dims = {8, 10, 1}; },
     "v.position_embd.weight' has the shape [1, 10, 8] where the configuration asks for [2, 10, 8]"},
    {"HalfStandardised",
     [](GgufBuilder& f) { f.Tensor({.name = "v.std_bias", .dims = {8}, .type = 0, .data = std::string(32, '\0')}); },
     "v.std_scale' is missing"},
    {"ScaleOfAnotherWidth",
     [](GgufBuilder& f) {
       f.Tensor({.name = "v.blk.0.out_scale.weight", .dims = {3}, .type = 0, .data = std::string(12, '\0')});
     },
     "v.blk.0.out_scale.weight' has the shape [3] where the configuration asks for [8]"},
};

class FileFaultTest : public testing::TestWithParam<FileFault> {};

TEST_P(FileFaultTest, IsNamed) {
  GgufBuilder file = SmallTower();
  GetParam().apply(file);
  const fs::path path = WriteFile(file);
  ExpectRefused(LoadError(path), path, GetParam().message, GetParam().code);
}

INSTANTIATE_TEST_SUITE_P(All, FileFaultTest, testing::ValuesIn(kFileFaults),
                         [](const auto& fault) { return std::string(fault.param.name); });

TEST(VisionFaults, AFileNeedsNoMoreThanItsSizes) {
  const auto checkpoint = formats::Checkpoint::Open(WriteFile(SmallTower()));
  const auto model = VisionModel::Load(*checkpoint);
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->config.pooling, 3);
  EXPECT_EQ(model->config.head_dim, 4);
  EXPECT_EQ(model->config.kv_heads, 2);
  EXPECT_EQ(model->config.positions, 5);
  EXPECT_EQ(model->config.text_hidden, 6);
  EXPECT_FALSE(model->has_bounds);
  EXPECT_TRUE(model->std_bias.empty());
}

// --- Pictures

TEST(VisionFaults, PicturesThatAreNoGrids) {
  const auto checkpoint = formats::Checkpoint::Open(WriteFile(SmallTower()));
  const auto model = VisionModel::Load(*checkpoint);
  ASSERT_TRUE(model);
  ThreadPool pool(1);
  VisionEncoder encoder(*model, {.kernels = kernels::SelectKernels(), .pool = &pool}, 18);
  const auto encode = [&](int64_t columns, int64_t rows, int64_t values, const gemma::EncodeProgress& progress = {}) {
    const PatchGrid grid = {
        .columns = columns, .rows = rows, .values = std::vector<float>(static_cast<size_t>(values), 0.5f)};
    std::vector<float> soft(static_cast<size_t>(std::max<int64_t>(0, encoder.SoftTokens(grid)) * 6));
    const Status status = encoder.Encode(grid, soft, {}, progress);
    return status ? Error{.code = ErrorCode::kFailure, .message = ""} : status.error();
  };
  EXPECT_EQ(encode(3, 3, 108).message, "");
  for (const auto& [columns, rows, values] :
       std::initializer_list<std::array<int64_t, 3>>{{0, 3, 0}, {4, 3, 144}, {3, 3, 107}, {6, 3, 216}, {3, 9, 324}}) {
    const Error error = encode(columns, rows, values);
    EXPECT_EQ(error.code, ErrorCode::kUsage) << columns << " x " << rows << ": " << error.message;
  }
  // The user has seen enough.
  int64_t seen = 0;
  const Error stopped = encode(3, 3, 108, [&](int64_t done, int64_t layers) {
    EXPECT_EQ(layers, 1);
    seen = done;
    return false;
  });
  EXPECT_EQ(stopped.code, ErrorCode::kInterrupted);
  EXPECT_EQ(seen, 1);
}

// A number that is none comes out as one: bounds do not hide it.
TEST(VisionFaults, NanShows) {
  const auto checkpoint = formats::Checkpoint::Open(kData / "hf-f32/model");
  const auto model = VisionModel::Load(*checkpoint);
  ASSERT_TRUE(model);
  ThreadPool pool(1);
  VisionEncoder encoder(*model, {.kernels = kernels::SelectKernels(), .pool = &pool}, 18);
  PatchGrid grid = {.columns = 6, .rows = 3, .values = std::vector<float>(18 * 27, 0.5f)};
  grid.values[100] = NAN;
  std::vector<float> soft(static_cast<size_t>(encoder.SoftTokens(grid) * 24));
  ASSERT_TRUE(encoder.Encode(grid, soft));
  for (const float value : soft) EXPECT_TRUE(std::isnan(value));
}

}  // namespace
}  // namespace carat
