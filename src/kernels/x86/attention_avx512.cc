// Attention of query heads over the keys and values of one KV head, one block of positions at a time.
#include <cmath>
#include <cstring>

#include "kernels/x86/avx512.h"
#include "kernels/x86/exp_avx512.h"
#include "kernels/x86/float_tile_avx512.h"
#include "kernels/x86/turned_scores_avx512.h"

namespace carat::kernels::avx512 {
namespace {

// Lane m = the tree of the 16 lanes of sum[m]. A step of the tree adds the halves, quarters, ... of two vectors at
// once: 45 instructions instead of 16 trees.
CARAT_INLINE __m512 TreeSums(const __m512* sum) {
  // The steps deal the sums out in this order; it is its own inverse.
  constexpr int kPlace[16] = {0, 2, 1, 3, 8, 10, 9, 11, 4, 6, 5, 7, 12, 14, 13, 15};
  __m512 half[8], quarter[4], eighth[2];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const __m512 a = sum[kPlace[i]], b = sum[kPlace[i + 8]];
    half[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i)
    quarter[i] = _mm512_add_ps(_mm512_shuffle_f32x4(half[i], half[i + 4], 0x88),
                               _mm512_shuffle_f32x4(half[i], half[i + 4], 0xdd));
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m512d a = _mm512_castps_pd(quarter[i]), b = _mm512_castps_pd(quarter[i + 2]);
    eighth[i] = _mm512_add_ps(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  return _mm512_add_ps(_mm512_shuffle_ps(eighth[0], eighth[1], 0x88), _mm512_shuffle_ps(eighth[0], eighth[1], 0xdd));
}

// Into the second-level cache: a block of rows is too much for the first.
CARAT_INLINE void Prefetch(const void* p) { _mm_prefetch(static_cast<const char*>(p), _MM_HINT_T1); }

// The first `columns` of 16 columns of kHeads queries and kKeys keys.
template <int kHeads, int kKeys, typename Load>
CARAT_INLINE void AddProducts(const float* q, int64_t d, const typename Load::Element* keys, int64_t stride,
                              int64_t columns, __m512* sum) {
  __m512 key[kKeys];
#pragma GCC unroll 4
  for (int j = 0; j < kKeys; ++j) key[j] = Load::LoadFirst(keys + j * stride, columns);
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h) {
    __m512 query = LoadF32::LoadFirst(q + h * d, columns);
    asm("" : "+v"(query));  // once for all keys: GCC 12 would rather read it again for each
#pragma GCC unroll 4
    for (int j = 0; j < kKeys; ++j) sum[h * kKeys + j] = _mm512_fmadd_ps(query, key[j], sum[h * kKeys + j]);
  }
}

// Scores of kHeads heads, 16 at a time; a key is widened once for all of them.
template <int kHeads, typename Load>
CARAT_INLINE void ScoreHeads(const float* q, int64_t d, const typename Load::Element* keys, int64_t stride, int64_t n,
                             const typename Load::Element* next, float* scores) {
  constexpr int kKeys = 16 / kHeads;
  int64_t j = 0;
  for (; j + kKeys <= n; j += kKeys) {
    const auto* rows = keys + j * stride;
    __m512 sum[16];
#pragma GCC unroll 16
    for (int m = 0; m < 16; ++m) sum[m] = _mm512_setzero_ps();
    int64_t i = 0;
    for (; i + 16 <= d; i += 16) {
      if (next != nullptr) {
#pragma GCC unroll 4
        for (int row = 0; row < kKeys; ++row) Prefetch(next + (j + row) * stride + i);
      }
      AddProducts<kHeads, kKeys, Load>(q + i, d, rows + i, stride, 16, sum);
    }
    if (i < d) AddProducts<kHeads, kKeys, Load>(q + i, d, rows + i, stride, d - i, sum);
    alignas(64) float result[16];
    _mm512_store_ps(result, TreeSums(sum));
    for (int h = 0; h < kHeads; ++h)
      std::memcpy(scores + h * kKeyBlock + j, result + h * kKeys, static_cast<size_t>(kKeys) * sizeof(float));
  }
  for (; j < n; ++j)
    for (int h = 0; h < kHeads; h += 4)
      FloatTile<1, 4, Load>(keys + j * stride, 0, q + h * d, d, d, scores + h * kKeyBlock + j, kKeyBlock);
}

template <typename Load>
CARAT_INLINE void Scores(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores) {
  const auto* rows = static_cast<const typename Load::Element*>(keys.data);
  const auto* next = static_cast<const typename Load::Element*>(keys.next);
  if (heads >= kTurnedQueries && d % 16 == 0 && d <= kTurnedColumns)
    return ScoresOfTurnedKeys<Load>(q, heads, d, rows, keys.stride, n, scores);
  int64_t h = 0;
  for (; h + 8 <= heads; h += 8, next = nullptr)
    ScoreHeads<8, Load>(q + h * d, d, rows, keys.stride, n, next, scores + h * kKeyBlock);
  for (; h + 4 <= heads; h += 4, next = nullptr)
    ScoreHeads<4, Load>(q + h * d, d, rows, keys.stride, n, next, scores + h * kKeyBlock);
  for (; h < heads; ++h) FloatStrip<1, Load>(rows, keys.stride, n, q + h * d, d, d, scores + h * kKeyBlock, 0);
}

// kHeads heads and 16 * kVectors columns, the last 16 of which are `columns` at most.
template <int kHeads, int kVectors, typename Load>
CARAT_INLINE void MixTile(const float* p, int64_t d, const typename Load::Element* values, int64_t stride, int64_t n,
                          int64_t columns, const typename Load::Element* next, float* mix) {
  __m512 sum[kHeads][kVectors];
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sum[h][v] = _mm512_setzero_ps();
  for (int64_t j = 0; j < n; ++j) {
    if (next != nullptr) Prefetch(next + j * stride);
    __m512 value[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      value[v] = Load::LoadFirst(values + j * stride + 16 * v, v + 1 < kVectors ? 16 : columns);
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) {
      const __m512 weight = _mm512_set1_ps(p[h * kKeyBlock + j]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) sum[h][v] = _mm512_fmadd_ps(weight, value[v], sum[h][v]);
    }
  }
#pragma GCC unroll 8
  for (int h = 0; h < kHeads; ++h)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v)
      _mm512_mask_storeu_ps(mix + h * d + 16 * v, FirstLanes(v + 1 < kVectors ? 16 : columns), sum[h][v]);
}

template <int kHeads, typename Load>
CARAT_INLINE void MixHeads(const float* p, int64_t d, const typename Load::Element* values, int64_t stride, int64_t n,
                           const typename Load::Element* next, float* mix) {
  constexpr int kVectors = kHeads == 8 ? 2 : 4;  // 16 sums, but for a single head
  int64_t i = 0;
  for (; i + 16 * kVectors <= d; i += 16 * kVectors)
    MixTile<kHeads, kVectors, Load>(p, d, values + i, stride, n, 16, next == nullptr ? next : next + i, mix + i);
  for (; i < d; i += 16) MixTile<kHeads, 1, Load>(p, d, values + i, stride, n, d - i, nullptr, mix + i);
}

template <typename Load>
CARAT_INLINE void Mix(const float* p, int64_t heads, int64_t d, const KvRows& values, int64_t n, float* mix) {
  const auto* rows = static_cast<const typename Load::Element*>(values.data);
  const auto* next = static_cast<const typename Load::Element*>(values.next);
  int64_t h = 0;
  for (; h + 8 <= heads; h += 8, next = nullptr)
    MixHeads<8, Load>(p + h * kKeyBlock, d, rows, values.stride, n, next, mix + h * d);
  for (; h + 4 <= heads; h += 4, next = nullptr)
    MixHeads<4, Load>(p + h * kKeyBlock, d, rows, values.stride, n, next, mix + h * d);
  for (; h < heads; ++h, next = nullptr)
    MixHeads<1, Load>(p + h * kKeyBlock, d, rows, values.stride, n, next, mix + h * d);
}

}  // namespace

