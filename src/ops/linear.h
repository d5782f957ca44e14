// Matrix products y = W x of weights as they lie in the file, or of their copies, with activations of one or many
// tokens.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/kernels.h"
#include "ops/bf16_input.h"
#include "ops/context.h"
#include "ops/interleaved.h"
#include "ops/matrix.h"
#include "ops/rounded_input.h"
#include "ops/static_input.h"

namespace carat::ops {

// The products that share one input, and the scratch memory they need. Used by one thread (it uses the pool inside).
//
// Block-quantised weights are multiplied with the input rounded (once per input, whoever asks first) to 8 bits in
// blocks of 32, or to bfloat16 where the kernels multiply that faster (Kernels::bf16); float weights and codes, and all
// weights in an exact context, with the input as it is. Of several tokens, rows of weights are unpacked a panel at a
// time into a scratch that stays in the cache while it meets every token.
//
// Where static rounding is part of the model (Matrix::input_scale, output_scale), it is part of the product: the input
// is rounded with the matrix's scale, the sum is exact, and the output is rounded. That is so in every context.
class Linear {
 public:
  enum class Class { kFloats, kBlocks, kCodes };  // of docs/NUMERICS.md
  static Class ClassOf(const Matrix& w, bool exact);

  explicit Linear(const Context& context);
  // Makes room for products of `w` with up to `max_tokens` tokens, so that they allocate nothing.
  void Reserve(const Matrix& w, int64_t max_tokens);

  // x [tokens, cols] is read by the products that follow, and must stay unchanged until the next SetInput.
  void SetInput(const float* x, int64_t tokens, int64_t cols);
  // y[t * y_stride + n] = sum_k w[n][k] x[t][k].
  void Multiply(const Matrix& w, float* y, int64_t y_stride);
  void Multiply(const Matrix& w, float* y) { Multiply(w, y, w.rows); }

  // About how many bytes of weights may be copied for reading them faster (ops/interleaved.h) in the products of a
  // single token that follow.
  void AllowCopies(int64_t bytes) { copy_budget_ = bytes; }

  MemoryUse scratch() const;

 private:
  // Unpacked rows, codes with their scales.
  struct Rows {
    AlignedBuffer<int8_t> codes;
    AlignedBuffer<float> scale, offset;
  };
  struct Panel {  // of one worker
    AlignedBuffer<float> floats, scale;
    Rows rows, packed;  // one after the other, and side by side
    AlignedBuffer<uint16_t> bf16_rows, bf16_packed;
  };

  Class ClassOf(const Matrix& w) const { return ClassOf(w, context_.exact); }
  bool UsesBf16(const Matrix& w) const { return ClassOf(w) == Class::kBlocks && context_.kernels->bf16 != nullptr; }
  // Rows of w that are unpacked at a time.
  int64_t PanelRows(const Matrix& w) const;
  void ReservePanel(const Matrix& w, int64_t tokens, Panel& panel) const;

  kernels::CodeRows CodeRowsOf(const Matrix& w, int64_t begin, int64_t rows, Panel& panel) const;
  // Rows begin .. begin+rows-1 of w times all tokens, to the same columns of y.
  void MultiplyFloats(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride);
  void MultiplyBlocks(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride);
  void MultiplyBf16(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride);
  void PackPanel(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, const kernels::S8Panel& packed);
  void MultiplyStatic(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride);

  Context context_;
  const float* x_ = nullptr;
  int64_t tokens_ = 0, cols_ = 0;
  int64_t copy_budget_ = 0;

  RoundedInput rounded_input_;
  Bf16Input bf16_input_;
  StaticInput static_input_;

  std::vector<Panel> panels_;
};

}  // namespace carat::ops
