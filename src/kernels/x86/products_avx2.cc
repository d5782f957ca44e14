// Products of weights and activations.
#include "kernels/x86/avx2.h"
#include "kernels/x86/float_tile_avx2.h"
#include "kernels/x86/int8_avx2.h"

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
    __m256i* codes = reinterpret_cast<__m256i*>(dst.codes + 32 * block);
    if (_mm_cvtsi128_si32(four) >= 0x7f800000) {
      const __m128 nan = _mm_castsi128_ps(_mm_set1_epi32(0x7fc00000));
      _mm256_storeu_si256(codes, _mm256_setzero_si256());
      _mm_store_ss(dst.scale + block, nan);
      _mm_storel_pi(reinterpret_cast<__m64*>(dst.scaled_sum + 2 * block), nan);
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
    const __m128 sums = _mm_cvtepi32_ps(_mm_hadd_epi32(halves, halves));
    _mm_storel_pi(reinterpret_cast<__m64*>(dst.scaled_sum + 2 * block), _mm_mul_ps(_mm_set1_ps(scale), sums));
    dst.scale[block] = scale;
    // Packing works within halves of registers; the permutation brings the fours back into order.
    const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
    _mm256_storeu_si256(codes, _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7)));
  }
}

void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride) {
  FloatProducts<LoadF32>(w, w_stride, rows, x, x_stride, tokens, k, y, y_stride);
}

namespace {

// kRows rows of weights by kTokens of activations.
template <int kRows, int kTokens>
CARAT_INLINE void Int8Tile(const S8Rows& w, int64_t n0, const A8Rows& x, int64_t t0, int64_t k, float* y,
                           int64_t y_stride) {
  const int8_t* w_codes = w.codes + n0 * w.codes_stride;
  const float* w_scale = w.scale + n0 * w.scale_stride;
  const int8_t* x_codes = x.codes + t0 * x.codes_stride;
  const float* x_scale = x.scale + t0 * x.scale_stride;
  __m256 sum[kRows][kTokens][2];  // of even and of odd blocks
  for (int n = 0; n < kRows; ++n)
    for (int t = 0; t < kTokens; ++t) sum[n][t][0] = sum[n][t][1] = _mm256_setzero_ps();
  const auto add = [&](int64_t block, int parity) __attribute__((always_inline)) {
    __m256i codes[kRows], magnitude[kRows];
    __m256 scale[kRows];
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      codes[n] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w_codes + n * w.codes_stride + 32 * block));
      magnitude[n] = _mm256_abs_epi8(codes[n]);
      scale[n] = BlockScales(w_scale + n * w.scale_stride + 2 * block);
    }
#pragma GCC unroll 4
    for (int t = 0; t < kTokens; ++t) {
      const __m256i token =
          _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x_codes + t * x.codes_stride + 32 * block));
      const __m256 token_scale = _mm256_broadcast_ss(x_scale + t * x.scale_stride + block);
#pragma GCC unroll 4
      for (int n = 0; n < kRows; ++n) {
        const __m256 fours = _mm256_cvtepi32_ps(SumsOfFour::Of(codes[n], magnitude[n], token));
        sum[n][t][parity] = _mm256_fmadd_ps(fours, _mm256_mul_ps(scale[n], token_scale), sum[n][t][parity]);
      }
    }
  };
  int64_t block = 0;
  for (; block + 2 <= k / 32; block += 2) {
    add(block, 0);
    add(block + 1, 1);
  }
  if (block < k / 32) add(block, 0);
  for (int t = 0; t < kTokens; ++t)
    for (int n = 0; n < kRows; ++n) y[(t0 + t) * y_stride + n0 + n] = TreeSum(sum[n][t][0], sum[n][t][1]);
}

template <int kTokens>
CARAT_INLINE void Int8Strip(const S8Rows& w, int64_t rows, const A8Rows& x, int64_t t, int64_t k, float* y,
                            int64_t y_stride) {
  constexpr int kRows = kTokens == 1 ? 4 : 1;  // 8 sums, and what they need of a block, fill the 16 registers
  int64_t n = 0;
  for (; n + kRows <= rows; n += kRows) Int8Tile<kRows, kTokens>(w, n, x, t, k, y, y_stride);
  for (; n < rows; ++n) Int8Tile<1, kTokens>(w, n, x, t, k, y, y_stride);
}

// y += offsets . scaled sums, for kTokens tokens.
template <int kTokens>
CARAT_INLINE void AddOffsets(const S8Rows& w, int64_t rows, const A8Rows& x, int64_t t0, int64_t k, float* y,
                             int64_t y_stride) {
  for (int64_t n = 0; n < rows; ++n) {
    float sum[kTokens];
    FloatTile<1, kTokens, LoadF32>(w.offset + n * w.offset_stride, 0, x.scaled_sum + t0 * x.sum_stride, x.sum_stride,
                                   k / 16, sum, 1);
    for (int t = 0; t < kTokens; ++t) y[(t0 + t) * y_stride + n] += sum[t];
  }
}

}  // namespace

void GemmS8(const S8Rows& w, int64_t rows, const A8Rows& x, int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  // Tokens outside, rows inside: four tokens stay in the first-level cache while the panel of weights passes by.
  int64_t t = 0;
  for (; t + 4 <= tokens; t += 4) {
    Int8Strip<4>(w, rows, x, t, k, y, y_stride);
    if (w.offset != nullptr) AddOffsets<4>(w, rows, x, t, k, y, y_stride);
  }
  for (; t < tokens; ++t) {
    Int8Strip<1>(w, rows, x, t, k, y, y_stride);
    if (w.offset != nullptr) AddOffsets<1>(w, rows, x, t, k, y, y_stride);
  }
}

}  // namespace carat::kernels::avx2
