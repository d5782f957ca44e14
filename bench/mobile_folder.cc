#include "bench/mobile_folder.h"

#include <cmath>
#include <cstring>
#include <fstream>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "base/float16.h"
#include "base/json.h"
#include "base/try.h"
#include "quant/type.h"

namespace carat::bench {

namespace {

using quant::Type;

// A tensor to be written: random codes, or numbers around a mean. Generated when its turn comes, a piece at a time.
struct Planned {
  std::string name;
  Type type;  // on disk: U8, I8, BF16, F32
  std::vector<int64_t> shape;
  int code_bits = 0;  // 0: numbers
  float mean = 0, spread = 0;
  uint64_t stream = 0;  // of random numbers: two tensors of one stream are copies

  uint64_t elements() const {
    uint64_t count = 1;
    for (const int64_t size : shape) count *= static_cast<uint64_t>(size);
    return count;
  }
  uint64_t size_bytes() const { return elements() * static_cast<uint64_t>(quant::Info(type).block_bytes); }
};

class Plan {
 public:
  explicit Plan(const MobileShape& shape) : shape_(shape) {
    AddText();
    if (shape.towers) AddVision();
    if (shape.towers) AddAudio();
  }
  const std::vector<Planned>& tensors() const { return tensors_; }

 private:
  void AddText();
  void AddLayer(int index);
  void AddVision();
  void AddAudio();

  void Floats(const std::string& name, Type type, std::vector<int64_t> shape, float mean, float spread) {
    tensors_.push_back({.name = name,
                        .type = type,
                        .shape = std::move(shape),
                        .mean = mean,
                        .spread = spread,
                        .stream = tensors_.size()});
  }
  void Norm(const std::string& name, int64_t size, Type type = Type::kBF16) { Floats(name, type, {size}, 1.0f, 0.2f); }
  void Number(const std::string& name, float value) { Floats(name, Type::kF32, {}, value, 0); }
  // Codes, and scales that give the weights the size `size`; `stream`: where the random numbers come from.
  void Codes(const std::string& codes, const std::string& scales, int bits, int64_t rows, int64_t columns,
             int64_t groups, float size, uint64_t stream) {
    const float rms = bits == 8 ? 73.9f : bits == 4 ? 4.5f : 1.06f;
    tensors_.push_back({.name = codes,
                        .type = bits == 8 ? Type::kI8 : Type::kU8,
                        .shape = {rows, (columns * bits + 7) / 8},
                        .code_bits = bits,
                        .stream = stream});
    tensors_.push_back({.name = scales,
                        .type = Type::kF32,
                        .shape = {rows, groups},
                        .mean = size / rms,
                        .spread = 0.1f * size / rms,
                        .stream = stream + 1});
  }
  void Linear(const std::string& module, int bits, int64_t rows, int64_t columns, float in, float out) {
    Codes(module + ".weight", module + ".weight_scale", bits, rows, columns, 1,
          1.0f / std::sqrt(static_cast<float>(columns)), tensors_.size());
    Number(module + ".input_activation_scale", in);
    Number(module + ".output_activation_scale", out);
  }

