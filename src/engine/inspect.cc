#include "engine/inspect.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <string_view>

#include "base/try.h"
#include "engine/load_tokenizer.h"

namespace carat {
namespace {

bool StartsWithOneOf(std::string_view name, std::initializer_list<std::string_view> prefixes) {
  return std::ranges::any_of(prefixes, [&](std::string_view prefix) { return name.starts_with(prefix); });
}

// Whether the tensor makes keys or values in a layer that reads those of another.
bool IsDeadKv(std::string_view name, const gemma::DecoderConfig& config) {
  for (const std::string_view before : {"layers.", "blk."}) {
    const size_t at = name.find(before);
    if (at == name.npos) continue;
    name.remove_prefix(at + before.size());
    int layer = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), layer);
    if (error != std::errc() || layer < 0 || layer >= config.layer_count() || config.OwnsKv(layer)) return false;
    name.remove_prefix(static_cast<size_t>(end - name.data()));
    return StartsWithOneOf(name, {".self_attn.k_", ".self_attn.v_", ".attn_k", ".attn_v"});
  }
  return false;
}

TensorUse UseOf(const formats::Tensor& tensor, const gemma::Model* model) {
  std::string_view name = tensor.name;
  if (name.starts_with("model.")) name.remove_prefix(6);
  if (StartsWithOneOf(name, {"audio_tower.", "embed_audio.", "a.", "mm.a."})) return TensorUse::kAudio;
  if (StartsWithOneOf(name, {"vision_tower.", "embed_vision.", "multi_modal_projector.", "v.", "mm."}))
    return TensorUse::kVision;
  if (name.find("embed_tokens_per_layer") != name.npos || name.starts_with("per_layer_token_embd"))
    return TensorUse::kPleTable;
  if (model == nullptr) return TensorUse::kDecoder;
  const bool is_head = StartsWithOneOf(name, {"lm_head.", "language_model.lm_head.", "output.weight"});
  const bool tied = model->head.data == model->embedding.data;
  if (!tied && StartsWithOneOf(name, {"language_model.embed_tokens.", "embed_tokens.", "token_embd."}))
    return TensorUse::kEmbedding;
  return (is_head && tied) || IsDeadKv(name, model->config) ? TensorUse::kIdle : TensorUse::kDecoder;
}

}  // namespace

Result<Inspection> Inspect(const std::filesystem::path& path) {
  TRY_ASSIGN(formats::Checkpoint checkpoint, formats::Checkpoint::Open(path));
  Result<std::optional<text::Tokenizer>> tokenizer = LoadTokenizer(checkpoint);
  Result<gemma::Model> model = gemma::Model::Load(checkpoint);
  Result<GenerationDefaults> defaults;
  if (model) {
    const text::Tokenizer* vocabulary = tokenizer && tokenizer->has_value() ? &tokenizer->value() : nullptr;
    defaults = ReadGenerationDefaults(checkpoint, model->config.vocabulary, vocabulary);
  } else {
    defaults = std::unexpected(model.error());
  }
  std::vector<TensorUse> uses;
  for (const formats::Tensor& tensor : checkpoint.tensors()) uses.push_back(UseOf(tensor, model ? &*model : nullptr));
  // The model's views point into the mapped files, which stay where they are when the checkpoint moves.
  return Inspection{.checkpoint = std::move(checkpoint),
                    .uses = std::move(uses),
                    .model = std::move(model),
                    .tokenizer = std::move(tokenizer),
                    .defaults = std::move(defaults)};
}

}  // namespace carat
