// Hyper-parameters of the vision tower, whichever file they came from.
#pragma once

#include <cstdint>

#include "ops/rope.h"

namespace carat::gemma {

struct VisionConfig {
  int64_t hidden = 0;       // D
  int64_t text_hidden = 0;  // H: width of the soft tokens
  int64_t layers = 0;
  int64_t query_heads = 0, kv_heads = 0;
  int64_t head_dim = 0;   // d, a multiple of 4
  int64_t ff_width = 0;   // F
  int64_t patch = 0;      // p: pixels of a patch's side
  int64_t pooling = 3;    // k: patches of the side of a block that becomes a soft token
  int64_t positions = 0;  // most columns, and most rows, of a grid of patches
  float norm_epsilon = 1e-6f;
  ops::RopeFrequencies rope;  // of one axis: of heads of d/2

  int64_t patch_values() const { return 3 * patch * patch; }
};

// The RoPE of one axis.
inline ops::RopeFrequencies AxisRope(double theta, int64_t head_dim) {
  return ops::MakeRopeFrequencies(theta, head_dim / 2, head_dim / 4, 1.0);
}

}  // namespace carat::gemma
