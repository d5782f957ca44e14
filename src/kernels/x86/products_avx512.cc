// Products of weights and activations.
#include "kernels/x86/avx512.h"
#include "kernels/x86/float_tile_avx512.h"

namespace carat::kernels::avx512 {

void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride) {
  FloatProducts<LoadF32>(w, w_stride, rows, x, x_stride, tokens, k, y, y_stride);
}

namespace {

// The first `count` bytes of 64.
CARAT_INLINE __mmask64 FirstBytes(int count) { return count >= 64 ? ~0ull : (1ull << count) - 1; }

// The scales of two blocks of 32 weights as lanes, each of the four four times; those of a token, each of the two eight
// times. Of an odd last block, zeros stand for the second.
CARAT_INLINE __m512 RowScales(const float* scale, int blocks) {
  const __m128 four = blocks == 2 ? _mm_loadu_ps(scale) : _mm_maskz_loadu_ps(3, scale);
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3),
                               _mm512_castps128_ps512(four));
}
CARAT_INLINE __m512 TokenScales(const float* scale, int blocks) {
  const __m128 two = _mm_maskz_loadu_ps(blocks == 2 ? 3 : 1, scale);
  return _mm512_permutexvar_ps(_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                               _mm512_castps128_ps512(two));
}

// kRows rows of weights by kTokens of activations. vpdpbusd wants an unsigned factor: activations + 128. What that adds
// to the integers, 128 times the sums of four weights, is taken away before: exact either way.
template <int kRows, int kTokens>
CARAT_INLINE void Int8Tile(const S8Rows& w, int64_t n0, const A8Rows& x, int64_t t0, int64_t k, float* y,
                           int64_t y_stride) {
  const __m512i sign = _mm512_set1_epi8(static_cast<char>(128));
  const int8_t* w_codes = w.codes + n0 * w.codes_stride;
  const float* w_scale = w.scale + n0 * w.scale_stride;
  const int8_t* x_codes = x.codes + t0 * x.codes_stride;
  const float* x_scale = x.scale + t0 * x.scale_stride;
  __m512 sum[kRows][kTokens];
  for (int n = 0; n < kRows; ++n)
    for (int t = 0; t < kTokens; ++t) sum[n][t] = _mm512_setzero_ps();
  const auto add = [&](int64_t block, int blocks) __attribute__((always_inline)) {
    const __mmask64 bytes = FirstBytes(32 * blocks);
    __m512i codes[kRows], start[kRows];
    __m512 scale[kRows];
#pragma GCC unroll 8
    for (int n = 0; n < kRows; ++n) {
      codes[n] = _mm512_maskz_loadu_epi8(bytes, w_codes + n * w.codes_stride + 32 * block);
      start[n] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_dpbusd_epi32(_mm512_setzero_si512(), sign, codes[n]));
      scale[n] = RowScales(w_scale + n * w.scale_stride + 2 * block, blocks);
    }
#pragma GCC unroll 8
    for (int t = 0; t < kTokens; ++t) {
      const __m512i token =
          _mm512_xor_si512(sign, _mm512_maskz_loadu_epi8(bytes, x_codes + t * x.codes_stride + 32 * block));
      const __m512 token_scale = TokenScales(x_scale + t * x.scale_stride + block, blocks);
#pragma GCC unroll 8
      for (int n = 0; n < kRows; ++n) {
        const __m512 fours = _mm512_cvtepi32_ps(_mm512_dpbusd_epi32(start[n], token, codes[n]));
        sum[n][t] = _mm512_fmadd_ps(fours, _mm512_mul_ps(scale[n], token_scale), sum[n][t]);
      }
    }
  };
  int64_t block = 0;
  for (; block + 2 <= k / 32; block += 2) add(block, 2);
  if (block < k / 32) add(block, 1);
  for (int t = 0; t < kTokens; ++t)
    for (int n = 0; n < kRows; ++n) y[(t0 + t) * y_stride + n0 + n] = TreeSum(sum[n][t]);
}

// All rows by kTokens tokens; y += offsets . scaled sums.
template <int kTokens>
CARAT_INLINE void Int8Strip(const S8Rows& w, int64_t rows, const A8Rows& x, int64_t t, int64_t k, float* y,
                            int64_t y_stride) {
  constexpr int kRows = 4;
  int64_t n = 0;
  for (; n + kRows <= rows; n += kRows) Int8Tile<kRows, kTokens>(w, n, x, t, k, y, y_stride);
  for (; n < rows; ++n) Int8Tile<1, kTokens>(w, n, x, t, k, y, y_stride);
  if (w.offset == nullptr) return;
  for (n = 0; n < rows; ++n) {
    float sum[kTokens];
    FloatTile<1, kTokens, LoadF32>(w.offset + n * w.offset_stride, 0, x.scaled_sum + t * x.sum_stride, x.sum_stride,
                                   k / 16, sum, 1);
    for (int i = 0; i < kTokens; ++i) y[(t + i) * y_stride + n] += sum[i];
  }
}

}  // namespace

void GemmS8(const S8Rows& w, int64_t rows, const A8Rows& x, int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  // Tokens outside, rows inside: a few tokens stay in the first-level cache while the panel of weights passes by.
  constexpr int kTokens = 4;
  int64_t t = 0;
  for (; t + kTokens <= tokens; t += kTokens) Int8Strip<kTokens>(w, rows, x, t, k, y, y_stride);
  for (; t < tokens; ++t) Int8Strip<1>(w, rows, x, t, k, y, y_stride);
}

}  // namespace carat::kernels::avx512
