// Inside of Model::Load: what a checkpoint says about itself, before its tensors are bound.
#pragma once

#include <string>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "gemma/config.h"

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
};

struct Description {
  DecoderConfig config;
  TensorNames names;
  std::string prefix;              // of the model's tensors
  std::string layer_prefix;        // of a layer's: layer_prefix + number + "." + name
  bool norms_are_offsets = false;  // stored as weight - 1 (Gemma 3 in a Hugging Face folder)
  bool tied_head = true;           // a head tensor, if there is one, is a copy of the embedding
};

Result<Description> DescribeGguf(const formats::Checkpoint& checkpoint);
Result<Description> DescribeHfFolder(const formats::Checkpoint& checkpoint);

// Checks that both containers share. `where` names the file.
Status CheckConfig(const DecoderConfig& config, int shared_layers, const std::string& where);

// Bounds of every size that is used in an allocation; far above E4B's.
inline constexpr int64_t kMaxLayers = 512, kMaxHeads = 256, kMaxWidth = 65536, kMaxFfWidth = 1 << 20,
                         kMaxVocabulary = 1 << 21, kMaxPositions = 1 << 24;

}  // namespace carat::gemma
