// Pieces of the int8 dot of kernels.h: one block of 32 of a row with that of a token.
#pragma once

#include "kernels/x86/vector_avx2.h"

namespace carat::kernels::avx2 {

// The 2 scales of a block of 32 weights as lanes: the first four times, the second four times.
CARAT_INLINE __m256 BlockScales(const float* scale) {
  const __m256 both = _mm256_castpd_ps(_mm256_broadcast_sd(reinterpret_cast<const double*>(scale)));
  return _mm256_permutevar_ps(both, _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1));
}

// The eight integers. The products of bytes are |w| * (x with the sign of w): the first factor is unsigned, as
// vpmaddubsw wants it, and 2 * 128 * 127 fits its 16-bit sums.
struct SumsOfFour {
  CARAT_INLINE static __m256i Of(__m256i codes, __m256i magnitude, __m256i token) {
    const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(token, codes));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
};

}  // namespace carat::kernels::avx2
