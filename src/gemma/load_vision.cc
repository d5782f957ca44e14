// Binds the tensors of a checkpoint to the vision tower, checking every shape.
#include "gemma/load_vision.h"

#include <array>
#include <cmath>
#include <cstring>

#include "base/try.h"
#include "gemma/vision_model.h"

namespace carat::gemma {

namespace {

class Binder {
 public:
  Binder(const formats::Checkpoint& checkpoint, const VisionDescription& description)
      : checkpoint_(checkpoint), description_(description) {}

  Result<VisionModel> Bind();

 private:
  Status BindGlobals();
  Status BindPatch();
  Status BindLayer(int64_t index);
  Result<ops::Matrix> LinearOf(const std::string& name, int64_t rows, int64_t cols);
  Result<ClippedLinear> ClippedOf(const std::string& name, int64_t rows, int64_t cols);
  Result<float> BoundOf(const std::string& name, float fallback);
  Result<Vector> VectorOf(const std::string& name, int64_t size) {
    return BindVector(checkpoint_, name, std::array{size});
  }

  const formats::Checkpoint& checkpoint_;
  const VisionDescription& description_;
  VisionModel model_;
};

Result<ops::Matrix> Binder::LinearOf(const std::string& name, int64_t rows, int64_t cols) {
  TRY_ASSIGN(ops::Matrix matrix, BindLinear(checkpoint_, description_.quantization, name, rows, cols));
  model_.has_blocks = model_.has_blocks || quant::IsBlock(matrix.type);
  return matrix;
}

Result<ClippedLinear> Binder::ClippedOf(const std::string& name, int64_t rows, int64_t cols) {
  ClippedLinear clipped;
  TRY_ASSIGN(clipped.weight, LinearOf(name + description_.names.linear, rows, cols));
  if (!description_.clips) return clipped;
  TRY_ASSIGN(clipped.input_min, BoundOf(name + ".input_min", clipped.input_min));
  TRY_ASSIGN(clipped.input_max, BoundOf(name + ".input_max", clipped.input_max));
  TRY_ASSIGN(clipped.output_min, BoundOf(name + ".output_min", clipped.output_min));
  TRY_ASSIGN(clipped.output_max, BoundOf(name + ".output_max", clipped.output_max));
  if (clipped.input_min > clipped.input_max || clipped.output_min > clipped.output_max)
    return FailTensor(checkpoint_, name + description_.names.linear, "has a lower bound above the upper one");
  model_.has_bounds = model_.has_bounds || clipped.ClipsInput() || clipped.ClipsOutput();
  return clipped;
}

// One number, an infinity included; what is not written does not bound.
Result<float> Binder::BoundOf(const std::string& name, float fallback) {
  const formats::Tensor* tensor = checkpoint_.Find(name);
  if (tensor == nullptr) return fallback;
  const bool one = tensor->shape.empty() || (tensor->shape.size() == 1 && tensor->shape[0] == 1);
  if (!one || !quant::IsFloat(tensor->type))
    return FailTensor(checkpoint_, name,
                      "is " + std::string(quant::Info(tensor->type).name) + " " + ShapeText(tensor->shape) +
                          ", not one number of F32, F16 or BF16");
  const float bound = ops::ScaleAt(tensor->type, tensor->data.data(), 0);
  if (std::isnan(bound)) return FailTensor(checkpoint_, name, "is not a number");
  return bound;
}

Status Binder::BindGlobals() {
  const VisionConfig& config = description_.config;
  const VisionTensorNames& names = description_.names;
  const std::string& prefix = description_.prefix;
  TRY(BindPatch());
  TRY_ASSIGN(model_.positions, BindMatrix(checkpoint_, prefix + names.positions,
                                          std::array{int64_t{2}, config.positions, config.hidden}));
  // Rows of the columns and rows that occur are all that is read of it.
  const ops::Matrix& table = model_.positions;
  PlaceOf(checkpoint_, table.data).file->ExpectRows({table.data, static_cast<size_t>(table.rows * table.row_bytes)});
  if (description_.standardizes) {
    TRY_ASSIGN(model_.std_bias, VectorOf(prefix + names.std_bias, config.hidden));
    TRY_ASSIGN(model_.std_scale, VectorOf(prefix + names.std_scale, config.hidden));
  }
  TRY_ASSIGN(model_.projection, LinearOf(prefix + names.projection, config.text_hidden, config.hidden));
  return {};
}

Status Binder::BindPatch() {
  const VisionConfig& config = description_.config;
  const std::string name = description_.prefix + description_.names.patch;
  const int64_t pixels = config.patch * config.patch;
  if (!description_.planar_patches) {
    TRY_ASSIGN(model_.patch, LinearOf(name, config.hidden, config.patch_values()));
    return {};
  }
  const std::array shape = {config.hidden, int64_t{3}, config.patch, config.patch};
  TRY_ASSIGN(const formats::Tensor* tensor, FindTensor(checkpoint_, name, shape));
  if (!quant::IsFloat(tensor->type))
    return FailTensor(
        checkpoint_, name,
        "has the type " + std::string(quant::Info(tensor->type).name) + "; the kernel of patches is F32, F16 or BF16");
  // [D, channel, dy, dx] as the patches have it: [D, dy, dx, channel].
  const size_t element = tensor->type == quant::Type::kF32 ? sizeof(float) : sizeof(uint16_t);
  model_.reordered_patch.Reserve(tensor->data.size());
  const std::byte* from = tensor->data.data();
  for (int64_t out = 0; out < config.hidden; ++out)
    for (int64_t channel = 0; channel < 3; ++channel)
      for (int64_t pixel = 0; pixel < pixels; ++pixel, from += element)
        std::memcpy(model_.reordered_patch.data() + static_cast<size_t>((out * pixels + pixel) * 3 + channel) * element,
                    from, element);
  model_.patch = {.type = tensor->type,
                  .rows = config.hidden,
                  .cols = config.patch_values(),
                  .data = model_.reordered_patch.data(),
                  .row_bytes = config.patch_values() * static_cast<int64_t>(element)};
  return {};
}

Status Binder::BindLayer(int64_t index) {
  const VisionConfig& config = description_.config;
  const VisionTensorNames& names = description_.names;
  const std::string prefix = description_.layer_prefix + std::to_string(index) + ".";
  const int64_t hidden = config.hidden;
  const int64_t q_width = config.query_heads * config.head_dim, kv_width = config.kv_heads * config.head_dim;
  VisionLayerWeights& w = model_.layers.emplace_back();

  TRY_ASSIGN(w.attention_norm, VectorOf(prefix + names.attention_norm, hidden));
  TRY_ASSIGN(w.q, ClippedOf(prefix + names.q, q_width, hidden));
  TRY_ASSIGN(w.k, ClippedOf(prefix + names.k, kv_width, hidden));
  TRY_ASSIGN(w.v, ClippedOf(prefix + names.v, kv_width, hidden));
  TRY_ASSIGN(w.q_norm, VectorOf(prefix + names.q_norm, config.head_dim));
  TRY_ASSIGN(w.k_norm, VectorOf(prefix + names.k_norm, config.head_dim));
  TRY_ASSIGN(w.o, ClippedOf(prefix + names.o, hidden, q_width));
  TRY_ASSIGN(w.post_attention_norm, VectorOf(prefix + names.post_attention_norm, hidden));
  TRY_ASSIGN(w.mlp_norm, VectorOf(prefix + names.mlp_norm, hidden));
  TRY_ASSIGN(w.gate, ClippedOf(prefix + names.gate, config.ff_width, hidden));
  TRY_ASSIGN(w.up, ClippedOf(prefix + names.up, config.ff_width, hidden));
  TRY_ASSIGN(w.down, ClippedOf(prefix + names.down, hidden, config.ff_width));
  TRY_ASSIGN(w.post_mlp_norm, VectorOf(prefix + names.post_mlp_norm, hidden));
  if (names.scale == nullptr) return {};
  const formats::Tensor* scale = checkpoint_.Find(prefix + names.scale);
  if (scale == nullptr) return {};
  const bool one = scale->shape.size() == 1 && scale->shape[0] == 1;
  TRY_ASSIGN(w.scale, VectorOf(prefix + names.scale, one ? 1 : hidden));
  w.scale.resize(static_cast<size_t>(hidden), w.scale[0]);
  return {};
}

Result<VisionModel> Binder::Bind() {
  model_.config = description_.config;
  TRY(BindGlobals());
  for (int64_t layer = 0; layer < description_.config.layers; ++layer) TRY(BindLayer(layer));
  return std::move(model_);
}

}  // namespace

Status CheckVisionConfig(const VisionConfig& config, const std::string& where) {
  const auto fail = [&](const std::string& what) { return Fail(ErrorCode::kBadModel, where + ": " + what); };
  if (config.head_dim % 4 != 0)
    return fail("a head size of " + std::to_string(config.head_dim) + " has no halves for columns and rows to turn");
  if (config.query_heads % config.kv_heads != 0)
    return fail(std::to_string(config.query_heads) + " query heads cannot share " + std::to_string(config.kv_heads) +
                " K/V heads evenly");
  return {};
}

bool VisionModel::IsIn(const formats::Checkpoint& checkpoint) {
  const auto described =
      checkpoint.gguf() != nullptr ? DescribeVisionGguf(checkpoint) : DescribeVisionHfFolder(checkpoint);
  return described || described.error().code != ErrorCode::kNotFound;
}

Result<VisionModel> VisionModel::Load(const formats::Checkpoint& checkpoint) {
  TRY_ASSIGN(const VisionDescription description,
             checkpoint.gguf() != nullptr ? DescribeVisionGguf(checkpoint) : DescribeVisionHfFolder(checkpoint));
  return Binder(checkpoint, description).Bind();
}

}  // namespace carat::gemma
