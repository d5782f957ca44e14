// The limit of this level's arithmetic.
#include <immintrin.h>

#include "kernels/x86/avx512.h"
#include "kernels/x86/peak.h"

namespace carat::kernels::avx512 {

int64_t PeakInt8(int64_t rounds) {
  __m512i sums[kPeakSums];
  const __m512i x = _mm512_set1_epi8(1);
  for (int i = 0; i < kPeakSums; ++i) sums[i] = _mm512_set1_epi32(i);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 10
    for (int i = 0; i < kPeakSums; ++i) sums[i] = _mm512_dpbusd_epi32(sums[i], x, x);
  }
  for (const __m512i& sum : sums) asm volatile("" : : "x"(sum));
  return rounds * kPeakSums * 128;
}

int64_t PeakFloat(int64_t rounds) {
  __m512 sums[kPeakSums];
  const __m512 x = _mm512_set1_ps(0.5f);
  for (int i = 0; i < kPeakSums; ++i) sums[i] = _mm512_set1_ps(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 10
    for (int i = 0; i < kPeakSums; ++i) sums[i] = _mm512_fmadd_ps(sums[i], x, x);
  }
  for (const __m512& sum : sums) asm volatile("" : : "x"(sum));
  return rounds * kPeakSums * 32;
}

}  // namespace carat::kernels::avx512
