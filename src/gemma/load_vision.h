// Inside of VisionModel::Load: what a checkpoint says about its vision tower, before the tensors are bound.
#pragma once

#include <string>

#include "carat/result.h"
#include "formats/checkpoint.h"
#include "gemma/load.h"
#include "gemma/vision_config.h"

namespace carat::gemma {

// How a container names the tower's tensors; those of layers, behind the prefix of the description.
struct VisionTensorNames {
  const char *patch, *positions, *std_bias, *std_scale, *projection;
  const char *attention_norm, *q_norm, *k_norm, *post_attention_norm, *mlp_norm, *post_mlp_norm, *scale;
  // Of clipped linears: `linear` follows for the weight, ".input_min" and so on for the bounds.
  const char *q, *k, *v, *o, *gate, *up, *down;
  const char* linear;
};

struct VisionDescription {
  VisionConfig config;
  VisionTensorNames names;
  std::string prefix;        // of all tensors
  std::string layer_prefix;  // of a layer's: layer_prefix + number + "." + name
  Quantization quantization = Quantization::kNone;
  bool planar_patches = false;  // the patch kernel is [D, channel, dy, dx]
  bool clips = true;            // bounds are heeded where there are some
  bool standardizes = false;
};

// Errors: kNotFound if there is no vision tower, kBadModel.
Result<VisionDescription> DescribeVisionGguf(const formats::Checkpoint& checkpoint);
Result<VisionDescription> DescribeVisionHfFolder(const formats::Checkpoint& checkpoint);

// Checks that both containers share. `where` names the file.
Status CheckVisionConfig(const VisionConfig& config, const std::string& where);

// Bounds of sizes, as those of load.h.
inline constexpr int64_t kMaxPatchSide = 64, kMaxPooling = 8, kMaxGridSide = 1 << 20;

}  // namespace carat::gemma
