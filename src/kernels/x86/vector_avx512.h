// Small pieces of the AVX-512 kernels: sums in the fixed order, tails, loads. All forced inline (see avx512.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/x86/vector_avx2.h"

namespace carat::kernels::avx512 {

// The tree of kernels.h from 16 lanes on.
CARAT_INLINE float TreeSum(__m512 lanes) {
  return avx2::TreeSum(_mm512_castps512_ps256(lanes), _mm512_extractf32x8_ps(lanes, 1));
}

// The first `count` lanes; count >= 16: all.
CARAT_INLINE __mmask16 FirstLanes(int64_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xffff : (1u << count) - 1u);
}

// Plane p of the packed bytes of a vector: their p-th codes as unsigned numbers, code + 2^(kBits-1).
// Whole words are shifted, as any vector can be: what comes from a neighbour's byte is masked away.
template <int kBits, typename Vector>
CARAT_INLINE Vector Plane(Vector packed, int p) {
  constexpr uint64_t kOnes = 0x0101010101010101;  // a 1 in each byte
  if constexpr (kBits == 8)
    return packed ^ static_cast<long long>(kOnes << 7);
  else
    return (packed >> (kBits * p)) & static_cast<long long>(kOnes * ((1 << kBits) - 1));
}

// Sixteen numbers of a row as floats. LoadFirst: zeros beyond the first `count`, and nothing beyond them is read.
struct LoadF32 {
  using Element = float;
  CARAT_INLINE static __m512 Load(const float* p) { return _mm512_loadu_ps(p); }
  CARAT_INLINE static __m512 LoadFirst(const float* p, int64_t count) {
    return _mm512_maskz_loadu_ps(FirstLanes(count), p);
  }
};
struct LoadF16 {
  using Element = uint16_t;
  CARAT_INLINE static __m512 Load(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  CARAT_INLINE static __m512 LoadFirst(const uint16_t* p, int64_t count) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FirstLanes(count), p));
  }
};
struct LoadI8 {
  using Element = int8_t;
  CARAT_INLINE static __m512 Load(const int8_t* p) { return LoadFirst(p, 16); }
  CARAT_INLINE static __m512 LoadFirst(const int8_t* p, int64_t count) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8(FirstLanes(count), p)));
  }
};

}  // namespace carat::kernels::avx512
