#include "bench/tower_file.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/float16.h"
#include "quant/blocks.h"
#include "tests/support/gguf_builder.h"

namespace carat::bench {

namespace {

using testing_support::GgufBuilder;

constexpr uint64_t kHidden = 768, kText = 1536, kLayers = 16, kHeads = 12, kHeadDim = 64, kMlp = 3072, kPatch = 16,
                   kPositions = 10240;

class Writer {
 public:
  Writer(quant::Type type, uint64_t seed) : type_(type), random_(seed) {}

  std::string Build();

 private:
  // Numbers spread like `spread` times a standard normal ones, nearly.
  std::vector<float> Random(uint64_t count, float spread) {
    std::vector<float> values(count);
    for (float& value : values)
      value = (static_cast<float>(random_() >> 40) * 0x1p-23f - 1.0f) * std::sqrt(3.0f) * spread;
    return values;
  }
  void Floats(const std::string& name, std::vector<uint64_t> dims, const std::vector<float>& values) {
    std::string data(values.size() * sizeof(float), '\0');
    std::memcpy(data.data(), values.data(), data.size());
    file_.Tensor({.name = name, .dims = std::move(dims), .type = 0, .data = std::move(data)});
  }
  void Norm(const std::string& name, uint64_t size) { Floats(name, {size}, std::vector<float>(size, 1.0f)); }
  void Matrix(const std::string& name, uint64_t rows, uint64_t cols);
  void Clipped(const std::string& name, uint64_t rows, uint64_t cols);

  quant::Type type_;
  std::mt19937_64 random_;
  GgufBuilder file_;
};

void Writer::Matrix(const std::string& name, uint64_t rows, uint64_t cols) {
  const std::vector<float> values = Random(rows * cols, 1.0f / std::sqrt(static_cast<float>(cols)));
  if (type_ == quant::Type::kF32) return Floats(name, {cols, rows}, values);
  std::string data(*quant::RowBytes(type_, cols) * rows, '\0');
  if (type_ == quant::Type::kQ8_0) {
    const float scale = std::sqrt(3.0f / static_cast<float>(cols)) / 127;
    for (size_t block = 0; block < values.size() / 32; ++block) {
      quant::BlockQ8_0 packed{};
      const uint16_t half = FloatToF16(scale);
      std::memcpy(packed.d, &half, sizeof(half));
      for (size_t i = 0; i < 32; ++i)
        packed.qs[i] = static_cast<int8_t>(std::lround(values[block * 32 + i] / scale * 0.99f));
      std::memcpy(data.data() + block * sizeof(packed), &packed, sizeof(packed));
    }
  } else {
    for (size_t i = 0; i < values.size(); ++i) {
      uint32_t bits = 0;
      std::memcpy(&bits, &values[i], sizeof(bits));
      const auto half = type_ == quant::Type::kF16 ? FloatToF16(values[i]) : static_cast<uint16_t>(bits >> 16);
      std::memcpy(data.data() + 2 * i, &half, sizeof(half));
    }
  }
  const uint32_t number = type_ == quant::Type::kF16 ? 1 : type_ == quant::Type::kBF16 ? 30 : 8;
  file_.Tensor({.name = name, .dims = {cols, rows}, .type = number, .data = std::move(data)});
}

void Writer::Clipped(const std::string& name, uint64_t rows, uint64_t cols) {
  Matrix(name + ".weight", rows, cols);
  for (const char* end : {"input_min", "output_min"}) Floats(name + "." + end, {1}, {-4.0f});
  for (const char* end : {"input_max", "output_max"}) Floats(name + "." + end, {1}, {4.0f});
}

std::string Writer::Build() {
  file_.String("general.architecture", "clip").String("general.type", "mmproj");
  file_.Add(GgufBuilder::Entry("clip.has_vision_encoder", GgufBuilder::kBool, GgufBuilder::Raw<uint8_t>(1)));
  file_.String("clip.vision.projector_type", "gemma4v");
  file_.U32("clip.vision.projection_dim", kText).U32("clip.vision.patch_size", kPatch);
  file_.U32("clip.vision.embedding_length", kHidden).U32("clip.vision.feed_forward_length", kMlp);
  file_.U32("clip.vision.block_count", kLayers).U32("clip.vision.attention.head_count", kHeads);
  file_.F32("clip.vision.attention.layer_norm_epsilon", 1e-6f);
  Floats("v.patch_embd.weight", {kPatch, kPatch, 3, kHidden},
         Random(kHidden * 3 * kPatch * kPatch, 1.0f / std::sqrt(768.0f)));
  Floats("v.position_embd.weight", {kHidden, kPositions, 2}, Random(2 * kPositions * kHidden, 0.5f));
  for (uint64_t layer = 0; layer < kLayers; ++layer) {
    const std::string prefix = "v.blk." + std::to_string(layer) + ".";
    for (const char* name : {"ln1", "attn_post_norm", "ln2", "ffn_post_norm"}) Norm(prefix + name + ".weight", kHidden);
    for (const char* name : {"attn_q_norm", "attn_k_norm"}) Norm(prefix + name + ".weight", kHeadDim);
    for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_out"}) Clipped(prefix + name, kHidden, kHidden);
    for (const char* name : {"ffn_gate", "ffn_up"}) Clipped(prefix + name, kMlp, kHidden);
    Clipped(prefix + "ffn_down", kHidden, kMlp);
  }
  Matrix("mm.input_projection.weight", kText, kHidden);
  return file_.Build();
}

}  // namespace

Status WriteTowerFile(const std::filesystem::path& path, quant::Type type, uint64_t seed) {
  if (!quant::IsFloat(type) && type != quant::Type::kQ8_0)
    return Fail(ErrorCode::kUsage,
                "matrices of " + std::string(quant::Info(type).name) + "; F32, F16, BF16 and Q8_0 would work");
  const std::string bytes = Writer(type, seed).Build();
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (!file) return Fail(ErrorCode::kFailure, path.string() + ": cannot be written");
  return {};
}

}  // namespace carat::bench