  const MobileShape& shape_;
  std::vector<Planned> tensors_;
};

// The towers of both releases.
constexpr int64_t kVisionLayers = 16, kVisionWidth = 768, kVisionMlp = 3072, kVisionHead = 64, kVisionPositions = 10240;
constexpr int64_t kAudioLayers = 12, kAudioWidth = 1024, kAudioOut = 1536;

// Steps for activations of about unit size, which clip where there are more than five times that.
constexpr float kStep = 0.04f;

void Plan::AddText() {
  const std::string text = "model.language_model.";
  const int64_t vocabulary = shape_.vocabulary, hidden = shape_.hidden, row = shape_.layers * shape_.ple_width;
  constexpr uint64_t kEmbedding = 1000000;
  const float unit = 1.0f / std::sqrt(static_cast<float>(hidden));
  for (const bool head : {false, true})
    Codes(head ? "lm_head.weight" : text + "embed_tokens.embedding_quantized",
          head ? "lm_head.weight_scale" : text + "embed_tokens.embedding_scale", 2, vocabulary, hidden, 1, unit,
          kEmbedding);
  Number("lm_head.input_activation_scale", 0);
  Number("lm_head.output_activation_scale", 0);
  Codes(text + "embed_tokens_per_layer.embedding_quantized", text + "embed_tokens_per_layer.embedding_scale",
        shape_.ple_bits, vocabulary, row, shape_.layers, 1.0f / std::sqrt(static_cast<float>(shape_.ple_width)),
        tensors_.size());
  Floats(text + "per_layer_model_projection.weight", Type::kBF16, {row, hidden}, 0, unit);
  Norm(text + "per_layer_projection_norm.weight", shape_.ple_width);
  Floats(text + "norm.weight", Type::kBF16, {hidden}, 4.0f, 0.5f);
  for (int layer = 0; layer < shape_.layers; ++layer) AddLayer(layer);
}

void Plan::AddLayer(int index) {
  const std::string layer = "model.language_model.layers." + std::to_string(index) + ".";
  const bool owns = index < shape_.layers - shape_.shared_layers;
  const bool wide = shape_.wide_low_bit_mlp && !owns;
  const int64_t head = (index + 1) % shape_.period == 0 ? shape_.global_head_dim : shape_.head_dim;
  const int64_t hidden = shape_.hidden, mlp = wide ? 2 * shape_.mlp : shape_.mlp;
  Linear(layer + "self_attn.q_proj", 4, shape_.heads * head, hidden, kStep, kStep);
  Linear(layer + "self_attn.o_proj", 4, hidden, shape_.heads * head, kStep / 2, kStep / 2);
  Norm(layer + "self_attn.q_norm.weight", head);
  if (owns) {
    for (const char* side : {"k", "v"})
      Linear(layer + "self_attn." + side + "_proj", 4, shape_.kv_heads * head, hidden, 1.1f * kStep, kStep);
    Floats(layer + "self_attn.k_norm.weight", Type::kBF16, {head}, 1.0f / std::sqrt(static_cast<float>(head)), 0.01f);
  }
  Number(layer + "self_attn.k_cache_scale", 3.0f / 127 / std::sqrt(static_cast<float>(head)));
  Number(layer + "self_attn.v_cache_scale", kStep);
  for (const char* side : {"gate", "up"})
    Linear(layer + "mlp." + side + "_proj", wide ? 2 : 4, mlp, hidden, kStep, kStep);
  Linear(layer + "mlp.down_proj", wide ? 2 : 4, hidden, mlp, kStep / 2, kStep / 2);
  Linear(layer + "per_layer_input_gate", 8, shape_.ple_width, hidden, 2 * kStep, 2 * kStep);
  Linear(layer + "per_layer_projection", 8, hidden, shape_.ple_width, kStep, kStep);
  for (const char* norm : {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                           "post_feedforward_layernorm", "post_per_layer_input_norm"})
    Norm(layer + norm + ".weight", hidden);
  Floats(layer + "layer_scalar", Type::kBF16, {1}, 0.7f, 0.05f);  // keeps the size of the residual stream
}

void Plan::AddVision() {
  const std::string tower = "model.vision_tower.";
  constexpr int64_t kWidth = kVisionWidth, kMlp = kVisionMlp, kPatch = 3 * 16 * 16;
  Floats(tower + "patch_embedder.input_proj.weight", Type::kBF16, {kWidth, kPatch}, 0, 0.03f);
  Floats(tower + "patch_embedder.position_embedding_table", Type::kBF16, {2, kVisionPositions, kWidth}, 0, 0.02f);
  for (int index = 0; index < kVisionLayers; ++index) {
    const std::string layer = tower + "encoder.layers." + std::to_string(index) + ".";
    for (const char* side : {"q", "k", "v", "o"})
      Linear(layer + "self_attn." + side + "_proj.linear", 8, kWidth, kWidth, kStep, kStep);
    for (const char* side : {"gate", "up"})
      Linear(layer + "mlp." + side + "_proj.linear", 8, kMlp, kWidth, kStep, kStep);
    Linear(layer + "mlp.down_proj.linear", 8, kWidth, kMlp, kStep, kStep);
    for (const char* side : {"q", "k"}) Norm(layer + "self_attn." + side + "_norm.weight", kVisionHead);
    for (const char* norm :
         {"input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm"})
      Norm(layer + norm + ".weight", kWidth);
  }
  Floats("model.embed_vision.embedding_projection.weight", Type::kF32, {shape_.hidden, kWidth}, 0, 0.03f);
}

void Plan::AddAudio() {
  const std::string tower = "model.audio_tower.";
  constexpr int64_t kWidth = kAudioWidth, kOut = kAudioOut;
  const std::string front = tower + "subsample_conv_projection.";
  Floats(front + "layer0.conv.weight", Type::kF32, {128, 1, 3, 3}, 0, 0.3f);
  Floats(front + "layer1.conv.weight", Type::kF32, {32, 128, 3, 3}, 0, 0.03f);
  Norm(front + "layer0.norm.weight", 128, Type::kF32);
  Norm(front + "layer1.norm.weight", 32, Type::kF32);
  Floats(front + "input_proj_linear.weight", Type::kF32, {kWidth, 1024}, 0, 0.03f);
  for (int index = 0; index < kAudioLayers; ++index) {
    const std::string layer = tower + "layers." + std::to_string(index) + ".";
    for (const char* block : {"feed_forward1.", "feed_forward2."}) {
      Linear(layer + block + "ffw_layer_1.linear", 2, 4 * kWidth, kWidth, kStep, kStep);
      Linear(layer + block + "ffw_layer_2.linear", 2, kWidth, 4 * kWidth, kStep, kStep);
      for (const char* norm : {"pre_layer_norm.weight", "post_layer_norm.weight"})
        Norm(layer + block + norm, kWidth, Type::kF32);
    }
    for (const char* side : {"q_proj", "k_proj", "v_proj", "post"})
      Linear(layer + "self_attn." + side + ".linear", 2, kWidth, kWidth, kStep, kStep);
    Floats(layer + "self_attn.relative_k_proj.weight", Type::kF32, {kWidth, kWidth}, 0, 0.03f);
    Floats(layer + "self_attn.per_dim_scale", Type::kF32, {kWidth / 8}, 0, 0.2f);
    Linear(layer + "lconv1d.linear_start.linear", 4, 2 * kWidth, kWidth, kStep, kStep);
    Linear(layer + "lconv1d.linear_end.linear", 2, kWidth, kWidth, kStep, kStep);
    Floats(layer + "lconv1d.depthwise_conv1d.weight", Type::kF32, {kWidth, 1, 5}, 0, 0.4f);
    for (const char* norm :
         {"lconv1d.pre_layer_norm", "lconv1d.conv_norm", "norm_pre_attn", "norm_post_attn", "norm_out"})
      Norm(layer + norm + ".weight", kWidth, Type::kF32);
  }
  Floats(tower + "output_proj.weight", Type::kF32, {kOut, kWidth}, 0, 0.03f);
  Floats(tower + "output_proj.bias", Type::kF32, {kOut}, 0, 0.1f);
  Floats("model.embed_audio.embedding_projection.weight", Type::kF32, {shape_.hidden, kOut}, 0, 0.03f);
}

// Codes of one random byte each. Their mean is zero: products with a common part would make every output alike.
constexpr uint8_t kTwoBits[16] = {0, 0, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3};  // code + 2
std::byte RandomByte(uint64_t random, int bits) {
  if (bits == 8) return static_cast<std::byte>(random);
  // -7 .. 7; -8 and 7 for what is left of 32.
  const auto four_bits = [](uint64_t r) { return r % 32 < 30 ? 1 + r % 32 / 2 : r % 2 * 15; };
  if (bits == 4) return static_cast<std::byte>(four_bits(random) | four_bits(random >> 5) << 4);
  const auto two_bits = [](uint64_t r) { return kTwoBits[r % 16]; };
  return static_cast<std::byte>(two_bits(random) | two_bits(random >> 4) << 2 | two_bits(random >> 8) << 4 |
                                two_bits(random >> 12) << 6);
}

// `count` elements of a tensor, from its stream of random numbers.
void Fill(const Planned& tensor, uint64_t count, std::mt19937_64& random, std::vector<std::byte>& out) {
  out.resize(count * static_cast<uint64_t>(quant::Info(tensor.type).block_bytes));
  if (tensor.code_bits > 0) {
    for (size_t i = 0; i < out.size(); i += 4) {
      uint64_t numbers = random();
      for (size_t j = i; j < std::min(i + 4, out.size()); ++j, numbers >>= 16)
        out[j] = RandomByte(numbers, tensor.code_bits);
    }
    return;
  }
  for (uint64_t i = 0; i < count; ++i) {
    const float unit = static_cast<float>(static_cast<int64_t>(random() >> 40) - (1 << 23)) * 0x1p-23f;  // -1 .. 1
    const float value = tensor.mean + tensor.spread * std::sqrt(3.0f) * unit;
    const uint16_t half = FloatToBf16(value);
    if (tensor.type == Type::kBF16)
      std::memcpy(out.data() + 2 * i, &half, 2);
    else
      std::memcpy(out.data() + 4 * i, &value, 4);
  }
}

Json Header(const std::vector<Planned>& tensors) {
  Json header = Json::object();
  uint64_t offset = 0;
  for (const Planned& tensor : tensors) {
    header[tensor.name] = {{"dtype", quant::Info(tensor.type).name},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.size_bytes()}}};
    offset += tensor.size_bytes();
  }
  return header;
}

