// Binds the tensors of a checkpoint to the model, checking every shape.
#include "gemma/load.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <unordered_set>

#include "base/float16.h"
#include "base/try.h"
#include "gemma/load_quantized.h"
#include "gemma/model.h"

namespace carat::gemma {

std::unexpected<Error> FailTensor(const formats::Checkpoint& checkpoint, std::string_view name,
                                  const std::string& what) {
  return Fail(ErrorCode::kBadModel, checkpoint.path().string() + ": tensor '" + std::string(name) + "' " + what);
}

std::string ShapeText(std::span<const int64_t> shape) {
  std::string text = "[";
  for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

Result<const formats::Tensor*> FindTensor(const formats::Checkpoint& checkpoint, std::string_view name,
                                          std::span<const int64_t> shape) {
  const formats::Tensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return FailTensor(checkpoint, name, "is missing");
  if (!std::ranges::equal(tensor->shape, shape))
    return FailTensor(
        checkpoint, name,
        "has the shape " + ShapeText(tensor->shape) + " where the configuration asks for " + ShapeText(shape));
  return tensor;
}

namespace {

// Of a module, "layers.3.mlp.up_proj" for "layers.3.mlp.up_proj.weight".
std::string ModuleOf(std::string_view name) { return std::string(name.substr(0, name.rfind('.'))); }

}  // namespace

Result<ops::Matrix> BindMatrix(const formats::Checkpoint& checkpoint, const std::string& name,
                               std::span<const int64_t> shape) {
  TRY_ASSIGN(const formats::Tensor* tensor, FindTensor(checkpoint, name, shape));
  const int64_t cols = shape.back();
  int64_t rows = 1;
  for (const int64_t size : shape.first(shape.size() - 1)) rows *= size;
  if (!quant::IsWeight(tensor->type))
    return FailTensor(checkpoint, name,
                      "has the type " + std::string(quant::Info(tensor->type).name) + ", which is no type of weights");
  const auto row_bytes = quant::RowBytes(tensor->type, static_cast<uint64_t>(cols));
  if (!row_bytes || *row_bytes * static_cast<uint64_t>(rows) != tensor->data.size())
    return FailTensor(checkpoint, name, "does not have the size that its shape and type give");
  return ops::Matrix{.type = tensor->type,
                     .rows = rows,
                     .cols = cols,
                     .data = tensor->data.data(),
                     .row_bytes = static_cast<int64_t>(*row_bytes)};
}

Result<ops::Matrix> BindLinear(const formats::Checkpoint& checkpoint, Quantization quantization,
                               const std::string& name, int64_t rows, int64_t cols) {
  if (quantization == Quantization::kGemma) return BindGemmaLinear(checkpoint, ModuleOf(name), rows, cols);
  if (quantization == Quantization::kCompressedTensors) return BindGroupLinear(checkpoint, ModuleOf(name), rows, cols);
  return BindMatrix(checkpoint, name, std::array{rows, cols});
}

Result<Vector> BindVector(const formats::Checkpoint& checkpoint, const std::string& name,
                          std::span<const int64_t> shape) {
  TRY_ASSIGN(const formats::Tensor* tensor, FindTensor(checkpoint, name, shape));
  if (!quant::IsFloat(tensor->type))
    return FailTensor(checkpoint, name,
                      "has the type " + std::string(quant::Info(tensor->type).name) + "; vectors are F32, F16 or BF16");
  const size_t element = tensor->type == quant::Type::kF32 ? sizeof(float) : sizeof(uint16_t);
  Vector values(tensor->data.size() / element);
  for (size_t i = 0; i < values.size(); ++i) {
    values[i] = ops::ScaleAt(tensor->type, tensor->data.data(), static_cast<int64_t>(i));
    if (!std::isfinite(values[i])) return FailTensor(checkpoint, name, "has an element that is not finite");
  }
  return values;
}

FilePlace PlaceOf(const formats::Checkpoint& checkpoint, const std::byte* data) {
  for (const MappedFile& file : checkpoint.files()) {
    const std::span<const std::byte> bytes = file.bytes();
    if (data >= bytes.data() && data < bytes.data() + bytes.size())
      return {.file = &file, .offset = static_cast<uint64_t>(data - bytes.data())};
  }
  return {};
}

namespace {

class Binder {
 public:
  Binder(const formats::Checkpoint& checkpoint, const Description& description)
      : checkpoint_(checkpoint), description_(description) {}

  Result<Model> Bind();

 private:
  Status BindGlobals(Model& model);
  Status BindLayer(Model& model, int index);

  Result<ops::Matrix> LinearOf(const std::string& name, int64_t rows, int64_t cols);
  Result<ops::Matrix> EmbeddingOf(const std::string& name, int64_t rows, int64_t cols);
  Status BindCacheScales(LayerWeights& w, const std::string& prefix);
  Result<Vector> NormOf(const std::string& name, int64_t size);

  std::string Global(const char* name) const { return description_.prefix + name; }

  const formats::Checkpoint& checkpoint_;
  const Description& description_;
  bool has_blocks_ = false;
};

Result<ops::Matrix> Binder::LinearOf(const std::string& name, int64_t rows, int64_t cols) {
  TRY_ASSIGN(ops::Matrix matrix, BindLinear(checkpoint_, description_.quantization, name, rows, cols));
  has_blocks_ = has_blocks_ || quant::IsBlock(matrix.type);
  return matrix;
}

Result<ops::Matrix> Binder::EmbeddingOf(const std::string& name, int64_t rows, int64_t cols) {
  TRY_ASSIGN(ops::Matrix matrix, description_.quantization == Quantization::kGemma
                                     ? BindGemmaEmbedding(checkpoint_, ModuleOf(name), rows, cols)
                                     : BindMatrix(checkpoint_, name, std::array{rows, cols}));
  has_blocks_ = has_blocks_ || quant::IsBlock(matrix.type);
  return matrix;
}

Result<Vector> Binder::NormOf(const std::string& name, int64_t size) {
  TRY_ASSIGN(Vector values, BindVector(checkpoint_, name, std::array{size}));
  if (description_.norms_are_offsets)
    for (float& value : values) value += 1.0f;
  return values;
}

Status Binder::BindGlobals(Model& model) {
  const DecoderConfig& config = description_.config;
  const TensorNames& names = description_.names;
  TRY_ASSIGN(model.embedding, EmbeddingOf(Global(names.embedding), config.vocabulary, config.hidden));
  if (model.embedding.scales.data != nullptr)
    TRY(CheckScales(checkpoint_, ModuleOf(Global(names.embedding)) + ".embedding_scale", model.embedding,
                    /*zero=*/true));
  TRY_ASSIGN(model.final_norm, NormOf(Global(names.final_norm), config.hidden));
  model.head = model.embedding;
  if (!description_.tied_head) {
    TRY_ASSIGN(model.head, LinearOf(names.head, config.vocabulary, config.hidden));
    const ops::Matrix& table = model.embedding;  // rows of the tokens that occur are all that is read of it
    PlaceOf(checkpoint_, table.data).file->ExpectRows({table.data, static_cast<size_t>(table.rows * table.row_bytes)});
  }
  if (config.ple_width == 0) return {};
  const int64_t row = int64_t{config.layer_count()} * config.ple_width;
  TRY_ASSIGN(model.ple_context, LinearOf(Global(names.ple_context), row, config.hidden));
  TRY_ASSIGN(model.ple_context_norm, NormOf(Global(names.ple_context_norm), config.ple_width));
  TRY_ASSIGN(const ops::Matrix table, EmbeddingOf(Global(names.ple_table), config.vocabulary, row));
  model.ple_table = PleTable(table, PlaceOf(checkpoint_, table.data), PlaceOf(checkpoint_, table.scales.data));
  return {};
}

Status Binder::BindLayer(Model& model, int index) {
  const DecoderConfig& config = description_.config;
  const TensorNames& names = description_.names;
  const LayerConfig& shape = config.layers[static_cast<size_t>(index)];
  const std::string prefix = description_.layer_prefix + std::to_string(index) + ".";
  const int64_t hidden = config.hidden;
  const int64_t q_width = int64_t{config.query_heads} * shape.head_dim;
  const int64_t kv_width = int64_t{shape.kv_heads} * shape.head_dim;
  LayerWeights& w = model.layers.emplace_back();

  TRY_ASSIGN(w.attention_norm, NormOf(prefix + names.attention_norm, hidden));
  TRY_ASSIGN(w.q, LinearOf(prefix + names.q, q_width, hidden));
  TRY_ASSIGN(w.q_norm, NormOf(prefix + names.q_norm, shape.head_dim));
  // Checkpoints may carry K and V tensors of layers that share others'; they are dead weight.
  if (config.OwnsKv(index)) {
    TRY_ASSIGN(w.k, LinearOf(prefix + names.k, kv_width, hidden));
    TRY_ASSIGN(w.v, LinearOf(prefix + names.v, kv_width, hidden));
    TRY_ASSIGN(w.k_norm, NormOf(prefix + names.k_norm, shape.head_dim));
    TRY(BindCacheScales(w, prefix));
  }
  TRY_ASSIGN(w.o, LinearOf(prefix + names.o, hidden, q_width));
  TRY_ASSIGN(w.post_attention_norm, NormOf(prefix + names.post_attention_norm, hidden));
  TRY_ASSIGN(w.mlp_norm, NormOf(prefix + names.mlp_norm, hidden));
  TRY_ASSIGN(w.gate, LinearOf(prefix + names.gate, shape.ff_width, hidden));
  TRY_ASSIGN(w.up, LinearOf(prefix + names.up, shape.ff_width, hidden));
  TRY_ASSIGN(w.down, LinearOf(prefix + names.down, hidden, shape.ff_width));
  TRY_ASSIGN(w.post_mlp_norm, NormOf(prefix + names.post_mlp_norm, hidden));
  if (config.ple_width > 0) {
    TRY_ASSIGN(w.ple_gate, LinearOf(prefix + names.ple_gate, config.ple_width, hidden));
    TRY_ASSIGN(w.ple_projection, LinearOf(prefix + names.ple_projection, hidden, config.ple_width));
    TRY_ASSIGN(w.post_ple_norm, NormOf(prefix + names.post_ple_norm, hidden));
  }
  if (config.architecture == "gemma4") {
    TRY_ASSIGN(const Vector scale, BindVector(checkpoint_, prefix + names.scale, std::array{int64_t{1}}));
    w.scale = scale[0];
  }
  return {};
}

// Both or none. Layers that share K and V carry copies of their owner's scales, which say nothing new.
Status Binder::BindCacheScales(LayerWeights& w, const std::string& prefix) {
  const TensorNames& names = description_.names;
  if (description_.quantization != Quantization::kGemma) return {};
  if (checkpoint_.Find(prefix + names.k_cache_scale) == nullptr &&
      checkpoint_.Find(prefix + names.v_cache_scale) == nullptr)
    return {};
  TRY_ASSIGN(w.cache_scales.key, ReadScale(checkpoint_, prefix + names.k_cache_scale));
  TRY_ASSIGN(w.cache_scales.value, ReadScale(checkpoint_, prefix + names.v_cache_scale));
  return {};
}

Result<Model> Binder::Bind() {
  Model model;
  model.config = description_.config;
  TRY(BindGlobals(model));
  for (int layer = 0; layer < model.config.layer_count(); ++layer) TRY(BindLayer(model, layer));
  model.has_blocks = has_blocks_;
  return model;
}

}  // namespace

Status CheckConfig(const DecoderConfig& config, int shared_layers, const std::string& where) {
  const auto fail = [&](const std::string& what) { return Fail(ErrorCode::kBadModel, where + ": " + what); };
  if (shared_layers >= config.layer_count())
    return fail("all " + std::to_string(config.layer_count()) +
                " layers share K and V: this is a drafter, not a model that runs alone");
  bool owned[2] = {false, false};
  for (int index = 0; index < config.layer_count(); ++index) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(index)];
    const auto kind = static_cast<size_t>(layer.kind);
    const std::string at = "layer " + std::to_string(index) + ": ";
    if (index < config.layer_count() - shared_layers) owned[kind] = true;
    if (!owned[kind]) return fail(at + "shares K and V, but no layer of its kind below owns any");
    if (layer.head_dim % 2 != 0) return fail(at + "a head size of " + std::to_string(layer.head_dim) + " is odd");
    if (config.query_heads % layer.kv_heads != 0)
      return fail(at + std::to_string(config.query_heads) + " query heads cannot share " +
                  std::to_string(layer.kv_heads) + " K/V heads evenly");
    if (layer.kv_heads != config.layers[static_cast<size_t>(layer.kv_layer)].kv_heads ||
        layer.head_dim != config.layers[static_cast<size_t>(layer.kv_layer)].head_dim)
      return fail(at + "does not have the head size of layer " + std::to_string(layer.kv_layer) +
                  ", whose K and V it reads");
  }
  return {};
}

Result<Model> Model::Load(const formats::Checkpoint& checkpoint) {
  TRY_ASSIGN(const Description description,
             checkpoint.gguf() != nullptr ? DescribeGguf(checkpoint) : DescribeHfFolder(checkpoint));
  return Binder(checkpoint, description).Bind();
}

}  // namespace carat::gemma
