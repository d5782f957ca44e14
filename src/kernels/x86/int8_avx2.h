// A piece of the block dot of kernels.h: 32 columns of a row with those of a token, to eight integers.
#pragma once

#include "kernels/x86/vector_avx2.h"

namespace carat::kernels::avx2 {

// Sums of four products. These of bytes are |w| * (x with the sign of w): the first factor is unsigned, as
// vpmaddubsw wants it, and 2 * 128 * 127 fits its 16-bit sums.
struct SumsOfFour {
  CARAT_INLINE static __m256i Of(__m256i codes, __m256i magnitude, __m256i token) {
    const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(token, codes));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
};

}  // namespace carat::kernels::avx2
