// The weights of the vision tower and of its projection into the decoder, bound to the tensors of a checkpoint.
#pragma once

#include <cstddef>
#include <limits>
#include <vector>

#include "base/aligned_buffer.h"
#include "carat/result.h"
#include "gemma/model.h"
#include "gemma/vision_config.h"
#include "ops/matrix.h"

namespace carat::gemma {

// clamp(W clamp(x, input_min, input_max), output_min, output_max): the bounds are part of the model.
struct ClippedLinear {
  static constexpr float kInfinity = std::numeric_limits<float>::infinity();

  ops::Matrix weight;
  float input_min = -kInfinity, input_max = kInfinity;
  float output_min = -kInfinity, output_max = kInfinity;

  bool ClipsInput() const { return input_min > -kInfinity || input_max < kInfinity; }
  bool ClipsOutput() const { return output_min > -kInfinity || output_max < kInfinity; }
};

// Names in a Hugging Face folder on the right; D hidden, d head size, F MLP width.
struct VisionLayerWeights {
  Vector attention_norm;       // [D]       input_layernorm
  ClippedLinear q;             // [nq*d,D]  self_attn.q_proj
  ClippedLinear k, v;          // [nkv*d,D] self_attn.k_proj, v_proj
  Vector q_norm, k_norm;       // [d]       self_attn.q_norm, k_norm
  ClippedLinear o;             // [D,nq*d]  self_attn.o_proj
  Vector post_attention_norm;  // [D]       post_attention_layernorm
  Vector mlp_norm;             // [D]       pre_feedforward_layernorm
  ClippedLinear gate, up;      // [F,D]     mlp.gate_proj, mlp.up_proj
  ClippedLinear down;          // [D,F]     mlp.down_proj
  Vector post_mlp_norm;        // [D]       post_feedforward_layernorm
  Vector scale;                // [D]       of what leaves the layer (out_scale of GGUF); empty: 1
};

// Immutable after Load. Views into the checkpoint, which must outlive it.
struct VisionModel {
  VisionConfig config;
  ops::Matrix patch;      // [D,3pp] vision_tower.patch_embedder.input_proj
  ops::Matrix positions;  // [2*P,D] vision_tower.patch_embedder.position_embedding_table: of columns, then of rows
  std::vector<VisionLayerWeights> layers;
  Vector std_bias, std_scale;  // [D]     vision_tower.std_bias, std_scale; empty: the tower does not standardise
  ops::Matrix projection;      // [H,D]   embed_vision.embedding_projection
  bool has_blocks = false;     // some matrix is in blocks, whose products round their inputs
  // Some linear has bounds. E2B's and E4B's have; a file of theirs without was converted by something that lost them,
  // and sees worse.
  bool has_bounds = false;

  // Where `patch` lies if the file has its columns in another order.
  AlignedBuffer<std::byte> reordered_patch;

  // Does the checkpoint (a Hugging Face folder, or an mmproj GGUF) hold a vision tower?
  static bool IsIn(const formats::Checkpoint& checkpoint);
  // Errors name the file, and the key or tensor. kNotFound: there is no vision tower; kBadModel: towers that are not
  // run here, missing tensors, wrong shapes, numbers out of range.
  static Result<VisionModel> Load(const formats::Checkpoint& checkpoint);
};

}  // namespace carat::gemma
