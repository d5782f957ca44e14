// The vision tower's configuration from GGUF metadata (architecture clip: an mmproj file).
#include <algorithm>

#include "base/try.h"
#include "gemma/load_vision.h"

namespace carat::gemma {

namespace {

constexpr VisionTensorNames kNames = {
    .patch = "v.patch_embd.weight",
    .positions = "v.position_embd.weight",
    .std_bias = "v.std_bias",
    .std_scale = "v.std_scale",
    .projection = "mm.input_projection.weight",
    .attention_norm = "ln1.weight",
    .q_norm = "attn_q_norm.weight",
    .k_norm = "attn_k_norm.weight",
    .post_attention_norm = "attn_post_norm.weight",
    .mlp_norm = "ln2.weight",
    .post_mlp_norm = "ffn_post_norm.weight",
    .scale = "out_scale.weight",
    .q = "attn_q",
    .k = "attn_k",
    .v = "attn_v",
    .o = "attn_out",
    .gate = "ffn_gate",
    .up = "ffn_up",
    .down = "ffn_down",
    .linear = ".weight",
};

constexpr const char* kRuns = "; Carat runs mmproj files of Gemma 4 E2B and E4B, whose projector_type is 'gemma4v'";

class Reader {
 public:
  explicit Reader(const formats::Checkpoint& checkpoint) : checkpoint_(checkpoint), metadata_(*checkpoint.gguf()) {}

  Result<VisionDescription> Read();

 private:
  Status RefuseOtherTowers();
  Status ReadSizes();
  Status CheckPixels(const char* key, double expected);

  std::unexpected<Error> FailHere(const std::string& what, ErrorCode code = ErrorCode::kBadModel) const {
    return Fail(code, checkpoint_.path().string() + ": " + what);
  }

  const formats::Checkpoint& checkpoint_;
  const formats::GgufMetadata& metadata_;
  VisionDescription out_;
};

Result<VisionDescription> Reader::Read() {
  out_.names = kNames;
  out_.layer_prefix = "v.blk.";
  out_.planar_patches = true;
  TRY(RefuseOtherTowers());
  TRY(ReadSizes());
  TRY(CheckPixels("clip.vision.image_mean", 0));
  TRY(CheckPixels("clip.vision.image_std", 1));
  TRY(CheckVisionConfig(out_.config, checkpoint_.path().string()));
  out_.standardizes = checkpoint_.Find(kNames.std_bias) != nullptr;  // no key says so
  return std::move(out_);
}

Status Reader::RefuseOtherTowers() {
  TRY_ASSIGN(const std::string_view architecture, metadata_.String("general.architecture"));
  if (architecture != "clip")
    return FailHere(
        "there is no vision tower in this file: its architecture is '" + std::string(architecture) + "'" + kRuns,
        ErrorCode::kNotFound);
  TRY_ASSIGN(const bool sees, metadata_.BoolOr("clip.has_vision_encoder", false));
  if (!sees) return FailHere(std::string("there is no vision tower in this file") + kRuns, ErrorCode::kNotFound);
  const char* key = "clip.vision.projector_type";
  if (metadata_.Find(key) == nullptr) key = "clip.projector_type";
  TRY_ASSIGN(const std::string_view type, metadata_.String(key));
  if (type == "gemma4uv") return FailHere(std::string("this is the encoder of Gemma 4 12B ('gemma4uv')") + kRuns);
  if (type != "gemma4v") return FailHere("the projector_type is '" + std::string(type) + "'" + kRuns);
  return {};
}

Status Reader::ReadSizes() {
  VisionConfig& config = out_.config;
  TRY_ASSIGN(config.hidden, metadata_.Integer("clip.vision.embedding_length", 1, kMaxWidth));
  TRY_ASSIGN(config.text_hidden, metadata_.Integer("clip.vision.projection_dim", 1, kMaxWidth));
  TRY_ASSIGN(config.layers, metadata_.Integer("clip.vision.block_count", 1, kMaxLayers));
  TRY_ASSIGN(config.ff_width, metadata_.Integer("clip.vision.feed_forward_length", 1, kMaxFfWidth));
  TRY_ASSIGN(config.query_heads, metadata_.Integer("clip.vision.attention.head_count", 1, kMaxHeads));
  TRY_ASSIGN(config.kv_heads,
             metadata_.IntegerOr("clip.vision.attention.head_count_kv", config.query_heads, 1, kMaxHeads));
  TRY_ASSIGN(config.head_dim,
             metadata_.IntegerOr("clip.vision.attention.head_dim",
                                 std::max<int64_t>(1, config.hidden / config.query_heads), 1, kMaxWidth));
  TRY_ASSIGN(config.patch, metadata_.Integer("clip.vision.patch_size", 1, kMaxPatchSide));
  TRY_ASSIGN(config.pooling, metadata_.IntegerOr("clip.vision.projector.scale_factor", 3, 1, kMaxPooling));
  TRY_ASSIGN(const double epsilon, metadata_.FloatOr("clip.vision.attention.layer_norm_epsilon", 1e-6));
  if (!(epsilon >= 0 && epsilon < 1)) return FailHere("an RMS norm epsilon of " + std::to_string(epsilon));
  config.norm_epsilon = static_cast<float>(epsilon);
  config.rope = AxisRope(100, config.head_dim);  // no key says so

  const formats::Tensor* table = checkpoint_.Find(kNames.positions);
  if (table == nullptr || table->shape.size() != 3 || table->shape[1] < 1 || table->shape[1] > kMaxGridSide)
    return FailHere(std::string("there is no table of positions of columns and rows, '") + kNames.positions + "'");
  config.positions = table->shape[1];
  return {};
}

// Pixels enter as they are. A file that shifts or scales them is of another tower.
Status Reader::CheckPixels(const char* key, double expected) {
  if (metadata_.Find(key) == nullptr) return {};
  TRY_ASSIGN(const std::vector<double> values, metadata_.Floats(key));
  if (std::ranges::all_of(values, [&](double value) { return value == expected; })) return {};
  return FailHere(std::string(key) + " is not " + (expected == 0 ? "0" : "1") + " for each channel" + kRuns);
}

}  // namespace

Result<VisionDescription> DescribeVisionGguf(const formats::Checkpoint& checkpoint) {
  return Reader(checkpoint).Read();
}

}  // namespace carat::gemma
