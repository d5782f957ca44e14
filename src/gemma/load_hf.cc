// The decoder's configuration from a Hugging Face config.json (model types gemma4, gemma4_text and gemma3_text).
#include <cmath>

#include "base/try.h"
#include "gemma/load.h"
#include "gemma/load_quantized.h"

namespace carat::gemma {

namespace {

constexpr TensorNames kNames = {
    .embedding = "embed_tokens.weight",
    .head = "lm_head.weight",
    .ple_table = "embed_tokens_per_layer.weight",
    .ple_context = "per_layer_model_projection.weight",
    .ple_context_norm = "per_layer_projection_norm.weight",
    .final_norm = "norm.weight",
    .attention_norm = "input_layernorm.weight",
    .q = "self_attn.q_proj.weight",
    .k = "self_attn.k_proj.weight",
    .v = "self_attn.v_proj.weight",
    .q_norm = "self_attn.q_norm.weight",
    .k_norm = "self_attn.k_norm.weight",
    .o = "self_attn.o_proj.weight",
    .post_attention_norm = "post_attention_layernorm.weight",
    .mlp_norm = "pre_feedforward_layernorm.weight",
    .gate = "mlp.gate_proj.weight",
    .up = "mlp.up_proj.weight",
    .down = "mlp.down_proj.weight",
    .post_mlp_norm = "post_feedforward_layernorm.weight",
    .ple_gate = "per_layer_input_gate.weight",
    .ple_projection = "per_layer_projection.weight",
    .post_ple_norm = "post_per_layer_input_norm.weight",
    .scale = "layer_scalar",
    .k_cache_scale = "self_attn.k_cache_scale",
    .v_cache_scale = "self_attn.v_cache_scale",
};

// Where the language model's tensors stand: multimodal checkpoints, text-only ones, MLX conversions.
constexpr const char* kPrefixes[] = {"model.language_model.", "model.", "language_model.model."};

class Reader {
 public:
  explicit Reader(const formats::Checkpoint& checkpoint) : checkpoint_(checkpoint), top_(checkpoint.hf()->Config()) {}

  Result<Description> Read();

 private:
  Status FindTextConfig();
  Status FindTensors();
  Status RefuseOtherModels();
  Status ReadSizes();
  Status ReadGemma4();
  Status ReadGemma3();
  Status AddLayers(int64_t shared_layers, int64_t period, bool last_is_global);
  Status ReadPerLayerConfig();
  Result<double> Number(const JsonObject& object, const char* key, double fallback, double min);
  Result<std::string> RopeType(const JsonObject& rope);

  std::unexpected<Error> FailHere(const std::string& what) const {
    return Fail(ErrorCode::kBadModel, text_.where + ": " + what);
  }

