// Scores of many queries of heads of up to 128 numbers, as towers have them: a dot of 64 numbers is four fmas and then
// a tree of 16 lanes, which would cost as much again in shuffles. So the keys are turned, sixteen of them side by side,
// and lanes of a dot become vectors of sixteen dots: the tree is then fifteen additions for sixteen scores. The order
// of each sum is the same.
#pragma once

#include "kernels/kernels.h"
#include "kernels/x86/vector_avx512.h"

namespace carat::kernels::avx512 {

inline constexpr int64_t kTurnedKeys = 32, kTurnedColumns = 128;
// So many queries share what it costs to turn the keys.
inline constexpr int64_t kTurnedQueries = 16;

// Row i of out = column i of 16 rows: 16 columns of 16 keys.
CARAT_INLINE void Turn16(const __m512* rows, __m512* out) {
  __m512 pairs[16], quads[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      const __m512d a = _mm512_castps_pd(pairs[i + half]), b = _mm512_castps_pd(pairs[i + half + 2]);
      quads[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      quads[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  }
  // Part q of quads[4 * g + c] is column 4 * q + c of keys 4 * g .. 4 * g + 3.
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const __m512 low01 = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0x44);
    const __m512 high01 = _mm512_shuffle_f32x4(quads[c], quads[4 + c], 0xee);
    const __m512 low23 = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0x44);
    const __m512 high23 = _mm512_shuffle_f32x4(quads[8 + c], quads[12 + c], 0xee);
    out[c] = _mm512_shuffle_f32x4(low01, low23, 0x88);
    out[4 + c] = _mm512_shuffle_f32x4(low01, low23, 0xdd);
    out[8 + c] = _mm512_shuffle_f32x4(high01, high23, 0x88);
    out[12 + c] = _mm512_shuffle_f32x4(high01, high23, 0xdd);
  }
}

// turned[i][j] = element i of key j; keys from n on are zeros.
template <typename Load>
CARAT_INLINE void TurnKeys(const typename Load::Element* keys, int64_t stride, int64_t n, int64_t d,
                           float (*turned)[kTurnedKeys]) {
  for (int64_t j = 0; j < kTurnedKeys; j += 16)
    for (int64_t i = 0; i < d; i += 16) {
      __m512 rows[16], columns[16];
#pragma GCC unroll 16
      for (int row = 0; row < 16; ++row)
        rows[row] = j + row < n ? Load::Load(keys + (j + row) * stride + i) : _mm512_setzero_ps();
      Turn16(rows, columns);
#pragma GCC unroll 16
      for (int column = 0; column < 16; ++column) _mm512_store_ps(&turned[i + column][j], columns[column]);
    }
}

// What kQueries queries and 32 keys make, two vectors for each query.
template <int kQueries>
struct TurnedSums {
  __m512 sum[kQueries][2];
};

// Lane `lane` of the dots, if kStep is 16; else lanes lane, lane + kStep, ... added as the tree does it: those that are
// 8 apart first.
template <int kQueries, int kStep>
CARAT_INLINE TurnedSums<kQueries> TurnedTree(const float* q, int64_t d, const float (*turned)[kTurnedKeys], int lane) {
  TurnedSums<kQueries> a;
  if constexpr (kStep == 16) {
#pragma GCC unroll 4
    for (int h = 0; h < kQueries; ++h) a.sum[h][0] = a.sum[h][1] = _mm512_setzero_ps();
    for (int64_t i = lane; i < d; i += 16) {
      const __m512 left = _mm512_load_ps(turned[i]), right = _mm512_load_ps(turned[i] + 16);
#pragma GCC unroll 4
      for (int h = 0; h < kQueries; ++h) {
        const __m512 query = _mm512_set1_ps(q[h * d + i]);
        a.sum[h][0] = _mm512_fmadd_ps(query, left, a.sum[h][0]);
        a.sum[h][1] = _mm512_fmadd_ps(query, right, a.sum[h][1]);
      }
    }
  } else {
    a = TurnedTree<kQueries, 2 * kStep>(q, d, turned, lane);
    const TurnedSums<kQueries> b = TurnedTree<kQueries, 2 * kStep>(q, d, turned, lane + kStep);
#pragma GCC unroll 4
    for (int h = 0; h < kQueries; ++h) {
      a.sum[h][0] = _mm512_add_ps(a.sum[h][0], b.sum[h][0]);
      a.sum[h][1] = _mm512_add_ps(a.sum[h][1], b.sum[h][1]);
    }
  }
  return a;
}

template <int kQueries>
CARAT_INLINE void TurnedScores(const float* q, int64_t d, const float (*turned)[kTurnedKeys], int64_t n,
                               float* scores) {
  const TurnedSums<kQueries> dots = TurnedTree<kQueries, 1>(q, d, turned, 0);
#pragma GCC unroll 4
  for (int h = 0; h < kQueries; ++h) {
    _mm512_mask_storeu_ps(scores + h * kKeyBlock, FirstLanes(n), dots.sum[h][0]);
    if (n > 16) _mm512_mask_storeu_ps(scores + h * kKeyBlock + 16, FirstLanes(n - 16), dots.sum[h][1]);
  }
}

// d is a multiple of 16 and at most kTurnedColumns.
template <typename Load>
CARAT_INLINE void ScoresOfTurnedKeys(const float* q, int64_t heads, int64_t d, const typename Load::Element* keys,
                                     int64_t stride, int64_t n, float* scores) {
  constexpr int kQueries = 2;  // of 32 registers: 16 sums that wait in the tree, 4 that grow, 2 of keys; 3 would spill
  alignas(64) float turned[kTurnedColumns][kTurnedKeys];
  for (int64_t j = 0; j < n; j += kTurnedKeys) {
    TurnKeys<Load>(keys + j * stride, stride, n - j, d, turned);
    int64_t h = 0;
    for (; h + kQueries <= heads; h += kQueries)
      TurnedScores<kQueries>(q + h * d, d, turned, n - j, scores + h * kKeyBlock + j);
    for (; h < heads; ++h) TurnedScores<1>(q + h * d, d, turned, n - j, scores + h * kKeyBlock + j);
  }
}

}  // namespace carat::kernels::avx512