Json Quantization(const MobileShape& shape) {
  const int own = shape.layers - shape.shared_layers;
  std::string own_layers;
  for (int layer = 0; layer < own; ++layer) own_layers += (layer == 0 ? "" : "|") + std::to_string(layer);
  const std::string layers = R"(language_model\.layers\.)";
  Json rules;
  rules["^lm_head$"]["num_bits"] = 2;
  rules[R"(audio_tower(?!.*lconv1d\.linear_start))"]["num_bits"] = 2;
  rules[R"(audio_tower\.layers\.\d+\.lconv1d\.linear_start\.)"]["num_bits"] = 4;
  rules[R"(language_model\.embed_tokens$)"]["num_bits"] = 2;
  rules[R"(language_model\.embed_tokens_per_layer$)"]["num_bits"] = shape.ple_bits;
  if (shape.wide_low_bit_mlp) rules[layers + "(" + own_layers + R"()\.mlp\.)"]["num_bits"] = 4;
  rules[layers + R"(\d+\.mlp\.)"]["num_bits"] = shape.wide_low_bit_mlp ? 2 : 4;
  rules[layers + R"(\d+\.per_layer_input_gate$)"]["num_bits"] = 8;
  rules[layers + R"(\d+\.per_layer_projection$)"]["num_bits"] = 8;
  rules[layers + R"(\d+\.self_attn\.)"]["num_bits"] = 4;
  rules["vision_tower"]["num_bits"] = 8;
  return {{"quant_method", "gemma"},
          {"num_bits", 4},
          {"quantize_embeddings", true},
          {"module_quant_configs", rules},
          {"modules_to_not_convert",
           {"model.vision_tower.patch_embedder", "model.audio_tower.subsample_conv_projection",
            "model.audio_tower.output_proj", "relative_k_proj", "model.embed_audio", "model.embed_vision",
            "per_layer_model_projection"}}};
}

