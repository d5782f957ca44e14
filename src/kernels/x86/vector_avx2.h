// Small pieces of the AVX2 kernels: sums in the fixed order, tails, loads. All forced inline (see avx2.h).
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#define CARAT_INLINE [[gnu::always_inline]] inline

namespace carat::kernels::avx2 {

// The tree of kernels.h from 8 lanes on.
CARAT_INLINE float TreeSum(__m256 lanes) {
  __m128 sum = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps(lanes, 1));
  sum = _mm_add_ps(sum, _mm_movehl_ps(sum, sum));
  return _mm_cvtss_f32(_mm_add_ss(sum, _mm_movehdup_ps(sum)));
}

// The tree from 16 lanes on.
CARAT_INLINE float TreeSum(__m256 low, __m256 high) { return TreeSum(_mm256_add_ps(low, high)); }

// All ones in the first `count` lanes; count <= 0: in none, count >= 8: in all.
CARAT_INLINE __m256i FirstLanes(int64_t count) {
  const int lanes = count < 0 ? 0 : count > 8 ? 8 : static_cast<int>(count);
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// The first `count` of eight 16-bit numbers at any address, then zeros.
struct FirstHalves {
  CARAT_INLINE FirstHalves(const void* p, int64_t count) {
    if (count > 0) std::memcpy(values, p, sizeof(uint16_t) * static_cast<size_t>(count < 8 ? count : 8));
  }
  alignas(16) uint16_t values[8] = {};
};

// Eight numbers of a row as floats, at any address. LoadFirst: zeros beyond the first `count`, and nothing beyond them
// is read.
struct LoadF32 {
  using Element = float;
  CARAT_INLINE static __m256 Load(const float* p) { return _mm256_loadu_ps(p); }
  CARAT_INLINE static __m256 LoadFirst(const float* p, int64_t count) {
    return _mm256_maskload_ps(p, FirstLanes(count));
  }
};
struct LoadF16 {
  using Element = uint16_t;
  CARAT_INLINE static __m256 Load(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  CARAT_INLINE static __m256 LoadFirst(const uint16_t* p, int64_t count) {
    const FirstHalves halves(p, count);
    return Load(halves.values);
  }
};
struct LoadBf16 {
  using Element = uint16_t;
  CARAT_INLINE static __m256 Load(const uint16_t* p) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  CARAT_INLINE static __m256 LoadFirst(const uint16_t* p, int64_t count) {
    const FirstHalves halves(p, count);
    return Load(halves.values);
  }
};

struct LoadI8 {
  using Element = int8_t;
  CARAT_INLINE static __m256 Load(const int8_t* p) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
  }
  CARAT_INLINE static __m256 LoadFirst(const int8_t* p, int64_t count) {
    alignas(8) int8_t codes[8] = {};
    for (int64_t i = 0; i < count && i < 8; ++i) codes[i] = p[i];
    return Load(codes);
  }
};

CARAT_INLINE float HalfToFloat(uint16_t half) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half))); }

// The sum of eight integers.
CARAT_INLINE int32_t AddLanes(__m256i lanes) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1))));
}

}  // namespace carat::kernels::avx2
