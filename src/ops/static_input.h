// An input of matrix products, rounded with the static scale of the matrix.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "ops/context.h"
#include "ops/matrix.h"

namespace carat::ops {

// Matrices that share an input share its codes if they share scale and bits, as keys and values do, and gate and up.
class StaticInput {
 public:
  StaticInput(const Context& context, int64_t max_tokens, int64_t max_cols);

  // The input has changed.
  void Forget() { scale_ = 0; }
  // x [tokens, w.cols] rounded with w.input_scale and dealt as the codes of w are packed. Valid until the next call.
  kernels::PlaneRows Round(const Matrix& w, const float* x, int64_t tokens);
  uint64_t scratch_bytes() const;

 private:
  Context context_;
  float scale_ = 0;  // of what is there; 0: nothing is
  int planes_ = 0;
  int64_t plane_ = 0;
  AlignedBuffer<int8_t> dealt_;               // [tokens, planes, plane]
  AlignedBuffer<float> scales_;               // [tokens]
  AlignedBuffer<int32_t> sums_;               // [tokens]
  std::vector<AlignedBuffer<int8_t>> codes_;  // of each worker: [cols]
};

}  // namespace carat::ops
