// Products of weights and activations.
#include <algorithm>
#include <bit>
#include <cmath>

#include "kernels/reference/reference.h"
#include "kernels/reference/sum.h"

namespace carat::kernels::reference {

void QuantizeA8(const float* x, int64_t k, A8Row dst) {
  for (int64_t block = 0; block < k / 32; ++block, x += 32) {
    // As integers, magnitudes order as the floats do, and what is not finite comes out largest.
    uint32_t largest_bits = 0;
    for (int i = 0; i < 32; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
      largest_bits = std::max(largest_bits, bits);
    }
    const float largest = std::bit_cast<float>(largest_bits);
    const bool finite = largest_bits < 0x7f800000u;
    const bool zero = largest < kA8Smallest;
    const float inverse = finite && !zero ? 127.0f / largest : 0.0f;
    dst.scale[block] = !finite ? std::bit_cast<float>(0x7fc00000u) : zero ? 0.0f : largest / 127.0f;
    for (int half = 0; half < 2; ++half) {
      int sum = 0;
      for (int i = 16 * half; i < 16 * half + 16; ++i) {
        // Adding and taking away 1.5 * 2^23 rounds to an integer, halves to even.
        const float rounded = finite ? (x[i] * inverse + 0x1.8p23f) - 0x1.8p23f : 0.0f;
        const int code = static_cast<int>(rounded);
        dst.codes[32 * block + i] = static_cast<int8_t>(code);
        sum += code;
      }
      dst.scaled_sum[2 * block + half] = dst.scale[block] * static_cast<float>(sum);
    }
  }
}

void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t n = 0; n < rows; ++n)
      y[t * y_stride + n] = FloatDot([row = w + n * w_stride](int64_t i) { return row[i]; },
                                     [row = x + t * x_stride](int64_t i) { return row[i]; }, k);
}

namespace {

// One output: int8 dot of a row of codes and a row of activations.
float Int8Dot(const int8_t* w, const float* w_scale, const int8_t* x, const float* x_scale, int64_t k) {
  float lanes[16] = {};
  for (int64_t block = 0; block < k / 32; ++block)
    for (int j = 0; j < 8; ++j) {
      int sum = 0;
      for (int64_t i = 32 * block + 4 * j; i < 32 * block + 4 * j + 4; ++i) sum += w[i] * x[i];
      float& lane = lanes[8 * (block % 2) + j];
      lane = std::fma(static_cast<float>(sum), w_scale[2 * block + j / 4] * x_scale[block], lane);
    }
  return TreeSum(lanes, 16);
}

}  // namespace

void GemmS8(const S8Rows& w, int64_t rows, const A8Rows& x, int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t n = 0; n < rows; ++n) {
      float sum = Int8Dot(w.codes + n * w.codes_stride, w.scale + n * w.scale_stride, x.codes + t * x.codes_stride,
                          x.scale + t * x.scale_stride, k);
      if (w.offset != nullptr)
        sum += FloatDot([row = w.offset + n * w.offset_stride](int64_t i) { return row[i]; },
                        [row = x.scaled_sum + t * x.sum_stride](int64_t i) { return row[i]; }, k / 16);
      y[t * y_stride + n] = sum;
    }
}

}  // namespace carat::kernels::reference