  const formats::Checkpoint& checkpoint_;
  JsonObject top_, text_;
  Description out_;
  bool gemma4_ = true;
  int64_t layers_ = 0, ff_width_ = 0, kv_heads_ = 0, head_dim_ = 0, global_head_dim_ = 0;
};

Result<Description> Reader::Read() {
  out_.names = kNames;
  TRY(FindTextConfig());
  TRY(RefuseOtherModels());
  TRY(ReadSizes());
  TRY(gemma4_ ? ReadGemma4() : ReadGemma3());
  TRY(FindTensors());
  return std::move(out_);
}

Status Reader::FindTextConfig() {
  text_ = top_;
  TRY_ASSIGN(const std::string type, top_.StringOr("model_type", ""));
  if (type == "gemma4") {
    TRY_ASSIGN(text_, top_.Object("text_config"));
  } else if (type == "gemma4_assistant") {
    return FailHere("this is a drafter that speeds up another model; name that model's folder");
  } else if (type == "gemma3_text") {
    gemma4_ = false;
  } else if (type != "gemma4_text") {
    return FailHere(type.empty() ? "there is no model_type"
                                 : "the model_type is '" + type +
                                       "'; Carat runs gemma4 (E2B, E4B), gemma4_text, and gemma3_text (270M, 1B)");
  }
  out_.config.architecture = gemma4_ ? "gemma4" : "gemma3";
  return {};
}

// Members of the family that compute something else.
Status Reader::RefuseOtherModels() {
  TRY_ASSIGN(const bool experts, text_.BoolOr("enable_moe_block", false));
  if (experts) return FailHere("enable_moe_block: a mixture of experts (26B-A4B); Carat runs gemma4 E2B and E4B");
  TRY_ASSIGN(const bool k_is_v, text_.BoolOr("attention_k_eq_v", false));
  if (k_is_v) return FailHere("attention_k_eq_v: keys serve as values (12B, 31B); Carat runs gemma4 E2B and E4B");
  TRY_ASSIGN(const bool bias, text_.BoolOr("attention_bias", false));
  if (bias) return FailHere("attention_bias: no Gemma model that Carat runs has biases");
  if (text_.Has("use_bidirectional_attention") && (*text_.json)["use_bidirectional_attention"] != false)
    return FailHere(
        "use_bidirectional_attention: attention that looks ahead (encoders, 12B and larger); Carat runs "
        "causal models");
  if (text_.Has("attn_logit_softcapping"))
    return FailHere("attn_logit_softcapping: only Gemma 2 caps attention scores");
  TRY_ASSIGN(const std::string activation, text_.StringOr("hidden_activation", "gelu_pytorch_tanh"));
  if (activation != "gelu_pytorch_tanh")
    return FailHere("hidden_activation '" + activation + "'; Carat computes gelu_pytorch_tanh");
  TRY_ASSIGN(out_.quantization, ReadQuantization(top_, checkpoint_));
  return {};
}

Status Reader::ReadSizes() {
  DecoderConfig& config = out_.config;
  TRY_ASSIGN(layers_, text_.Integer("num_hidden_layers", 1, kMaxLayers));
  TRY_ASSIGN(config.hidden, text_.Integer("hidden_size", 1, kMaxWidth));
  TRY_ASSIGN(ff_width_, text_.Integer("intermediate_size", 1, kMaxFfWidth));
  TRY_ASSIGN(config.query_heads, text_.Integer("num_attention_heads", 1, kMaxHeads));
  TRY_ASSIGN(kv_heads_, text_.Integer("num_key_value_heads", 1, kMaxHeads));
  TRY_ASSIGN(head_dim_, text_.IntegerOr("head_dim", 256, 2, kMaxWidth));
  TRY_ASSIGN(config.vocabulary, text_.Integer("vocab_size", 1, kMaxVocabulary));
  TRY_ASSIGN(config.window, text_.IntegerOr("sliding_window", gemma4_ ? 512 : 4096, 1, kMaxPositions));
  TRY_ASSIGN(config.max_positions, text_.IntegerOr("max_position_embeddings", 131072, 1, kMaxPositions));
  TRY_ASSIGN(const double epsilon, Number(text_, "rms_norm_eps", 1e-6, 0));
  config.norm_epsilon = static_cast<float>(epsilon);
  TRY_ASSIGN(const double cap, Number(text_, "final_logit_softcapping", 0, 0));
  config.logit_soft_cap = static_cast<float>(cap);
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));
  return {};
}

Status Reader::ReadGemma4() {
  DecoderConfig& config = out_.config;
  TRY_ASSIGN(global_head_dim_, text_.IntegerOr("global_head_dim", 512, 2, kMaxWidth));
  TRY_ASSIGN(config.ple_width, text_.IntegerOr("hidden_size_per_layer_input", 256, 0, kMaxWidth));
  TRY_ASSIGN(config.ple_pad_id, text_.IntegerOr("pad_token_id", 0, 0, config.vocabulary - 1));
  if (config.ple_width > 0) {
    TRY_ASSIGN(const int64_t rows, text_.IntegerOr("vocab_size_per_layer_input", config.vocabulary, 1, kMaxVocabulary));
    if (rows != config.vocabulary)
      return FailHere("vocab_size_per_layer_input is " + std::to_string(rows) + ", but vocab_size is " +
                      std::to_string(config.vocabulary));
  }
  TRY_ASSIGN(const int64_t shared, text_.IntegerOr("num_kv_shared_layers", 0, 0, kMaxLayers));
  TRY(AddLayers(shared, 6, /*last_is_global=*/true));
  TRY_ASSIGN(const bool double_wide, text_.BoolOr("use_double_wide_mlp", false));
  if (double_wide)
    for (int64_t i = std::max<int64_t>(0, layers_ - shared); i < layers_; ++i)
      config.layers[static_cast<size_t>(i)].ff_width *= 2;
  TRY(ReadPerLayerConfig());
  TRY(CheckConfig(config, static_cast<int>(shared), text_.where));

  double thetas[2] = {1e4, 1e6}, part = 0.25, factor = 1.0;
  if (text_.Has("rope_parameters")) {
    TRY_ASSIGN(const JsonObject rope, text_.Object("rope_parameters"));
    TRY_ASSIGN(const JsonObject sliding, rope.Object("sliding_attention"));
    TRY_ASSIGN(const JsonObject global, rope.Object("full_attention"));
    TRY_ASSIGN(const std::string sliding_type, RopeType(sliding));
    TRY_ASSIGN(const std::string global_type, RopeType(global));
    if (sliding_type != "default" || (global_type != "proportional" && global_type != "default"))
      return FailHere("RoPE of the types '" + sliding_type + "' and '" + global_type +
                      "'; Gemma 4 has 'default' (sliding) and 'proportional' (global)");
    TRY_ASSIGN(thetas[0], Number(sliding, "rope_theta", thetas[0], 1e-9));
    TRY_ASSIGN(thetas[1], Number(global, "rope_theta", thetas[1], 1e-9));
    TRY_ASSIGN(part, Number(global, "partial_rotary_factor", 1.0, 0));
    TRY_ASSIGN(factor, Number(global, "factor", 1.0, 1e-9));
    if (part > 1) return FailHere("a partial_rotary_factor above 1");
    if (global_type == "default") part = 1.0;
  }
  const auto rotated = static_cast<int64_t>(part * static_cast<double>(global_head_dim_) / 2);
  config.sliding_rope = ops::MakeRopeFrequencies(thetas[0], head_dim_, head_dim_ / 2, 1.0);
  config.global_rope = ops::MakeRopeFrequencies(thetas[1], global_head_dim_, rotated, factor);
  return {};
}

