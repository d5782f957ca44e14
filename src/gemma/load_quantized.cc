#include "gemma/load_quantized.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/try.h"
#include "gemma/load_schedule.h"
#include "quant/codes.h"

namespace carat::gemma {

namespace {

using formats::Checkpoint;
using formats::Tensor;
using quant::Type;

constexpr const char* kSupported = "; the gemma releases (2 to 8 bits), W4A16, float checkpoints and GGUF files are";

// The weights of one of config_groups: 4-bit integers, symmetric, in groups of 32.
Status CheckW4(const JsonObject& group) {
  const auto refuse = [&](const std::string& what) {
    return Fail(ErrorCode::kBadModel, group.where + ": " + what + ", which is not supported" + kSupported);
  };
  for (const char* key : {"input_activations", "output_activations"})
    if (group.Has(key)) return refuse(std::string(key) + " are quantised");
  TRY_ASSIGN(const std::string format, group.StringOr("format", "pack-quantized"));
  if (format != "pack-quantized") return refuse("weights in the format '" + format + "'");
  TRY_ASSIGN(const JsonObject weights, group.Object("weights"));
  TRY_ASSIGN(const int64_t bits, weights.IntegerOr("num_bits", 8, INT64_MIN, INT64_MAX));
  TRY_ASSIGN(const std::string type, weights.StringOr("type", "int"));
  TRY_ASSIGN(const bool symmetric, weights.BoolOr("symmetric", true));
  TRY_ASSIGN(const std::string strategy, weights.StringOr("strategy", "tensor"));
  TRY_ASSIGN(const int64_t size, weights.IntegerOr("group_size", -1, INT64_MIN, INT64_MAX));
  if (bits != 4 || type != "int" || !symmetric || strategy != "group" || size != quant::kG4Group)
    return refuse("weights of " + std::to_string(bits) + " bits, type '" + type + "', " +
                  (symmetric ? "symmetric" : "asymmetric") + ", strategy '" + strategy + "', group size " +
                  std::to_string(size));
  // The other orders leave the format as it is.
  TRY_ASSIGN(const std::string order, weights.StringOr("actorder", "static"));
  if (order != "static" && order != "weight") return refuse("activation ordering '" + order + "'");
  return {};
}

Status CheckCompressedTensors(const JsonObject& config) {
  const auto refuse = [&](const std::string& what) {
    return Fail(ErrorCode::kBadModel, config.where + ": " + what + ", which is not supported" + kSupported);
  };
  TRY_ASSIGN(const std::string format, config.StringOr("format", "none"));
  if (format != "pack-quantized") return refuse("weights in the format '" + format + "'");
  if (config.Has("kv_cache_scheme")) return refuse("a kv_cache_scheme");
  for (const char* key : {"sparsity_config", "transform_config"})
    if (config.Has(key) && (!(*config.json)[key].is_object() || !(*config.json)[key].empty()))
      return refuse(std::string("a ") + key);
  TRY_ASSIGN(const JsonObject groups, config.Object("config_groups"));
  if (groups.json->empty()) return refuse("a configuration without groups");
  for (const auto& [name, value] : groups.json->items()) {
    if (!value.is_object()) return Fail(ErrorCode::kBadModel, groups.where + ": '" + name + "' is not an object");
    TRY(CheckW4({&value, groups.where + ": " + name}));
  }
  return {};
}

}  // namespace

Result<Quantization> ReadQuantization(const JsonObject& top, const Checkpoint& checkpoint) {
  if (top.Has("quantization"))
    return Fail(ErrorCode::kBadModel,
                top.where + ": the weights are quantised for MLX, which is not supported" + kSupported);
  if (!top.Has("quantization_config")) return Quantization::kNone;
  TRY_ASSIGN(const JsonObject config, top.Object("quantization_config"));
  TRY_ASSIGN(const std::string method, config.StringOr("quant_method", "unknown"));
  if (method == "gemma") {
    TRY(CheckSchedule(config, checkpoint));
    return Quantization::kGemma;
  }
  if (method == "compressed-tensors") {
    TRY(CheckCompressedTensors(config));
    return Quantization::kCompressedTensors;
  }
  return Fail(ErrorCode::kBadModel,
              top.where + ": the weights are quantised by '" + method + "', which is not supported" + kSupported);
}

namespace {

// The code format of a tensor that holds `cols` codes a row, or nothing.
Result<Type> CodeType(const Checkpoint& checkpoint, const Tensor& tensor, int64_t cols) {
  if (tensor.type == Type::kI8 && tensor.shape[1] == cols) return Type::kC8;
  if (tensor.type == Type::kU8 && tensor.shape[1] == 1 && cols < 3)
    return FailTensor(checkpoint, tensor.name,
                      "has rows of " + std::to_string(cols) +
                          " codes, which look alike in 2 and in 4 bits; packed rows of 3 and more are read");
  if (tensor.type == Type::kU8)
    for (const Type type : {Type::kC4, Type::kC2})
      if (static_cast<uint64_t>(tensor.shape[1]) == *quant::RowBytes(type, static_cast<uint64_t>(cols))) return type;
  return FailTensor(checkpoint, tensor.name,
                    "has rows of " + std::to_string(tensor.shape[1]) + " " +
                        std::string(quant::Info(tensor.type).name) + ", which are no " + std::to_string(cols) +
                        " codes of 2, 4 or 8 bits");
}

Result<ops::Matrix> BindCodes(const Checkpoint& checkpoint, const std::string& name, int64_t rows, int64_t cols) {
  const Tensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return FailTensor(checkpoint, name, "is missing");
  if (tensor->shape.size() != 2 || tensor->shape[0] != rows)
    return FailTensor(checkpoint, name,
                      "has the shape " + ShapeText(tensor->shape) + " where the configuration asks for " +
                          std::to_string(rows) + " rows");
  TRY_ASSIGN(const Type type, CodeType(checkpoint, *tensor, cols));
  return ops::Matrix{
      .type = type, .rows = rows, .cols = cols, .data = tensor->data.data(), .row_bytes = tensor->shape[1]};
}

bool IsScale(float value) { return std::isfinite(value) && value >= 0; }

// Are `count` numbers finite and above zero, or also zero? Their bits, taken as unsigned numbers, are then below those
// of infinity. This way it is as fast as the memory.
template <typename Bits, Bits kInfinity>
bool AreScales(const std::byte* data, size_t count, bool zero) {
  constexpr size_t kChunk = 256;
  Bits chunk[kChunk];
  for (size_t begin = 0; begin < count; begin += kChunk) {
    const size_t size = std::min(kChunk, count - begin);
    std::memcpy(chunk, data + begin * sizeof(Bits), size * sizeof(Bits));
    std::fill(chunk + size, chunk + kChunk, Bits{1});
    const Bits least = zero ? 0 : 1;
    Bits faults = 0;
    for (size_t i = 0; i < kChunk; ++i)
      faults |= static_cast<Bits>(static_cast<Bits>(chunk[i] - least) >= static_cast<Bits>(kInfinity - least));
    if (faults != 0) return false;
  }
  return true;
}

}  // namespace

Status CheckScales(const Checkpoint& checkpoint, const std::string& name, const ops::Matrix& matrix, bool zero) {
  const auto count = static_cast<size_t>(matrix.rows * (matrix.cols / matrix.scales.group));
  const std::byte* data = matrix.scales.data;
  const bool good = matrix.scales.type == Type::kF32    ? AreScales<uint32_t, 0x7f800000>(data, count, zero)
                    : matrix.scales.type == Type::kBF16 ? AreScales<uint16_t, 0x7f80>(data, count, zero)
                                                        : AreScales<uint16_t, 0x7c00>(data, count, zero);
  if (good) return {};
  return FailTensor(checkpoint, name,
                    std::string("has an element that is no scale (negative, ") + (zero ? "" : "zero, ") +
                        "infinite, or not a number)");
}

Result<float> ReadScale(const Checkpoint& checkpoint, const std::string& name) {
  const Tensor* tensor = checkpoint.Find(name);
  if (tensor == nullptr) return FailTensor(checkpoint, name, "is missing");
  const bool one = tensor->shape.empty() || (tensor->shape.size() == 1 && tensor->shape[0] == 1);
  if (!one || tensor->type != Type::kF32)
    return FailTensor(
        checkpoint, name,
        "is " + std::string(quant::Info(tensor->type).name) + " " + ShapeText(tensor->shape) + ", not one F32 number");
  const float scale = ops::ScaleAt(Type::kF32, tensor->data.data(), 0);
  if (!IsScale(scale)) return FailTensor(checkpoint, name, "is no scale: " + std::to_string(scale));
  return scale;
}

Result<ops::Matrix> BindGemmaLinear(const Checkpoint& checkpoint, const std::string& module, int64_t rows,
                                    int64_t cols) {
  const std::string name = module + ".weight";
  const Tensor* tensor = checkpoint.Find(name);
  if (tensor != nullptr && quant::IsFloat(tensor->type)) return BindMatrix(checkpoint, name, std::array{rows, cols});
  TRY_ASSIGN(ops::Matrix matrix, BindCodes(checkpoint, name, rows, cols));
  if (cols > quant::MaxExactColumns(matrix.type))
    return FailTensor(checkpoint, name,
                      "has rows of " + std::to_string(cols) + " codes, too long for exact sums of 32 bits");
  TRY_ASSIGN(const Tensor* scales, FindTensor(checkpoint, module + ".weight_scale", std::array{rows, int64_t{1}}));
  if (scales->type != Type::kF32) return FailTensor(checkpoint, scales->name, "is not F32");
  matrix.scales = {.type = Type::kF32, .group = cols, .data = scales->data.data(), .row_bytes = 4};
  TRY(CheckScales(checkpoint, module + ".weight_scale", matrix, /*zero=*/false));
  TRY_ASSIGN(matrix.input_scale, ReadScale(checkpoint, module + ".input_activation_scale"));
  TRY_ASSIGN(matrix.output_scale, ReadScale(checkpoint, module + ".output_activation_scale"));
  return matrix;
}

Result<ops::Matrix> BindGemmaEmbedding(const Checkpoint& checkpoint, const std::string& module, int64_t rows,
                                       int64_t cols) {
  if (checkpoint.Find(module + ".weight") != nullptr)
    return BindMatrix(checkpoint, module + ".weight", std::array{rows, cols});
  TRY_ASSIGN(ops::Matrix matrix, BindCodes(checkpoint, module + ".embedding_quantized", rows, cols));
  const std::string name = module + ".embedding_scale";
  const Tensor* scales = checkpoint.Find(name);
  if (scales == nullptr) return FailTensor(checkpoint, name, "is missing");
  const bool fits =
      scales->shape.size() == 2 && scales->shape[0] == rows && scales->shape[1] > 0 && cols % scales->shape[1] == 0;
  if (scales->type != Type::kF32 || !fits)
    return FailTensor(checkpoint, name,
                      "is " + std::string(quant::Info(scales->type).name) + " " + ShapeText(scales->shape) +
                          ", not F32 [" + std::to_string(rows) + ", a divisor of " + std::to_string(cols) + "]");
  matrix.scales = {.type = Type::kF32,
                   .group = cols / scales->shape[1],
                   .data = scales->data.data(),
                   .row_bytes = scales->shape[1] * 4};
  return matrix;
}

Result<ops::Matrix> BindGroupLinear(const Checkpoint& checkpoint, const std::string& module, int64_t rows,
                                    int64_t cols) {
  const std::string name = module + ".weight_packed";
  if (checkpoint.Find(name) == nullptr) return BindMatrix(checkpoint, module + ".weight", std::array{rows, cols});
  for (const char* other : {".weight_zero_point", ".weight_g_idx"})
    if (checkpoint.Find(module + other) != nullptr)
      return FailTensor(checkpoint, module + other,
                        "says that the weights are asymmetric or reordered, which is not supported");
  if (cols % quant::kG4Group != 0)
    return FailTensor(checkpoint, name,
                      "should have rows of " + std::to_string(cols) + " codes, which are no whole groups of 32");
  TRY_ASSIGN(const Tensor* packed, FindTensor(checkpoint, name, std::array{rows, cols / 8}));
  if (packed->type != Type::kI32) return FailTensor(checkpoint, name, "is not I32");
  TRY_ASSIGN(const Tensor* shape, FindTensor(checkpoint, module + ".weight_shape", std::array{int64_t{2}}));
  int64_t size[2] = {0, 0};
  if (shape->type == Type::kI64) std::memcpy(size, shape->data.data(), sizeof(size));
  if (size[0] != rows || size[1] != cols)
    return FailTensor(checkpoint, shape->name,
                      "is not the I64 numbers " + std::to_string(rows) + " and " + std::to_string(cols));
  TRY_ASSIGN(const Tensor* scales,
             FindTensor(checkpoint, module + ".weight_scale", std::array{rows, cols / quant::kG4Group}));
  if (!quant::IsFloat(scales->type)) return FailTensor(checkpoint, scales->name, "is neither F32 nor F16 nor BF16");
  const ops::Matrix matrix = {.type = Type::kG4,
                              .rows = rows,
                              .cols = cols,
                              .data = packed->data.data(),
                              .row_bytes = cols / 2,
                              .scales = {.type = scales->type,
                                         .group = quant::kG4Group,
                                         .data = scales->data.data(),
                                         .row_bytes = static_cast<int64_t>(scales->data.size()) / rows}};
  TRY(CheckScales(checkpoint, module + ".weight_scale", matrix, /*zero=*/true));
  return matrix;
}

}  // namespace carat::gemma