void AttentionScores(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores) {
  if (keys.type == KvType::kF32) return Scores<LoadF32>(q, heads, d, keys, n, scores);
  if (keys.type == KvType::kF16) return Scores<LoadF16>(q, heads, d, keys, n, scores);
  Scores<LoadI8>(q, heads, d, keys, n, scores);
}

void AttentionSoftmax(float* scores, int64_t heads, int64_t n, const float* key_scale, const float* value_scale,
                      const AttentionPart& part) {
  for (int64_t h = 0; h < heads; ++h) {
    float* p = scores + h * kKeyBlock;
    __m512 largest = _mm512_set1_ps(-INFINITY);
    for (int64_t j = 0; j < n; j += 16) {
      const __mmask16 inside = FirstLanes(n - j);
      __m512 score = _mm512_maskz_loadu_ps(inside, p + j);
      if (key_scale != nullptr) {
        score = _mm512_mul_ps(score, _mm512_maskz_loadu_ps(inside, key_scale + j));
        _mm512_mask_storeu_ps(p + j, inside, score);
      }
      largest = _mm512_mask_max_ps(largest, inside, score, largest);
    }
    const float max = _mm512_reduce_max_ps(largest) + 0.0f;
    __m512 sum = _mm512_setzero_ps();
    for (int64_t j = 0; j < n; j += 16) {
      const __mmask16 inside = FirstLanes(n - j);
      __m512 e = Exp(_mm512_sub_ps(_mm512_maskz_loadu_ps(inside, p + j), _mm512_set1_ps(max)));
      sum = _mm512_mask_add_ps(sum, inside, sum, e);
      if (value_scale != nullptr) e = _mm512_mul_ps(e, _mm512_maskz_loadu_ps(inside, value_scale + j));
      _mm512_mask_storeu_ps(p + j, inside, e);
    }
    part.max[h] = max;
    part.sum[h] = TreeSum(sum);
  }
}

