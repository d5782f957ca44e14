// An input of matrix products, rounded to bfloat16.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "ops/context.h"

namespace carat::ops {

// For kernels that multiply such numbers (Kernels::bf16); the others may have one and not use it.
class Bf16Input {
 public:
  explicit Bf16Input(const Context& context);
  // Room for inputs of up to these sizes.
  void Reserve(int64_t max_tokens, int64_t max_cols);

  // The input has changed.
  void Forget() { ready_ = false; }
  // x [tokens, cols], for which there is room; does nothing if that is done already.
  void Round(const float* x, int64_t tokens, int64_t cols);
  const uint16_t* row() const { return rounded_.data(); }    // if there is one token
  const uint16_t* tiles() const { return rounded_.data(); }  // if there are several
  MemoryUse scratch() const;

 private:
  Context context_;
  bool ready_ = false;
  AlignedBuffer<uint16_t> rounded_;            // a row, or tiles
  std::vector<AlignedBuffer<uint16_t>> rows_;  // of each worker: [kBf16TileTokens, cols], until they are packed
};

}  // namespace carat::ops