Status Reader::ReadGemma3() {
  DecoderConfig& config = out_.config;
  out_.norms_are_offsets = true;
  config.value_norm = false;
  global_head_dim_ = head_dim_;
  TRY_ASSIGN(const double scalar, Number(text_, "query_pre_attn_scalar", 256, 1e-9));
  config.query_scale = static_cast<float>(1.0 / std::sqrt(scalar));
  TRY_ASSIGN(const int64_t noted, text_.IntegerOr("_sliding_window_pattern", 6, 1, kMaxLayers));
  TRY_ASSIGN(const int64_t period, text_.IntegerOr("sliding_window_pattern", noted, 1, kMaxLayers));
  TRY(AddLayers(0, period, /*last_is_global=*/false));
  TRY(CheckConfig(config, 0, text_.where));

  double thetas[2] = {1e4, 1e6}, factor = 1.0;
  if (text_.Has("rope_parameters")) {  // as transformers 5 writes it
    TRY_ASSIGN(const JsonObject rope, text_.Object("rope_parameters"));
    TRY_ASSIGN(const JsonObject sliding, rope.Object("sliding_attention"));
    TRY_ASSIGN(const JsonObject global, rope.Object("full_attention"));
    TRY_ASSIGN(const std::string sliding_type, RopeType(sliding));
    TRY_ASSIGN(const std::string global_type, RopeType(global));
    if (sliding_type != "default" || (global_type != "default" && global_type != "linear"))
      return FailHere("RoPE of the types '" + sliding_type + "' and '" + global_type +
                      "'; Gemma 3 has 'default', and 'linear' on global layers");
    TRY_ASSIGN(thetas[0], Number(sliding, "rope_theta", thetas[0], 1e-9));
    TRY_ASSIGN(thetas[1], Number(global, "rope_theta", thetas[1], 1e-9));
    if (global_type == "linear") {
      TRY_ASSIGN(factor, Number(global, "factor", 1.0, 1e-9));
    }
  } else {  // as published
    TRY_ASSIGN(thetas[0], Number(text_, "rope_local_base_freq", thetas[0], 1e-9));
    TRY_ASSIGN(thetas[1], Number(text_, "rope_theta", thetas[1], 1e-9));
    if (text_.Has("rope_scaling")) {
      TRY_ASSIGN(const JsonObject scaling, text_.Object("rope_scaling"));
      TRY_ASSIGN(const std::string type, RopeType(scaling));
      if (type != "linear") return FailHere("rope_scaling of the type '" + type + "'; Gemma 3 has 'linear'");
      TRY_ASSIGN(factor, Number(scaling, "factor", 1.0, 1e-9));
    }
  }
  config.sliding_rope = ops::MakeRopeFrequencies(thetas[0], head_dim_, head_dim_ / 2, 1.0);
  config.global_rope = ops::MakeRopeFrequencies(thetas[1], head_dim_, head_dim_ / 2, factor);
  return {};
}

