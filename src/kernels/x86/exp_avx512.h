// The exponential function that softmax and gelu share, lane by lane that of reference/exp.h.
#pragma once

#include "kernels/exp_constants.h"
#include "kernels/x86/vector_avx512.h"

namespace carat::kernels::avx512 {

CARAT_INLINE __m512 Exp(__m512 x) {
  const __m512 shift = _mm512_set1_ps(kRoundShift);
  const __m512 shifted = _mm512_fmadd_ps(x, _mm512_set1_ps(kLog2E), shift);
  const __m512 n = _mm512_sub_ps(shifted, shift);
  __m512 r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2High), x);
  r = _mm512_fmadd_ps(n, _mm512_set1_ps(-kLn2Low), r);
  __m512 p = _mm512_set1_ps(kExpPoly[0]);
  for (int i = 1; i < 6; ++i) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(kExpPoly[i]));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  const __m512i power = _mm512_slli_epi32(_mm512_add_epi32(_mm512_castps_si512(shifted), _mm512_set1_epi32(127)), 23);
  const __m512 result = _mm512_mul_ps(p, _mm512_castsi512_ps(power));
  const __mmask16 not_low = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpLowest), _CMP_NLT_UQ);
  const __mmask16 high = _mm512_cmp_ps_mask(x, _mm512_set1_ps(kExpHighest), _CMP_GT_OQ);
  const __m512 infinity = _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(kInfinityBits)));
  return _mm512_mask_mov_ps(_mm512_maskz_mov_ps(not_low, result), high, infinity);
}

}  // namespace carat::kernels::avx512
