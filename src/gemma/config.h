// Hyper-parameters of the decoder, whichever file they came from.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "ops/rope.h"

namespace carat::gemma {

enum class LayerKind : uint8_t {
  kSliding,  // attends to the last `window` tokens
  kGlobal    // attends to all
};

struct LayerConfig {
  LayerKind kind = LayerKind::kSliding;
  int64_t head_dim = 0;
  int64_t kv_heads = 0;
  int64_t ff_width = 0;
  // The layer whose K and V this one reads: itself if it owns some, else the last owner of its kind.
  int kv_layer = 0;
};

struct DecoderConfig {
  std::string architecture;  // "gemma4", "gemma3"
  int64_t hidden = 0;        // H
  int64_t vocabulary = 0;    // V
  int64_t query_heads = 0;
  int64_t window = 0;      // W: a query of a sliding layer sees itself and the W-1 tokens before it
  int64_t ple_width = 0;   // P: width of a layer's slice of the per-layer embedding; 0: the model has none
  int64_t ple_pad_id = 0;  // the row of the PLE table that soft tokens use
  int64_t max_positions = 0;
  float norm_epsilon = 1e-6f;
  float embedding_scale = 1.0f;
  float query_scale = 1.0f;  // on q before q . k
  float logit_soft_cap = 0;  // 0: none
  bool value_norm = true;    // V passes through a norm without weight
  ops::RopeFrequencies sliding_rope, global_rope;
  std::vector<LayerConfig> layers;

  int layer_count() const { return static_cast<int>(layers.size()); }
  bool OwnsKv(int layer) const { return layers[static_cast<size_t>(layer)].kv_layer == layer; }
  // The last layer that writes K and V. Above it, a position matters only for its own logits ("prefill shortcut").
  int LastOwner() const {
    int last = 0;
    for (int layer = 0; layer < layer_count(); ++layer)
      if (OwnsKv(layer)) last = layer;
    return last;
  }
  const ops::RopeFrequencies& Rope(LayerKind kind) const {
    return kind == LayerKind::kSliding ? sliding_rope : global_rope;
  }
};

// Fills kv_layer of every layer from the number of layers at the end that share K and V.
void AssignKvLayers(DecoderConfig& config, int shared_layers);

}  // namespace carat::gemma