Json VisionConfig() {
  return {{"model_type", "gemma4_vision"},
          {"hidden_size", kVisionWidth},
          {"intermediate_size", kVisionMlp},
          {"num_hidden_layers", kVisionLayers},
          {"num_attention_heads", kVisionWidth / kVisionHead},
          {"num_key_value_heads", kVisionWidth / kVisionHead},
          {"head_dim", kVisionHead},
          {"patch_size", 16},
          {"pooling_kernel_size", 3},
          {"position_embedding_size", kVisionPositions},
          {"rms_norm_eps", 1e-6},
          {"rope_parameters", {{"rope_theta", 100.0}, {"rope_type", "axial"}}},
          {"standardize", false},
          {"use_clipped_linears", false}};
}

Json AudioConfig() {
  return {{"model_type", "gemma4_audio"},  {"hidden_size", kAudioWidth},   {"num_hidden_layers", kAudioLayers},
          {"num_attention_heads", 8},      {"hidden_act", "silu"},         {"subsampling_conv_channels", {128, 32}},
          {"conv_kernel_size", 5},         {"residual_weight", 0.5},       {"attention_chunk_size", 12},
          {"attention_context_left", 13},  {"attention_context_right", 0}, {"attention_logit_cap", 50.0},
          {"output_proj_dims", kAudioOut}, {"rms_norm_eps", 1e-6},         {"use_clipped_linears", false}};
}

