// Attention of query heads over the keys and values of one KV head.
#include "kernels/x86/avx2.h"
#include "kernels/x86/float_tile_avx2.h"

namespace carat::kernels::avx2 {
namespace {

// Values of this many positions are reused from the cache by all columns and heads before the next are read.
constexpr int64_t kPositions = 64;

// kHeads heads, 16 columns.
template <int kHeads, typename Load>
CARAT_INLINE void Mix16(const float* p, int64_t p_stride, const typename Load::Element* values, int64_t kv_stride,
                        int64_t n, float* out, int64_t out_stride) {
  __m256 sum[kHeads][2];
  for (int h = 0; h < kHeads; ++h)
    for (int half = 0; half < 2; ++half) sum[h][half] = _mm256_loadu_ps(out + h * out_stride + 8 * half);
  for (int64_t j = 0; j < n; ++j) {
    const __m256 low = Load::Load(values + j * kv_stride), high = Load::Load(values + j * kv_stride + 8);
#pragma GCC unroll 4
    for (int h = 0; h < kHeads; ++h) {
      const __m256 weight = _mm256_broadcast_ss(p + h * p_stride + j);
      sum[h][0] = _mm256_fmadd_ps(weight, low, sum[h][0]);
      sum[h][1] = _mm256_fmadd_ps(weight, high, sum[h][1]);
    }
  }
  for (int h = 0; h < kHeads; ++h)
    for (int half = 0; half < 2; ++half) _mm256_storeu_ps(out + h * out_stride + 8 * half, sum[h][half]);
}

// One head, the first `columns` of 8.
template <typename Load>
CARAT_INLINE void MixFirst(const float* p, const typename Load::Element* values, int64_t kv_stride, int64_t n,
                           int64_t columns, float* out) {
  const __m256i inside = FirstLanes(columns);
  __m256 sum = _mm256_maskload_ps(out, inside);
  for (int64_t j = 0; j < n; ++j)
    sum = _mm256_fmadd_ps(_mm256_broadcast_ss(p + j), Load::LoadFirst(values + j * kv_stride, columns), sum);
  _mm256_maskstore_ps(out, inside, sum);
}

template <typename Load>
CARAT_INLINE void Mix(const float* p, int64_t p_stride, int64_t heads, int64_t d, const typename Load::Element* values,
                      int64_t kv_stride, int64_t n, float* out, int64_t out_stride) {
  for (int64_t j = 0; j < n; j += kPositions) {
    const int64_t positions = n - j < kPositions ? n - j : kPositions;
    const auto* rows = values + j * kv_stride;
    int64_t i = 0;
    for (; i + 16 <= d; i += 16) {
      int64_t h = 0;
      for (; h + 4 <= heads; h += 4)
        Mix16<4, Load>(p + h * p_stride + j, p_stride, rows + i, kv_stride, positions, out + h * out_stride + i,
                       out_stride);
      for (; h < heads; ++h)
        Mix16<1, Load>(p + h * p_stride + j, p_stride, rows + i, kv_stride, positions, out + h * out_stride + i,
                       out_stride);
    }
    for (; i < d; i += 8)
      for (int64_t h = 0; h < heads; ++h)
        MixFirst<Load>(p + h * p_stride + j, rows + i, kv_stride, positions, d - i, out + h * out_stride + i);
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

}  // namespace carat::kernels::avx2
