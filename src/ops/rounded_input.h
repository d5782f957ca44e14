// An input of matrix products, rounded to 8 bits in blocks of 32.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/kernels.h"
#include "ops/context.h"

namespace carat::ops {

class RoundedInput {
 public:
  explicit RoundedInput(const Context& context);
  // Room for inputs of up to these sizes.
  void Reserve(int64_t max_tokens, int64_t max_cols);

  // The input has changed.
  void Forget() { ready_ = false; }
  // x [tokens, cols], for which there is room; does nothing if that is done already.
  void Round(const float* x, int64_t tokens, int64_t cols);
  // If there is one token.
  kernels::A8Row row() { return rows_[0].At(0, 0); }
  // Not made of a single token if the kernels have gemv_block.
  const kernels::A8Block* tiles() const { return tiles_.data(); }
  MemoryUse scratch() const;

 private:
  // Rows one after the other, until they are packed into a tile.
  struct Rows {
    void Reserve(int64_t rows, int64_t cols);
    kernels::A8Row At(int64_t row, int64_t cols);
    AlignedBuffer<int8_t> codes, dealt;
    AlignedBuffer<float> scale;
    AlignedBuffer<int32_t> lift32, lift16;
  };

  Context context_;
  bool ready_ = false;
  AlignedBuffer<kernels::A8Block> tiles_;  // [tokens / kTileTokens, cols / 32]
  std::vector<Rows> rows_;                 // of each worker
};

}  // namespace carat::ops
