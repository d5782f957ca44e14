// The decoder's configuration from GGUF metadata (architectures gemma4 and gemma3).
#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/try.h"
#include "gemma/load.h"

namespace carat::gemma {

namespace {

constexpr TensorNames kNames = {
    .embedding = "token_embd.weight",
    .head = "output.weight",
    .ple_table = "per_layer_token_embd.weight",
    .ple_context = "per_layer_model_proj.weight",
    .ple_context_norm = "per_layer_proj_norm.weight",
    .final_norm = "output_norm.weight",
    .attention_norm = "attn_norm.weight",
    .q = "attn_q.weight",
    .k = "attn_k.weight",
    .v = "attn_v.weight",
    .q_norm = "attn_q_norm.weight",
    .k_norm = "attn_k_norm.weight",
    .o = "attn_output.weight",
    .post_attention_norm = "post_attention_norm.weight",
    .mlp_norm = "ffn_norm.weight",
    .gate = "ffn_gate.weight",
    .up = "ffn_up.weight",
    .down = "ffn_down.weight",
    .post_mlp_norm = "post_ffw_norm.weight",
    .ple_gate = "inp_gate.weight",
    .ple_projection = "proj.weight",
    .post_ple_norm = "post_norm.weight",
    .scale = "layer_output_scale.weight",
};

// Divisors of rope_freqs.weight from here on mean "does not rotate" (converters write 1e30).
constexpr float kNoRotation = 1e20f;

class Reader {
 public:
  explicit Reader(const formats::Checkpoint& checkpoint) : checkpoint_(checkpoint), metadata_(*checkpoint.gguf()) {}

  Result<Description> Read();

 private:
  Status ReadSizes();
  Status ReadLayers();
  Status ReadRope();
  Result<std::vector<int64_t>> PerLayer(const std::string& key, int64_t max);
  Result<std::vector<bool>> SlidingLayers();
  Status DivideByRopeFactors();

  std::string Key(const char* name) const { return architecture_ + "." + name; }
  bool Has(const char* name) const { return metadata_.Find(Key(name)) != nullptr; }
  std::unexpected<Error> FailHere(const std::string& what) const {
    return Fail(ErrorCode::kBadModel, checkpoint_.path().string() + ": " + what);
  }

