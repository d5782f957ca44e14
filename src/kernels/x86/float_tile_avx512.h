// Tiles of float dots: a few rows of one matrix by a few of another, shared by gemm_f32 and attention_scores.
#pragma once

#include "kernels/x86/vector_avx512.h"

namespace carat::kernels::avx512 {

// y[t * y_stride + n] = w[n] . x[t] for kRows rows of w and kTokens rows of x.
template <int kRows, int kTokens, typename Load>
CARAT_INLINE void FloatTile(const typename Load::Element* w, int64_t w_stride, const float* x, int64_t x_stride,
                            int64_t k, float* y, int64_t y_stride) {
  __m512 sum[kRows][kTokens];  // in registers only if GCC unrolls every loop over it
#pragma GCC unroll 8
  for (int n = 0; n < kRows; ++n)
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) sum[n][t] = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
    __m512 row[kRows];
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) row[n] = Load::Load(w + n * w_stride + i);
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512 token = _mm512_loadu_ps(x + t * x_stride + i);
#pragma GCC unroll 8
      for (int n = 0; n < kRows; ++n) sum[n][t] = _mm512_fmadd_ps(row[n], token, sum[n][t]);
    }
  }
  if (i < k) {
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      const __m512 row = Load::LoadFirst(w + n * w_stride + i, k - i);
#pragma GCC unroll 8
      for (int t = 0; t < kTokens; ++t)
        sum[n][t] = _mm512_fmadd_ps(row, LoadF32::LoadFirst(x + t * x_stride + i, k - i), sum[n][t]);
    }
  }
#pragma GCC unroll 8
  for (int t = 0; t < kTokens; ++t)
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) y[t * y_stride + n] = TreeSum(sum[n][t]);
}

// All rows of w by kTokens rows of x.
template <int kTokens, typename Load>
CARAT_INLINE void FloatStrip(const typename Load::Element* w, int64_t w_stride, int64_t rows, const float* x,
                             int64_t x_stride, int64_t k, float* y, int64_t y_stride) {
  constexpr int kRows = kTokens == 1 ? 8 : 4;  // enough sums to hide the latency of adding; at most 24 of 32 registers
  int64_t n = 0;
  for (; n + kRows <= rows; n += kRows)
    FloatTile<kRows, kTokens, Load>(w + n * w_stride, w_stride, x, x_stride, k, y + n, y_stride);
  for (; n < rows; ++n) FloatTile<1, kTokens, Load>(w + n * w_stride, w_stride, x, x_stride, k, y + n, y_stride);
}

template <typename Load>
CARAT_INLINE void FloatProducts(const typename Load::Element* w, int64_t w_stride, int64_t rows, const float* x,
                                int64_t x_stride, int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  int64_t t = 0;
  for (; t + 6 <= tokens; t += 6)
    FloatStrip<6, Load>(w, w_stride, rows, x + t * x_stride, x_stride, k, y + t * y_stride, y_stride);
  for (; t + 4 <= tokens; t += 4)
    FloatStrip<4, Load>(w, w_stride, rows, x + t * x_stride, x_stride, k, y + t * y_stride, y_stride);
  for (; t < tokens; ++t)
    FloatStrip<1, Load>(w, w_stride, rows, x + t * x_stride, x_stride, k, y + t * y_stride, y_stride);
}

}  // namespace carat::kernels::avx512
