// Attention of query heads over the keys and values of one KV head.
#include "kernels/x86/avx512.h"
#include "kernels/x86/float_tile_avx512.h"

namespace carat::kernels::avx512 {
namespace {

// Values of this many positions are reused from the cache by all columns and heads before the next are read.
constexpr int64_t kPositions = 64;

// kHeads heads, the first `columns` of 16.
template <int kHeads, typename Load>
CARAT_INLINE void Mix16(const float* p, int64_t p_stride, const typename Load::Element* values, int64_t kv_stride,
                        int64_t n, int64_t columns, float* out, int64_t out_stride) {
  const __mmask16 inside = FirstLanes(columns);
  __m512 sum[kHeads];
  for (int h = 0; h < kHeads; ++h) sum[h] = _mm512_maskz_loadu_ps(inside, out + h * out_stride);
  for (int64_t j = 0; j < n; ++j) {
    const __m512 value = Load::LoadFirst(values + j * kv_stride, columns);
#pragma GCC unroll 8
    for (int h = 0; h < kHeads; ++h) sum[h] = _mm512_fmadd_ps(_mm512_set1_ps(p[h * p_stride + j]), value, sum[h]);
  }
  for (int h = 0; h < kHeads; ++h) _mm512_mask_storeu_ps(out + h * out_stride, inside, sum[h]);
}

template <typename Load>
CARAT_INLINE void Mix(const float* p, int64_t p_stride, int64_t heads, int64_t d, const typename Load::Element* values,
                      int64_t kv_stride, int64_t n, float* out, int64_t out_stride) {
  for (int64_t j = 0; j < n; j += kPositions) {
    const int64_t positions = n - j < kPositions ? n - j : kPositions;
    const auto* rows = values + j * kv_stride;
    for (int64_t i = 0; i < d; i += 16) {
      int64_t h = 0;
      for (; h + 4 <= heads; h += 4)
        Mix16<4, Load>(p + h * p_stride + j, p_stride, rows + i, kv_stride, positions, d - i, out + h * out_stride + i,
                       out_stride);
      for (; h < heads; ++h)
        Mix16<1, Load>(p + h * p_stride + j, p_stride, rows + i, kv_stride, positions, d - i, out + h * out_stride + i,
                       out_stride);
    }
  }
}

}  // namespace

void AttentionScores(const float* q, int64_t q_stride, int64_t heads, int64_t d, const void* keys, KvType type,
                     int64_t kv_stride, int64_t n, float* scores, int64_t scores_stride) {
  if (type == KvType::kF32)
    FloatProducts<LoadF32>(static_cast<const float*>(keys), kv_stride, n, q, q_stride, heads, d, scores, scores_stride);
  else if (type == KvType::kI8)
    FloatProducts<LoadI8>(static_cast<const int8_t*>(keys), kv_stride, n, q, q_stride, heads, d, scores, scores_stride);
  else
    FloatProducts<LoadF16>(static_cast<const uint16_t*>(keys), kv_stride, n, q, q_stride, heads, d, scores,
                           scores_stride);
}

void AttentionMix(const float* p, int64_t p_stride, int64_t heads, int64_t d, const void* values, KvType type,
                  int64_t kv_stride, int64_t n, float* out, int64_t out_stride) {
  if (type == KvType::kF32)
    Mix<LoadF32>(p, p_stride, heads, d, static_cast<const float*>(values), kv_stride, n, out, out_stride);
  else if (type == KvType::kI8)
    Mix<LoadI8>(p, p_stride, heads, d, static_cast<const int8_t*>(values), kv_stride, n, out, out_stride);
  else
    Mix<LoadF16>(p, p_stride, heads, d, static_cast<const uint16_t*>(values), kv_stride, n, out, out_stride);
}

}  // namespace carat::kernels::avx512
