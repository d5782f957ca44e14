// The vision tower's configuration from a Hugging Face config.json (model type gemma4).
#include <cmath>

#include "base/try.h"
#include "gemma/load_quantized.h"
#include "gemma/load_vision.h"

namespace carat::gemma {

namespace {

constexpr VisionTensorNames kNames = {
    .patch = "vision_tower.patch_embedder.input_proj.weight",
    .positions = "vision_tower.patch_embedder.position_embedding_table",
    .std_bias = "vision_tower.std_bias",
    .std_scale = "vision_tower.std_scale",
    .projection = "embed_vision.embedding_projection.weight",
    .attention_norm = "input_layernorm.weight",
    .q_norm = "self_attn.q_norm.weight",
    .k_norm = "self_attn.k_norm.weight",
    .post_attention_norm = "post_attention_layernorm.weight",
    .mlp_norm = "pre_feedforward_layernorm.weight",
    .post_mlp_norm = "post_feedforward_layernorm.weight",
    .scale = nullptr,
    .q = "self_attn.q_proj",
    .k = "self_attn.k_proj",
    .v = "self_attn.v_proj",
    .o = "self_attn.o_proj",
    .gate = "mlp.gate_proj",
    .up = "mlp.up_proj",
    .down = "mlp.down_proj",
    .linear = ".linear.weight",
};

// Where the tower's tensors stand: checkpoints as published, and MLX conversions.
constexpr const char* kPrefixes[] = {"model.", ""};

class Reader {
 public:
  explicit Reader(const formats::Checkpoint& checkpoint) : checkpoint_(checkpoint), top_(checkpoint.hf()->Config()) {}

  Result<VisionDescription> Read();

 private:
  Status FindTensors();
  Status RefuseOtherTowers();
  Status ReadSizes();
  Status ReadRope();

  std::unexpected<Error> FailHere(const std::string& what) const {
    return Fail(ErrorCode::kBadModel, vision_.where + ": " + what);
  }

  const formats::Checkpoint& checkpoint_;
  JsonObject top_, vision_;
  VisionDescription out_;
};

Result<VisionDescription> Reader::Read() {
  out_.names = kNames;
  TRY(FindTensors());
  TRY_ASSIGN(vision_, top_.Object("vision_config"));
  TRY(RefuseOtherTowers());
  TRY(ReadSizes());
  TRY(ReadRope());
  TRY(CheckVisionConfig(out_.config, vision_.where));
  TRY_ASSIGN(out_.quantization, ReadQuantization(top_, checkpoint_));
  return std::move(out_);
}

Status Reader::FindTensors() {
  for (const char* prefix : kPrefixes) {
    if (!top_.Has("vision_config") || checkpoint_.Find(std::string(prefix) + kNames.patch) == nullptr) continue;
    out_.prefix = prefix;
    out_.layer_prefix = std::string(prefix) + "vision_tower.encoder.layers.";
    return {};
  }
  return Fail(ErrorCode::kNotFound,
              checkpoint_.path().string() +
                  ": there is no vision tower in this checkpoint; one with a vision_config and the tensor "
                  "'model.vision_tower.patch_embedder.input_proj.weight' would work");
}

Status Reader::RefuseOtherTowers() {
  TRY_ASSIGN(const std::string type, vision_.StringOr("model_type", "gemma4_vision"));
  if (type != "gemma4_vision") return FailHere("the model_type is '" + type + "'; Carat runs gemma4_vision");
  TRY_ASSIGN(const bool bias, vision_.BoolOr("attention_bias", false));
  if (bias) return FailHere("attention_bias: no Gemma model that Carat runs has biases");
  TRY_ASSIGN(const std::string activation, vision_.StringOr("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh")
    return FailHere("hidden_activation '" + activation + "'; Carat computes gelu_pytorch_tanh");
  return {};
}

Status Reader::ReadSizes() {
  VisionConfig& config = out_.config;
  TRY_ASSIGN(config.hidden, vision_.Integer("hidden_size", 1, kMaxWidth));
  TRY_ASSIGN(config.layers, vision_.Integer("num_hidden_layers", 1, kMaxLayers));
  TRY_ASSIGN(config.ff_width, vision_.Integer("intermediate_size", 1, kMaxFfWidth));
  TRY_ASSIGN(config.query_heads, vision_.Integer("num_attention_heads", 1, kMaxHeads));
  TRY_ASSIGN(config.kv_heads, vision_.IntegerOr("num_key_value_heads", config.query_heads, 1, kMaxHeads));
  TRY_ASSIGN(config.head_dim, vision_.IntegerOr("head_dim", 64, 1, kMaxWidth));
  TRY_ASSIGN(config.patch, vision_.IntegerOr("patch_size", 16, 1, kMaxPatchSide));
  TRY_ASSIGN(config.pooling, vision_.IntegerOr("pooling_kernel_size", 3, 1, kMaxPooling));
  TRY_ASSIGN(config.positions, vision_.IntegerOr("position_embedding_size", 10240, 1, kMaxGridSide));
  TRY_ASSIGN(const double epsilon, vision_.FloatOr("rms_norm_eps", 1e-6));
  if (!(epsilon >= 0 && epsilon < 1)) return FailHere("an RMS norm epsilon of " + std::to_string(epsilon));
  config.norm_epsilon = static_cast<float>(epsilon);
  TRY_ASSIGN(out_.clips, vision_.BoolOr("use_clipped_linears", false));
  TRY_ASSIGN(out_.standardizes, vision_.BoolOr("standardize", false));

  TRY_ASSIGN(const JsonObject text, top_.Object("text_config"));
  TRY_ASSIGN(config.text_hidden, text.Integer("hidden_size", 1, kMaxWidth));
  return {};
}

Status Reader::ReadRope() {
  double theta = 100;
  if (vision_.Has("rope_parameters")) {
    TRY_ASSIGN(const JsonObject rope, vision_.Object("rope_parameters"));
    TRY_ASSIGN(const std::string type, rope.StringOr("rope_type", "axial"));
    // Older files say "default" and mean the same.
    if (type != "axial" && type != "default")
      return FailHere("RoPE of the type '" + type + "'; Carat computes 'axial', over columns and rows");
    TRY_ASSIGN(theta, rope.FloatOr("rope_theta", theta));
  }
  if (!(theta > 0)) return FailHere("a RoPE base that is not positive");
  out_.config.rope = AxisRope(theta, out_.config.head_dim);
  return {};
}

}  // namespace

Result<VisionDescription> DescribeVisionHfFolder(const formats::Checkpoint& checkpoint) {
  return Reader(checkpoint).Read();
}

}  // namespace carat::gemma