Status Reader::AddLayers(int64_t shared_layers, int64_t period, bool last_is_global) {
  DecoderConfig& config = out_.config;
  std::vector<bool> sliding(static_cast<size_t>(layers_));
  if (text_.Has("layer_types")) {
    TRY_ASSIGN(const std::vector<std::string> types, text_.Strings("layer_types"));
    if (types.size() != sliding.size())
      return FailHere("layer_types has " + std::to_string(types.size()) + " entries for " + std::to_string(layers_) +
                      " layers");
    for (size_t i = 0; i < types.size(); ++i) {
      if (types[i] != "sliding_attention" && types[i] != "full_attention")
        return FailHere("layer_types names '" + types[i] + "'; Carat computes sliding_attention and full_attention");
      sliding[i] = types[i] == "sliding_attention";
    }
  } else {
    for (size_t i = 0; i < sliding.size(); ++i) sliding[i] = (static_cast<int64_t>(i) + 1) % period != 0;
  }
  if (last_is_global) sliding.back() = false;  // transformers does, whatever the list says
  for (const bool is_sliding : sliding)
    config.layers.push_back({.kind = is_sliding ? LayerKind::kSliding : LayerKind::kGlobal,
                             .head_dim = is_sliding ? head_dim_ : global_head_dim_,
                             .kv_heads = kv_heads_,
                             .ff_width = ff_width_});
  AssignKvLayers(config, static_cast<int>(std::min(shared_layers, layers_)));
  return {};
}

// The newer spelling of global_head_dim: a map from layer numbers ("05", "11") to what is different there.
Status Reader::ReadPerLayerConfig() {
  if (!text_.Has("per_layer_config")) return {};
  TRY_ASSIGN(const JsonObject map, text_.Object("per_layer_config"));
  for (const auto& [key, value] : map.json->items()) {
    int64_t layer = 0;
    for (const char digit : key) {
      if (digit < '0' || digit > '9' || layer >= layers_)
        return FailHere("per_layer_config has the key '" + key + "', which names no layer");
      layer = layer * 10 + (digit - '0');
    }
    if (key.empty() || layer >= layers_)
      return FailHere("per_layer_config has the key '" + key + "', which names no layer");
    if (!value.is_object()) return FailHere("per_layer_config '" + key + "' is not an object");
    LayerConfig& config = out_.config.layers[static_cast<size_t>(layer)];
    TRY_ASSIGN(config.head_dim,
               (JsonObject{&value, map.where + " '" + key + "'"}.IntegerOr("head_dim", config.head_dim, 2, kMaxWidth)));
    if (config.kind == LayerKind::kGlobal) global_head_dim_ = config.head_dim;
  }
  for (const LayerConfig& layer : out_.config.layers)
    if (layer.head_dim != (layer.kind == LayerKind::kGlobal ? global_head_dim_ : head_dim_))
      return FailHere("per_layer_config gives layers of one kind different head sizes");
  return {};
}

Result<double> Reader::Number(const JsonObject& object, const char* key, double fallback, double min) {
  TRY_ASSIGN(const double value, object.FloatOr(key, fallback));
  if (!(value >= min)) return Fail(ErrorCode::kBadModel, object.where + ": '" + key + "' is " + std::to_string(value));
  return value;
}

Result<std::string> Reader::RopeType(const JsonObject& rope) {
  if (rope.Has("rope_type")) return rope.String("rope_type");
  return rope.StringOr("type", "default");
}

Status Reader::FindTensors() {
  for (const char* prefix : kPrefixes) {
    const bool quantized = checkpoint_.Find(std::string(prefix) + "embed_tokens.embedding_quantized") != nullptr;
    if (!quantized && checkpoint_.Find(std::string(prefix) + kNames.embedding) == nullptr) continue;
    out_.prefix = prefix;
    out_.layer_prefix = std::string(prefix) + "layers.";
    TRY_ASSIGN(bool tied, text_.BoolOr("tie_word_embeddings", true));
    TRY_ASSIGN(tied, top_.BoolOr("tie_word_embeddings", tied));
    out_.tied_head = tied;
    return {};
  }
  return Fail(ErrorCode::kBadModel,
              checkpoint_.path().string() +
                  ": there is no tensor 'model.language_model.embed_tokens.weight' (nor under another "
                  "known prefix)");
}

}  // namespace

Result<Description> DescribeHfFolder(const formats::Checkpoint& checkpoint) { return Reader(checkpoint).Read(); }

}  // namespace carat::gemma
