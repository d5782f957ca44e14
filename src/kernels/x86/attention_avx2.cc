// Attention of query heads over the keys and values of one KV head, one block of positions at a time.
#include <cmath>

#include "kernels/x86/avx2.h"
#include "kernels/x86/exp_avx2.h"
#include "kernels/x86/float_tile_avx2.h"

namespace carat::kernels::avx2 {
namespace {

template <typename Load>
CARAT_INLINE void Scores(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores) {
  FloatProducts<Load>(static_cast<const typename Load::Element*>(keys.data), keys.stride, n, q, d, heads, d, scores,
                      kKeyBlock);
}

// kHeads heads, 16 columns.
template <int kHeads, typename Load>
CARAT_INLINE void Mix16(const float* p, int64_t d, const typename Load::Element* values, int64_t stride, int64_t n,
                        float* mix) {
  __m256 sum[kHeads][2];
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h) sum[h][0] = sum[h][1] = _mm256_setzero_ps();
  for (int64_t j = 0; j < n; ++j) {
    const __m256 low = Load::Load(values + j * stride), high = Load::Load(values + j * stride + 8);
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const __m256 weight = _mm256_broadcast_ss(p + h * kKeyBlock + j);
      sum[h][0] = _mm256_fmadd_ps(weight, low, sum[h][0]);
      sum[h][1] = _mm256_fmadd_ps(weight, high, sum[h][1]);
    }
  }
#pragma GCC unroll 4
  for (int h = 0; h < kHeads; ++h)
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) _mm256_storeu_ps(mix + h * d + 8 * half, sum[h][half]);
}

// One head, the first `columns` of 8.
template <typename Load>
CARAT_INLINE void MixFirst(const float* p, const typename Load::Element* values, int64_t stride, int64_t n,
                           int64_t columns, float* mix) {
  __m256 sum = _mm256_setzero_ps();
  for (int64_t j = 0; j < n; ++j)
    sum = _mm256_fmadd_ps(_mm256_broadcast_ss(p + j), Load::LoadFirst(values + j * stride, columns), sum);
  _mm256_maskstore_ps(mix, FirstLanes(columns), sum);
}

template <typename Load>
CARAT_INLINE void Mix(const float* p, int64_t heads, int64_t d, const KvRows& values, int64_t n, float* mix) {
  const auto* rows = static_cast<const typename Load::Element*>(values.data);
  int64_t i = 0;
  for (; i + 16 <= d; i += 16) {
    int64_t h = 0;
    for (; h + 4 <= heads; h += 4) Mix16<4, Load>(p + h * kKeyBlock, d, rows + i, values.stride, n, mix + h * d + i);
    for (; h < heads; ++h) Mix16<1, Load>(p + h * kKeyBlock, d, rows + i, values.stride, n, mix + h * d + i);
  }
  for (; i < d; i += 8)
    for (int64_t h = 0; h < heads; ++h)
      MixFirst<Load>(p + h * kKeyBlock, rows + i, values.stride, n, d - i, mix + h * d + i);
}

}  // namespace

void AttentionScores(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores) {
  if (keys.type == KvType::kF32) return Scores<LoadF32>(q, heads, d, keys, n, scores);
  if (keys.type == KvType::kF16) return Scores<LoadF16>(q, heads, d, keys, n, scores);
  Scores<LoadI8>(q, heads, d, keys, n, scores);
}

void AttentionSoftmax(float* scores, int64_t heads, int64_t n, const float* key_scale, const float* value_scale,
                      const AttentionPart& part) {
  const __m256 lowest = _mm256_set1_ps(-INFINITY);
  for (int64_t h = 0; h < heads; ++h) {
    float* p = scores + h * kKeyBlock;
    __m256 largest = lowest;
    for (int64_t j = 0; j < n; j += 8) {
      const __m256i inside = FirstLanes(n - j);
      __m256 score = _mm256_maskload_ps(p + j, inside);
      if (key_scale != nullptr) {
        score = _mm256_mul_ps(score, _mm256_maskload_ps(key_scale + j, inside));
        _mm256_maskstore_ps(p + j, inside, score);
      }
      largest = _mm256_max_ps(_mm256_blendv_ps(lowest, score, _mm256_castsi256_ps(inside)), largest);
    }
    __m128 four = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
    four = _mm_max_ps(four, _mm_movehl_ps(four, four));
    const float max = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four))) + 0.0f;

    __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
    for (int64_t j = 0; j < n; j += 8) {
      const __m256i inside = FirstLanes(n - j);
      __m256 e = Exp(_mm256_sub_ps(_mm256_maskload_ps(p + j, inside), _mm256_set1_ps(max)));
      __m256& half = sum[j / 8 % 2];
      half = _mm256_add_ps(half, _mm256_and_ps(e, _mm256_castsi256_ps(inside)));
      if (value_scale != nullptr) e = _mm256_mul_ps(e, _mm256_maskload_ps(value_scale + j, inside));
      _mm256_maskstore_ps(p + j, inside, e);
    }
    part.max[h] = max;
    part.sum[h] = TreeSum(sum[0], sum[1]);
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
    const __m256 a = Exp(_mm256_set1_ps(merged.max[h] - max)), b = Exp(_mm256_set1_ps(part.max[h] - max));
    merged.max[h] = max;
    merged.sum[h] = _mm256_cvtss_f32(
        _mm256_fmadd_ps(_mm256_set1_ps(part.sum[h]), b, _mm256_mul_ps(_mm256_set1_ps(merged.sum[h]), a)));
    for (int64_t i = 0; i < d; i += 8) {
      const __m256i inside = FirstLanes(d - i);
      const __m256 old = _mm256_maskload_ps(merged.mix + h * d + i, inside);
      const __m256 next = _mm256_maskload_ps(part.mix + h * d + i, inside);
      _mm256_maskstore_ps(merged.mix + h * d + i, inside, _mm256_fmadd_ps(next, b, _mm256_mul_ps(old, a)));
    }
  }
}

}  // namespace carat::kernels::avx2
