// Inside of Model::Load: what a checkpoint says about itself, before its tensors are bound.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "gemma/config.h"
#include "gemma/model.h"
#include "ops/matrix.h"

namespace carat::gemma {

// How a container names its tensors, behind the prefixes of the description.
struct TensorNames {
  const char* embedding;
  const char* head;
  const char* ple_table;
  const char* ple_context;
  const char* ple_context_norm;
  const char* final_norm;
  const char *attention_norm, *q, *k, *v, *q_norm, *k_norm, *o, *post_attention_norm;
  const char *mlp_norm, *gate, *up, *down, *post_mlp_norm;
  const char *ple_gate, *ple_projection, *post_ple_norm, *scale;
  const char *k_cache_scale = nullptr, *v_cache_scale = nullptr;  // not in GGUF
};

// How a Hugging Face folder says that its weights are quantised. (Blocks of GGUF need no saying.)
enum class Quantization : uint8_t {
  kNone,
  kGemma,             // codes per channel, static rounding of activations
  kCompressedTensors  // codes in groups
};

struct Description {
  DecoderConfig config;
  TensorNames names;
  std::string prefix;              // of the model's tensors
  std::string layer_prefix;        // of a layer's: layer_prefix + number + "." + name
  bool norms_are_offsets = false;  // stored as weight - 1 (Gemma 3 in a Hugging Face folder)
  bool tied_head = true;           // a head tensor, if there is one, is a copy of the embedding
  Quantization quantization = Quantization::kNone;
};

Result<Description> DescribeGguf(const formats::Checkpoint& checkpoint);
Result<Description> DescribeHfFolder(const formats::Checkpoint& checkpoint);

// Errors about tensors (kBadModel) name the file and the tensor.
std::unexpected<Error> FailTensor(const formats::Checkpoint& checkpoint, std::string_view name,
                                  const std::string& what);
std::string ShapeText(std::span<const int64_t> shape);  // "[3, 5]"
Result<const formats::Tensor*> FindTensor(const formats::Checkpoint& checkpoint, std::string_view name,
                                          std::span<const int64_t> shape);
// A tensor of floats or blocks as a matrix, of which all axes but the last count the rows.
Result<ops::Matrix> BindMatrix(const formats::Checkpoint& checkpoint, const std::string& name,
                               std::span<const int64_t> shape);
// The weight of a linear layer, "....mlp.up_proj.weight", as the checkpoint's quantisation stores such.
Result<ops::Matrix> BindLinear(const formats::Checkpoint& checkpoint, Quantization quantization,
                               const std::string& name, int64_t rows, int64_t cols);
// A tensor of `shape`, of F32, F16 or BF16, as finite floats.
Result<Vector> BindVector(const formats::Checkpoint& checkpoint, const std::string& name,
                          std::span<const int64_t> shape);
// The file that a tensor's bytes are in. Null has no place.
FilePlace PlaceOf(const formats::Checkpoint& checkpoint, const std::byte* data);

// Checks that both containers share. `where` names the file.
Status CheckConfig(const DecoderConfig& config, int shared_layers, const std::string& where);

// Bounds of every size that is used in an allocation; far above E4B's.
inline constexpr int64_t kMaxLayers = 512, kMaxHeads = 256, kMaxWidth = 65536, kMaxFfWidth = 1 << 20,
                         kMaxVocabulary = 1 << 21, kMaxPositions = 1 << 24;

}  // namespace carat::gemma