  const formats::Checkpoint& checkpoint_;
  const formats::GgufMetadata& metadata_;
  std::string architecture_;
  Description out_;
  int64_t layers_ = 0;
  int64_t global_head_dim_ = 0, sliding_head_dim_ = 0;
  int64_t shared_layers_ = 0;
};

Result<Description> Reader::Read() {
  TRY_ASSIGN(const std::string_view architecture, metadata_.String("general.architecture"));
  architecture_ = architecture;
  if (architecture == "clip")
    return FailHere("this file holds only vision or audio towers (mmproj); name the text model's file");
  if (architecture == "gemma4-assistant" || architecture == "gemma4_assistant")
    return FailHere("this is a drafter that speeds up another model; name that model's file");
  if (architecture != "gemma4" && architecture != "gemma3")
    return FailHere("the architecture is '" + architecture_ +
                    "'; Carat runs gemma4 (E2B, E4B) and gemma3 (270M, 1B) text models");
  out_.names = kNames;
  out_.layer_prefix = "blk.";
  out_.tied_head = checkpoint_.Find(kNames.head) == nullptr;
  TRY(ReadSizes());
  TRY(ReadLayers());
  TRY(ReadRope());
  return std::move(out_);
}

Status Reader::ReadSizes() {
  DecoderConfig& config = out_.config;
  const bool gemma4 = architecture_ == "gemma4";
  config.architecture = architecture_;
  TRY_ASSIGN(layers_, metadata_.Integer(Key("block_count"), 1, kMaxLayers));
  TRY_ASSIGN(config.hidden, metadata_.Integer(Key("embedding_length"), 1, kMaxWidth));
  TRY_ASSIGN(const std::vector<int64_t> heads, PerLayer(Key("attention.head_count"), kMaxHeads));
  if (std::ranges::count(heads, heads[0]) != layers_)
    return FailHere("layers differ in '" + Key("attention.head_count") + "'; in gemma4 and gemma3 all have the same");
  config.query_heads = heads[0];
  TRY_ASSIGN(config.max_positions, metadata_.Integer(Key("context_length"), 1, kMaxPositions));
  TRY_ASSIGN(config.window, metadata_.Integer(Key("attention.sliding_window"), 1, kMaxPositions));
  TRY_ASSIGN(const double epsilon, metadata_.Float(Key("attention.layer_norm_rms_epsilon")));
  if (!(epsilon >= 0 && epsilon < 1)) return FailHere("an RMS norm epsilon of " + std::to_string(epsilon));
  config.norm_epsilon = static_cast<float>(epsilon);
  // A file without the key means 30 in gemma4 (so its other readers take it), and none in gemma3.
  TRY_ASSIGN(const double cap, metadata_.FloatOr(Key("final_logit_softcapping"), gemma4 ? 30.0 : 0.0));
  if (cap < 0) return FailHere("a negative logit soft cap");
  config.logit_soft_cap = static_cast<float>(cap);
  config.embedding_scale = std::sqrt(static_cast<float>(config.hidden));

  TRY_ASSIGN(global_head_dim_, metadata_.Integer(Key("attention.key_length"), 2, kMaxWidth));
  TRY_ASSIGN(sliding_head_dim_, metadata_.IntegerOr(Key("attention.key_length_swa"), global_head_dim_, 2, kMaxWidth));
  TRY_ASSIGN(const int64_t value_length,
             metadata_.IntegerOr(Key("attention.value_length"), global_head_dim_, 1, kMaxWidth));
  TRY_ASSIGN(const int64_t sliding_value_length,
             metadata_.IntegerOr(Key("attention.value_length_swa"), sliding_head_dim_, 1, kMaxWidth));
  if (value_length != global_head_dim_ || sliding_value_length != sliding_head_dim_)
    return FailHere("keys and values have different head sizes");

  const formats::Tensor* embedding = checkpoint_.Find(kNames.embedding);
  if (embedding == nullptr || embedding->shape.size() != 2)
    return FailHere(std::string("the matrix '") + kNames.embedding + "' is missing");
  if (embedding->shape[0] > kMaxVocabulary)
    return FailHere("a vocabulary of " + std::to_string(embedding->shape[0]) + " tokens");
  config.vocabulary = embedding->shape[0];

  if (gemma4) {
    TRY_ASSIGN(const int64_t experts, metadata_.IntegerOr(Key("expert_count"), 0, 0, 1 << 20));
    if (experts > 0) return FailHere("a mixture of experts (26B-A4B); Carat runs gemma4 E2B and E4B");
    TRY_ASSIGN(config.ple_width, metadata_.IntegerOr(Key("embedding_length_per_layer_input"), 0, 0, kMaxWidth));
    TRY_ASSIGN(shared_layers_, metadata_.IntegerOr(Key("attention.shared_kv_layers"), 0, 0, kMaxLayers));
    TRY_ASSIGN(config.ple_pad_id, metadata_.IntegerOr("tokenizer.ggml.padding_token_id", 0, 0, config.vocabulary - 1));
  } else {
    config.value_norm = false;
    // 27B, of 62 layers, is the one Gemma 3 whose attention factor is not that of its head size; no key says so.
    const double square = layers_ == 62 ? static_cast<double>(config.hidden) / static_cast<double>(config.query_heads)
                                        : static_cast<double>(global_head_dim_);
    config.query_scale = static_cast<float>(1.0 / std::sqrt(square));
  }
  return {};
}

// A value per layer, or one for all.
Result<std::vector<int64_t>> Reader::PerLayer(const std::string& key, int64_t max) {
  TRY_ASSIGN(std::vector<int64_t> values, metadata_.Integers(key, 1, max));
  if (values.size() == 1) values.resize(static_cast<size_t>(layers_), values[0]);
  if (values.size() != static_cast<size_t>(layers_))
    return FailHere("'" + key + "' has " + std::to_string(values.size()) + " values for " + std::to_string(layers_) +
                    " layers");
  return values;
}

Result<std::vector<bool>> Reader::SlidingLayers() {
  const std::string key = Key("attention.sliding_window_pattern");
  std::vector<bool> sliding(static_cast<size_t>(layers_));
  const formats::GgufValue* value = metadata_.Find(key);
  if (value != nullptr && value->type == formats::GgufType::kArray) {
    TRY_ASSIGN(const std::vector<int64_t> flags, metadata_.Integers(key, 0, 1));
    if (flags.size() != sliding.size())
      return FailHere("'" + key + "' has " + std::to_string(flags.size()) + " values for " + std::to_string(layers_) +
                      " layers");
    for (size_t i = 0; i < sliding.size(); ++i) sliding[i] = flags[i] != 0;
    return sliding;
  }
  if (value == nullptr && architecture_ == "gemma4") return FailHere("the key '" + key + "' is missing");
  TRY_ASSIGN(const int64_t period, metadata_.IntegerOr(key, 6, 1, kMaxLayers));
  for (size_t i = 0; i < sliding.size(); ++i) sliding[i] = (static_cast<int64_t>(i) + 1) % period != 0;
  return sliding;
}

Status Reader::ReadLayers() {
  DecoderConfig& config = out_.config;
  TRY_ASSIGN(const std::vector<int64_t> widths, PerLayer(Key("feed_forward_length"), kMaxFfWidth));
  TRY_ASSIGN(const std::vector<int64_t> kv_heads, PerLayer(Key("attention.head_count_kv"), kMaxHeads));
  TRY_ASSIGN(const std::vector<bool> sliding, SlidingLayers());
  for (size_t i = 0; i < static_cast<size_t>(layers_); ++i) {
    config.layers.push_back({.kind = sliding[i] ? LayerKind::kSliding : LayerKind::kGlobal,
                             .head_dim = sliding[i] ? sliding_head_dim_ : global_head_dim_,
                             .kv_heads = kv_heads[i],
                             .ff_width = widths[i]});
  }
  AssignKvLayers(config, static_cast<int>(std::min(shared_layers_, layers_)));
  return CheckConfig(config, static_cast<int>(shared_layers_), checkpoint_.path().string());
}

Status Reader::ReadRope() {
  DecoderConfig& config = out_.config;
  TRY_ASSIGN(const double theta, metadata_.FloatOr(Key("rope.freq_base"), 1e6));
  TRY_ASSIGN(const double sliding_theta, metadata_.FloatOr(Key("rope.freq_base_swa"), 1e4));
  if (!(theta > 0) || !(sliding_theta > 0)) return FailHere("a RoPE base that is not positive");
  double factor = 1.0;  // global layers only
  if (architecture_ == "gemma3" && Has("rope.scaling.type")) {
    TRY_ASSIGN(const std::string_view type, metadata_.String(Key("rope.scaling.type")));
    if (type == "linear") {
      TRY_ASSIGN(factor, metadata_.Float(Key("rope.scaling.factor")));
      if (!(factor > 0)) return FailHere("a RoPE scaling factor that is not positive");
    } else if (type != "none") {
      return FailHere("RoPE scaling of the type '" + std::string(type) + "'; Carat computes 'linear'");
    }
  }
  config.sliding_rope = ops::MakeRopeFrequencies(sliding_theta, sliding_head_dim_, sliding_head_dim_ / 2, 1.0);
  config.global_rope = ops::MakeRopeFrequencies(theta, global_head_dim_, global_head_dim_ / 2, factor);
  return architecture_ == "gemma4" ? DivideByRopeFactors() : Status{};
}

// Gemma 4 turns only the first quarter of a global head's pairs. GGUF says so by a table of divisors.
Status Reader::DivideByRopeFactors() {
  std::vector<float>& frequencies = out_.config.global_rope.frequencies;
  const formats::Tensor* factors = checkpoint_.Find("rope_freqs.weight");
  if (factors == nullptr) {
    frequencies.resize(frequencies.size() / 4);
    return {};
  }
  if (factors->type != quant::Type::kF32 || factors->shape != std::vector{static_cast<int64_t>(frequencies.size())})
    return FailHere("'rope_freqs.weight' must be " + std::to_string(frequencies.size()) +
                    " values of F32 (a copy in F16 cannot hold the 1e30 that stands for 'does not rotate')");
  size_t rotated = frequencies.size();
  for (size_t i = 0; i < frequencies.size(); ++i) {
    float divisor = 0;
    std::memcpy(&divisor, factors->data.data() + i * 4, 4);
    if (!(divisor > 0)) return FailHere("'rope_freqs.weight' has a divisor that is not positive");
    if (divisor >= kNoRotation) {
      rotated = std::min(rotated, i);
    } else if (i > rotated) {
      return FailHere("'rope_freqs.weight' rotates pairs above others that it does not rotate");
    } else {
      frequencies[i] /= divisor;
    }
  }
  frequencies.resize(rotated);
  return {};
}

}  // namespace

Result<Description> DescribeGguf(const formats::Checkpoint& checkpoint) { return Reader(checkpoint).Read(); }

}  // namespace carat::gemma
