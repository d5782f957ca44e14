// Rotary position embedding: element i of a head is rotated with element i + d/2 ("halves", NEOX layout).
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"

namespace carat::ops {

// Frequencies of one kind of layer. Pairs from `frequencies.size()` on do not rotate.
struct RopeFrequencies {
  int64_t head_dim = 0;
  std::vector<float> frequencies;  // radians per position, for pairs 0, 1, ...
};

// f_i = theta^(-2i/head_dim) / factor for i < rotated_pairs. The exponent is over the whole head, also when only part
// of it rotates ("proportional" RoPE). Single precision, in the reference's order of operations.
RopeFrequencies MakeRopeFrequencies(double theta, int64_t head_dim, int64_t rotated_pairs, double factor);

// cos and sin of `count` positions from `first`.
class RopeTable {
 public:
  void Reserve(const RopeFrequencies& rope, int64_t count);
  void Fill(const RopeFrequencies& rope, int64_t first, int64_t count);

  MemoryUse scratch() const {
    MemoryUse use = cos_.memory();
    return use += sin_.memory();
  }

  // In place on `heads` heads of the row-th position: x [heads, head_dim].
  void Rotate(int64_t row, float* x, int64_t heads) const { Rotate(row, x, heads, head_dim_); }
  // The same on heads that begin `stride` elements apart, each a part of something wider: of two axes, each has a half.
  void Rotate(int64_t row, float* x, int64_t heads, int64_t stride) const;

 private:
  int64_t head_dim_ = 0, pairs_ = 0;
  AlignedBuffer<float> cos_, sin_;  // [count, pairs]
};

}  // namespace carat::ops
