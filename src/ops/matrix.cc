#include "ops/matrix.h"

#include <algorithm>
#include <cstring>

#include "base/float16.h"
#include "quant/codes.h"

namespace carat::ops {

Matrix Matrix::Rows(int64_t begin, int64_t end) const {
  Matrix part = *this;
  part.rows = end - begin;
  part.data = row(begin);
  part.copy = nullptr;
  if (scales.data != nullptr) part.scales.data = row_scales(begin);
  return part;
}

float ScaleAt(quant::Type type, const std::byte* scales, int64_t index) {
  if (type == quant::Type::kF32) {
    float scale = 0;
    std::memcpy(&scale, scales + index * 4, sizeof(scale));
    return scale;
  }
  uint16_t half = 0;
  std::memcpy(&half, scales + index * 2, sizeof(half));
  return type == quant::Type::kF16 ? F16ToFloat(half) : Bf16ToFloat(half);
}

void DecodeRow(const kernels::Kernels& kernels, const Matrix& matrix, const std::byte* row, const std::byte* scales,
               int64_t count, float* out) {
  const auto type = static_cast<size_t>(matrix.type);
  if (!quant::IsCodes(matrix.type)) {
    kernels.decode[type](row, out, count);
    return;
  }
  constexpr int64_t kChunk = 1024;  // whole bytes, whatever the bits
  alignas(64) int8_t codes[kChunk];
  const int64_t group = matrix.scales.group;
  for (int64_t begin = 0; begin < count; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, count);
    kernels.unpack_codes[type](row + begin * quant::CodeBits(matrix.type) / 8, end - begin, codes);
    for (int64_t i = begin; i < end;) {  // groups may begin anywhere
      const int64_t stop = std::min(end, (i / group + 1) * group);
      kernels.scale_codes(codes + (i - begin), ScaleAt(matrix.scales.type, scales, i / group), stop - i, out + i);
      i = stop;
    }
  }
}

}  // namespace carat::ops
