// Matrix products y = W x of weights as they lie in the file with activations of one or many tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/kernels.h"
#include "ops/context.h"
#include "quant/type.h"

namespace carat::ops {

// A weight matrix [rows, cols], row-major, in a mapped file: rows are outputs. A view.
struct Matrix {
  quant::Type type = quant::Type::kF32;
  int64_t rows = 0, cols = 0;
  const std::byte* data = nullptr;  // aligned to nothing
  int64_t row_bytes = 0;

  bool empty() const { return data == nullptr; }
  const std::byte* row(int64_t index) const { return data + index * row_bytes; }
  // Rows begin .. end-1 as a matrix.
  Matrix Rows(int64_t begin, int64_t end) const { return {type, end - begin, cols, row(begin), row_bytes}; }
};

// The products that share one input, and the scratch memory they need. Used by one thread (it uses the pool inside).
//
// Block-quantised weights are multiplied with the input rounded to 8 bits in blocks of 32 (once per input, whoever asks
// first); float weights, and all weights in an exact context, with the input as it is. Rows of weights are unpacked a
// panel at a time into a scratch that stays in the cache while it meets every token.
class Linear {
 public:
  // Nothing is allocated after construction as long as inputs stay within max_tokens x max_cols.
  Linear(const Context& context, int64_t max_tokens, int64_t max_cols);

  // x [tokens, cols] is read by the products that follow, and must stay unchanged until the next SetInput.
  void SetInput(const float* x, int64_t tokens, int64_t cols);
  // y[t * y_stride + n] = sum_k w[n][k] x[t][k].
  void Multiply(const Matrix& w, float* y, int64_t y_stride);
  void Multiply(const Matrix& w, float* y) { Multiply(w, y, w.rows); }

 private:
  void RoundInput();
  void MultiplyFloats(const Matrix& w, float* y, int64_t y_stride);
  void MultiplyBlocks(const Matrix& w, float* y, int64_t y_stride);

  Context context_;
  const float* x_ = nullptr;
  int64_t tokens_ = 0, cols_ = 0;

  bool rounded_ = false;
  AlignedBuffer<int8_t> codes_;  // [tokens, cols]
  AlignedBuffer<float> scale_;   // [tokens, cols/32]
  AlignedBuffer<float> sum_;     // [tokens, cols/16]

  struct Panel {  // of one worker
    AlignedBuffer<float> floats;
    AlignedBuffer<int8_t> codes;
    AlignedBuffer<float> scale, offset;
  };
  std::vector<Panel> panels_;
};

}  // namespace carat::ops
