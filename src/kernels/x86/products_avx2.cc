// Products of weights and activations.
#include "kernels/x86/avx2.h"
#include "kernels/x86/float_tile_avx2.h"

namespace carat::kernels::avx2 {

void QuantizeA8(const float* x, int64_t k, A8Row dst) {
  const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
  for (int64_t block = 0; block < k / 32; ++block, x += 32) {
    __m256 v[4];
    for (int i = 0; i < 4; ++i) v[i] = _mm256_loadu_ps(x + 8 * i);
    __m256i largest = _mm256_setzero_si256();
    for (int i = 0; i < 4; ++i)
      largest = _mm256_max_epu32(largest, _mm256_and_si256(_mm256_castps_si256(v[i]), no_sign));
    __m128i four = _mm_max_epu32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256(largest, 1));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(1, 0, 3, 2)));
    four = _mm_max_epu32(four, _mm_shuffle_epi32(four, _MM_SHUFFLE(2, 3, 0, 1)));
    const float max = _mm_cvtss_f32(_mm_castsi128_ps(four));
    const auto store = [&, block](__m256i codes) __attribute__((always_inline)) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(dst.codes + 32 * block), codes);
      auto* dealt = reinterpret_cast<__m128i*>(dst.dealt + block / 4 * 128 + block % 4 * 16);
      _mm_storeu_si128(dealt, _mm256_castsi256_si128(codes));
      _mm_storeu_si128(dealt + 4, _mm256_extracti128_si256(codes, 1));
    };
    if (_mm_cvtsi128_si32(four) >= 0x7f800000) {
      const __m128 nan = _mm_castsi128_ps(_mm_set1_epi32(0x7fc00000));
      store(_mm256_setzero_si256());
      _mm_store_ss(dst.scale + block, nan);
      dst.lift32[block] = dst.lift16[2 * block] = dst.lift16[2 * block + 1] = 0;
      continue;
    }
    const bool zero = max < kA8Smallest;
    const float scale = zero ? 0.0f : max / 127.0f;
    const __m256 inverse = _mm256_set1_ps(zero ? 0.0f : 127.0f / max);
    __m256i q[4];
    for (int i = 0; i < 4; ++i) q[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v[i], inverse));  // halves to even
    // Two sums of 16 codes: 8 + 8 lanes to 4 + 4 to 2 + 2 to 1 + 1.
    const __m256i pairs = _mm256_hadd_epi32(_mm256_add_epi32(q[0], q[1]), _mm256_add_epi32(q[2], q[3]));
    const __m128i halves = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
    const __m128i sums = _mm_hadd_epi32(halves, halves);
    const __m128i lifts = _mm_sub_epi32(_mm_setzero_si128(), _mm_slli_epi32(sums, 7));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(dst.lift16 + 2 * block), lifts);
    dst.lift32[block] = _mm_cvtsi128_si32(_mm_hadd_epi32(lifts, lifts));
    dst.scale[block] = scale;
    // Packing works within halves of registers; the permutation brings the fours back into order.
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    store(_mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
  }
}

void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride) {
  FloatProducts<LoadF32>(w, w_stride, rows, x, x_stride, tokens, k, y, y_stride);
}

}  // namespace carat::kernels::avx2
