// An input of matrix products, rounded with the static scale of the matrix.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/kernels.h"
#include "ops/context.h"
#include "ops/matrix.h"

namespace carat::ops {

// Columns as code tiles count them.
constexpr int64_t CodeColumns(int64_t cols) {
  return (cols + kernels::kCodeStep - 1) / kernels::kCodeStep * kernels::kCodeStep;
}

// Matrices that share an input share its codes if they share its scale (a single token: and their bits), as keys and
// values do, and gate and up.
class StaticInput {
 public:
  explicit StaticInput(const Context& context);
  // Room for inputs of up to these sizes.
  void Reserve(int64_t max_tokens, int64_t max_cols);

  // The input has changed.
  void Forget() { scale_ = 0; }
  // x [tokens, w.cols], for which there is room, rounded with w.input_scale: a single token dealt as the codes of w are
  // packed, several in tiles.
  void Round(const Matrix& w, const float* x, int64_t tokens);
  // What there is of a single token.
  kernels::PlaneRow row() const { return {.codes = codes_.data(), .plane = plane_, .row = rows_.data()[0]}; }
  // What there is of several.
  kernels::CodeTiles tiles() const { return {.codes = codes_.data(), .rows = rows_.data()}; }
  MemoryUse scratch() const;

 private:
  void Deal(const float* x, int64_t cols, int planes);
  void Pack(const float* x, int64_t tokens, int64_t cols);

  Context context_;
  float scale_ = 0;  // of what is there; 0: nothing is
  int planes_ = 0;   // of a single token; 0: several
  int64_t plane_ = 0;
  AlignedBuffer<int8_t> codes_;  // planes, or tiles
  AlignedBuffer<kernels::StaticRow> rows_;
  std::vector<AlignedBuffer<int8_t>> unpacked_;  // of each worker: [code_tile_tokens, CodeColumns]
};

}  // namespace carat::ops
