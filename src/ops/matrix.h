// A weight matrix as it lies in the file.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "quant/type.h"

namespace carat::ops {

// The scales of code formats (quant/codes.h), [rows, columns / group] without gaps, in a mapped file. A view.
struct Scales {
  quant::Type type = quant::Type::kF32;  // or F16, BF16
  int64_t group = 0;                     // columns that share a scale
  const std::byte* data = nullptr;       // aligned to nothing
  int64_t row_bytes = 0;
};

class InterleavedCopy;

// A weight matrix [rows, cols], row-major, in a mapped file: rows are outputs. A view.
struct Matrix {
  quant::Type type = quant::Type::kF32;
  int64_t rows = 0, cols = 0;
  const std::byte* data = nullptr;  // aligned to nothing
  int64_t row_bytes = 0;
  Scales scales = {};  // of code formats
  // Steps of the static rounding of the input and of the output, where that is part of the model; 0: none.
  float input_scale = 0, output_scale = 0;
  InterleavedCopy* copy = nullptr;  // if it may have one (ops/interleaved.h)

  bool empty() const { return data == nullptr; }
  uint64_t size_bytes() const { return static_cast<uint64_t>(rows * (row_bytes + scales.row_bytes)); }
  const std::byte* row(int64_t index) const { return data + index * row_bytes; }
  const std::byte* row_scales(int64_t index) const { return scales.data + index * scales.row_bytes; }
  // Rows begin .. end-1 as a matrix.
  Matrix Rows(int64_t begin, int64_t end) const;
};

// Scale number `index` of a row's.
float ScaleAt(quant::Type type, const std::byte* scales, int64_t index);

// out[0 .. count) = the first `count` weights of a row of `matrix` whose bytes, and scales where they lie apart, may
// have been copied elsewhere. `count` is a multiple of the block of the type.
void DecodeRow(const kernels::Kernels& kernels, const Matrix& matrix, const std::byte* row, const std::byte* scales,
               int64_t count, float* out);

}  // namespace carat::ops