void AttentionMix(const float* p, int64_t heads, int64_t d, const KvRows& values, int64_t n, float* mix) {
  if (values.type == KvType::kF32) return Mix<LoadF32>(p, heads, d, values, n, mix);
  if (values.type == KvType::kF16) return Mix<LoadF16>(p, heads, d, values, n, mix);
  Mix<LoadI8>(p, heads, d, values, n, mix);
}

void AttentionMerge(const AttentionPart& part, int64_t heads, int64_t d, const AttentionPart& merged) {
  for (int64_t h = 0; h < heads; ++h) {
    const float max = part.max[h] > merged.max[h] ? part.max[h] : merged.max[h];
    const __m512 a = Exp(_mm512_set1_ps(merged.max[h] - max)), b = Exp(_mm512_set1_ps(part.max[h] - max));
    merged.max[h] = max;
    merged.sum[h] = _mm512_cvtss_f32(
        _mm512_fmadd_ps(_mm512_set1_ps(part.sum[h]), b, _mm512_mul_ps(_mm512_set1_ps(merged.sum[h]), a)));
    for (int64_t i = 0; i < d; i += 16) {
      const __mmask16 inside = FirstLanes(d - i);
      const __m512 old = _mm512_maskz_loadu_ps(inside, merged.mix + h * d + i);
      const __m512 next = _mm512_maskz_loadu_ps(inside, part.mix + h * d + i);
      _mm512_mask_storeu_ps(merged.mix + h * d + i, inside, _mm512_fmadd_ps(next, b, _mm512_mul_ps(old, a)));
    }
  }
}

}  // namespace carat::kernels::avx512
