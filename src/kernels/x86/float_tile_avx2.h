// Tiles of float dots: a few rows of one matrix by a few of another, shared by gemm_f32, attention_scores and rms_norm.
#pragma once

#include "kernels/x86/vector_avx2.h"

namespace carat::kernels::avx2 {

// y[t * y_stride + n] = w[n] . x[t] for kRows rows of w and kTokens rows of x. Each output has 16 lanes of its own, so
// the shape of the tile does not show in the result.
template <int kRows, int kTokens, typename Load>
CARAT_INLINE void FloatTile(const typename Load::Element* w, int64_t w_stride, const float* x, int64_t x_stride,
                            int64_t k, float* y, int64_t y_stride) {
  __m256 sum[kRows][kTokens][2];  // in registers only if GCC unrolls every loop over it
#pragma GCC unroll 4
  for (int n = 0; n < kRows; ++n)
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) sum[n][t][0] = sum[n][t][1] = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256 row[kRows];
#pragma GCC unroll 4
      for (int n = 0; n < kRows; ++n) row[n] = Load::Load(w + n * w_stride + i + 8 * half);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        __m256 token = _mm256_loadu_ps(x + t * x_stride + i + 8 * half);
        asm("" : "+x"(token));  // or GCC loads it anew for every row
#pragma GCC unroll 4
        for (int n = 0; n < kRows; ++n) sum[n][t][half] = _mm256_fmadd_ps(row[n], token, sum[n][t][half]);
      }
    }
  }
  if (i < k) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half)
#pragma GCC unroll 4
      for (int n = 0; n < kRows; ++n) {
        const __m256 row = Load::LoadFirst(w + n * w_stride + i + 8 * half, k - i - 8 * half);
#pragma GCC unroll 4
        for (int t = 0; t < kTokens; ++t) {
          const __m256 token = LoadF32::LoadFirst(x + t * x_stride + i + 8 * half, k - i - 8 * half);
          sum[n][t][half] = _mm256_fmadd_ps(row, token, sum[n][t][half]);
        }
      }
  }
#pragma GCC unroll 4
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) y[t * y_stride + n] = TreeSum(sum[n][t][0], sum[n][t][1]);
}

// All rows of w by kTokens rows of x.
template <int kTokens, typename Load>
CARAT_INLINE void FloatStrip(const typename Load::Element* w, int64_t w_stride, int64_t rows, const float* x,
                             int64_t x_stride, int64_t k, float* y, int64_t y_stride) {
  constexpr int kRows = kTokens == 1 ? 4 : 2;  // 8 to 12 sums in the 16 registers
  int64_t n = 0;
  for (; n + kRows <= rows; n += kRows)
    FloatTile<kRows, kTokens, Load>(w + n * w_stride, w_stride, x, x_stride, k, y + n, y_stride);
  for (; n < rows; ++n) FloatTile<1, kTokens, Load>(w + n * w_stride, w_stride, x, x_stride, k, y + n, y_stride);
}

template <typename Load>
CARAT_INLINE void FloatProducts(const typename Load::Element* w, int64_t w_stride, int64_t rows, const float* x,
                                int64_t x_stride, int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  int64_t t = 0;
  for (; t + 3 <= tokens; t += 3)
    FloatStrip<3, Load>(w, w_stride, rows, x + t * x_stride, x_stride, k, y + t * y_stride, y_stride);
  if (tokens - t == 2)
    FloatStrip<2, Load>(w, w_stride, rows, x + t * x_stride, x_stride, k, y + t * y_stride, y_stride);
  if (tokens - t == 1)
    FloatStrip<1, Load>(w, w_stride, rows, x + t * x_stride, x_stride, k, y + t * y_stride, y_stride);
}

}  // namespace carat::kernels::avx2
