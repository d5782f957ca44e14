// The limit of this level's arithmetic.
#include "kernels/x86/avx2.h"
#include "kernels/x86/peak.h"
#include "kernels/x86/vector_avx2.h"

namespace carat::kernels::avx2 {

// 64 operations in three instructions: what a product of 32 bytes takes without VNNI.
int64_t PeakInt8(int64_t rounds) {
  __m256i sums[kPeakSums], x = _mm256_set1_epi8(1);
  for (int i = 0; i < kPeakSums; ++i) sums[i] = _mm256_set1_epi32(i);
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 10
    for (int i = 0; i < kPeakSums; ++i) {
      asm("" : "+x"(x));  // may be another x, so that no product is used twice
      const __m256i pairs = _mm256_maddubs_epi16(x, x);
      sums[i] = _mm256_add_epi32(sums[i], _mm256_madd_epi16(pairs, x));
    }
  }
  for (const __m256i& sum : sums) asm volatile("" : : "x"(sum));
  return rounds * kPeakSums * 64;
}

int64_t PeakFloat(int64_t rounds) {
  __m256 sums[kPeakSums];
  const __m256 x = _mm256_set1_ps(0.5f);
  for (int i = 0; i < kPeakSums; ++i) sums[i] = _mm256_set1_ps(static_cast<float>(i));
  for (int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 10
    for (int i = 0; i < kPeakSums; ++i) sums[i] = _mm256_fmadd_ps(sums[i], x, x);
  }
  for (const __m256& sum : sums) asm volatile("" : : "x"(sum));
  return rounds * kPeakSums * 16;
}

}  // namespace carat::kernels::avx2
