#include "engine/inspect.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/try.h"
#include "engine/load_tokenizer.h"
#include "gemma/load_schedule.h"

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

// A matrix of an encoder as what it is, codes or floats, with its scales. Of packed codes the tensor does not tell the
// bits without the encoder's widths; the schedule does.
void AddTowerMatrix(const formats::Checkpoint& checkpoint, const formats::Tensor& tensor, std::string_view role,
                    std::vector<gemma::WeightShare>& shares) {
  if (tensor.shape.size() < 2 || tensor.name.ends_with("_scale")) return;
  quant::Type type = tensor.type;
  uint64_t elements = 1, bytes = tensor.data.size();
  for (const int64_t extent : tensor.shape) elements *= static_cast<uint64_t>(extent);
  const formats::Tensor* scales = checkpoint.Find(std::string(tensor.name) + "_scale");
  if (scales != nullptr && (type == quant::Type::kI8 || type == quant::Type::kU8)) {
    int bits = 8;
    if (type == quant::Type::kU8 && checkpoint.hf() != nullptr) {
      const JsonObject config = checkpoint.hf()->Config();
      const auto quantization = config.Object("quantization_config");
      const std::string_view module = tensor.name.substr(0, tensor.name.rfind('.'));
      bits = quantization ? gemma::ScheduledBits(*quantization, module) : 4;
    }
    type = bits == 8 ? quant::Type::kC8 : bits == 4 ? quant::Type::kC4 : quant::Type::kC2;
    elements *= static_cast<uint64_t>(8 / bits);
    bytes += scales->data.size();
  }
  auto share = std::ranges::find_if(shares, [&](const auto& it) { return it.role == role && it.type == type; });
  if (share == shares.end()) share = shares.insert(share, {.role = role, .type = type, .layers = {}});
  share->elements += elements;
  share->bytes += bytes;
}

std::vector<gemma::WeightShare> TowersOf(const formats::Checkpoint& checkpoint, std::span<const TensorUse> uses) {
  std::vector<gemma::WeightShare> shares;
  for (const auto& [use, role] :
       {std::pair(TensorUse::kVision, "vision encoder"), std::pair(TensorUse::kAudio, "audio encoder")})
    for (size_t i = 0; i < uses.size(); ++i)
      if (uses[i] == use) AddTowerMatrix(checkpoint, checkpoint.tensors()[i], role, shares);
  return shares;
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
  std::vector<gemma::WeightShare> towers = TowersOf(checkpoint, uses);
  // The model's views point into the mapped files, which stay where they are when the checkpoint moves.
  return Inspection{.checkpoint = std::move(checkpoint),
                    .uses = std::move(uses),
                    .towers = std::move(towers),
                    .model = std::move(model),
                    .tokenizer = std::move(tokenizer),
                    .defaults = std::move(defaults)};
}

}  // namespace carat