Json Config(const MobileShape& shape) {
  Json types = Json::array();
  for (int layer = 0; layer < shape.layers; ++layer)
    types.push_back((layer + 1) % shape.period == 0 ? "full_attention" : "sliding_attention");
  Json text = {{"model_type", "gemma4_text"},
               {"vocab_size", shape.vocabulary},
               {"vocab_size_per_layer_input", shape.vocabulary},
               {"hidden_size", shape.hidden},
               {"intermediate_size", shape.mlp},
               {"num_hidden_layers", shape.layers},
               {"num_kv_shared_layers", shape.shared_layers},
               {"num_attention_heads", shape.heads},
               {"num_key_value_heads", shape.kv_heads},
               {"head_dim", shape.head_dim},
               {"global_head_dim", shape.global_head_dim},
               {"sliding_window", shape.window},
               {"hidden_size_per_layer_input", shape.ple_width},
               {"use_double_wide_mlp", shape.wide_low_bit_mlp},
               {"layer_types", types},
               {"max_position_embeddings", 131072},
               {"final_logit_softcapping", 30.0},
               {"tie_word_embeddings", false}};
  Json config = {{"model_type", "gemma4"},       {"text_config", text},
                 {"vision_config", nullptr},     {"audio_config", nullptr},
                 {"tie_word_embeddings", false}, {"quantization_config", Quantization(shape)}};
  if (!shape.towers) return config;
  config["vision_config"] = VisionConfig();
  config["audio_config"] = AudioConfig();
  config["image_token_id"] = 258880;
  config["audio_token_id"] = 258881;
  config["video_token_id"] = 258884;
  return config;
}

}  // namespace

Result<MobileShape> MobileShapeOf(std::string_view name) {
  MobileShape shape = {.layers = 35,
                       .shared_layers = 20,
                       .period = 5,
                       .hidden = 1536,
                       .mlp = 6144,
                       .heads = 8,
                       .kv_heads = 1,
                       .head_dim = 256,
                       .global_head_dim = 512,
                       .window = 512,
                       .ple_width = 256,
                       .vocabulary = 262144,
                       .ple_bits = 4,
                       .wide_low_bit_mlp = true,
                       .towers = true};
  if (name == "e2b") return shape;
  if (name == "e4b") {
    shape.layers = 42;
    shape.shared_layers = 18;
    shape.period = 6;
    shape.hidden = 2560;
    shape.mlp = 10240;
    shape.kv_heads = 2;
    shape.ple_bits = 2;
    shape.wide_low_bit_mlp = false;
    return shape;
  }
  if (name == "tiny")
    return MobileShape{.layers = 6,
                       .shared_layers = 3,
                       .period = 3,
                       .hidden = 48,
                       .mlp = 64,
                       .heads = 4,
                       .kv_heads = 1,
                       .head_dim = 16,
                       .global_head_dim = 32,
                       .window = 8,
                       .ple_width = 16,
                       .vocabulary = 640,
                       .ple_bits = 4,
                       .wide_low_bit_mlp = true,
                       .towers = false};
  return Fail(ErrorCode::kUsage, "there is no shape called '" + std::string(name) + "'; there are e2b, e4b and tiny");
}

Status WriteMobileFolder(const std::filesystem::path& folder, const MobileShape& shape, uint64_t seed,
                         const std::filesystem::path& tokenizer) {
  const auto fail = [&] { return Fail(ErrorCode::kFailure, folder.string() + ": cannot be written"); };
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail();
  if (!tokenizer.empty()) {
    std::filesystem::copy_file(tokenizer, folder / "tokenizer.json", std::filesystem::copy_options::overwrite_existing,
                               error);
    if (error) return Fail(ErrorCode::kFailure, tokenizer.string() + ": cannot be copied: " + error.message());
  }
  const Plan plan(shape);
  std::string header = Header(plan.tensors()).dump();
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t length = header.size();
  std::ofstream file(folder / "model.safetensors", std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(&length), sizeof(length));
  file.write(header.data(), static_cast<std::streamsize>(header.size()));
  constexpr uint64_t kPiece = 1 << 20;  // elements
  std::vector<std::byte> piece;
  for (const Planned& tensor : plan.tensors()) {
    std::mt19937_64 random(seed * 1'000'003 + tensor.stream);
    for (uint64_t done = 0; done < tensor.elements() && file; done += kPiece) {
      Fill(tensor, std::min(kPiece, tensor.elements() - done), random, piece);
      file.write(reinterpret_cast<const char*>(piece.data()), static_cast<std::streamsize>(piece.size()));
    }
  }
  file.close();
  std::ofstream config(folder / "config.json"), generation(folder / "generation_config.json");
  config << Config(shape).dump(2) << "\n";
  generation << R"({"bos_token_id": 2, "eos_token_id": [1, 106, 50], "temperature": 1.0, "top_k": 64, "top_p": 0.95})"
             << "\n";
  config.close();
  generation.close();
  if (!file || !config || !generation) return fail();
  return {};
}

}  // namespace carat::bench
