// One token with rows of blocks as they lie in memory, for every level: 256 columns of a row at a time are unpacked,
// at most into the first-level cache, and multiplied at once.
//
// One row after the other: the memory is read as one stream, which is what the prefetchers of the CPU follow best.
// Unpacking several rows side by side costs half of the bandwidth, unpacking many before multiplying a third.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/x86/unpack_avx2.h"

namespace carat::kernels::avx2 {

// The CPU's own prefetchers end at a page of 4 KiB; this far ahead the next one is on its way in time.
constexpr int64_t kAhead = 4096;

// The f16 that begins each of eight blocks, or stands behind it.
template <typename Block>
CARAT_INLINE __m256 EightHalves(const Block* w, const uint8_t (Block::*half)[2]) {
  const auto at = [&](int i) __attribute__((always_inline)) { return static_cast<short>(quant::Load16(w[i].*half)); };
  return _mm256_cvtph_ps(_mm_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
}

// Sums within the halves of four vectors: of the lower halves to the lower lanes, of the upper ones to the upper.
CARAT_INLINE __m256i SumHalves(__m256i a, __m256i b, __m256i c, __m256i d) {
  const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
  const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
  return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
}

// Of eight blocks of 32 columns, their first and their second groups of 16.
struct EvenOdd {
  __m256i even, odd;
};
CARAT_INLINE EvenOdd SumGroups(const __m256i fours[8]) {
  const __m256i low = SumHalves(fours[0], fours[1], fours[2], fours[3]);
  const __m256i high = SumHalves(fours[4], fours[5], fours[6], fours[7]);
  return {_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31)};
}
// Sixteen numbers of groups dealt to the same two.
CARAT_INLINE EvenOdd Deal(__m256i low, __m256i high) {
  const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  low = _mm256_permutevar8x32_epi32(low, order);
  high = _mm256_permutevar8x32_epi32(high, order);
  return {_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31)};
}
CARAT_INLINE EvenOdd Deal(const float p[16]) {
  return Deal(_mm256_castps_si256(_mm256_loadu_ps(p)), _mm256_castps_si256(_mm256_loadu_ps(p + 8)));
}

// Activations from some column on.
struct Columns {
  CARAT_INLINE Columns(const A8Row& x, int64_t i)
      : codes(x.codes + i),
        dealt(x.dealt + i),
        scale(x.scale + i / 32),
        lift32(x.lift32 + i / 32),
        lift16(x.lift16 + i / 16) {}
  const int8_t* codes;
  const int8_t* dealt;  // if i is a multiple of 128
  const float* scale;
  const int32_t* lift32;
  const int32_t* lift16;
};

// The token's scale times the sums of its codes.
CARAT_INLINE __m256 ScaledSums(__m256i lift, __m256 scale) {
  return _mm256_mul_ps(scale, _mm256_mul_ps(_mm256_cvtepi32_ps(lift), _mm256_set1_ps(-0x1p-7f)));
}

// Eight lanes of the block dot, by Level::SumsOfFour: of codes, their magnitudes and the token's codes. Adds 256
// columns, or fewer at the end of a row: `count` blocks of 32.
template <typename Level, typename Block>
  requires(Block::kElements == 32)
CARAT_INLINE __m256 AddColumns(const Block* w, const Columns& x, int count, __m256 lanes) {
  __m256i fours[8];
  __m256 scale, token_scale, offset = _mm256_setzero_ps();
  __m256i lift;
  if (count == 8) {
    for (int b = 0; b < 8; ++b) {
      const __m256i codes = Codes(w[b]);
      fours[b] = Level::SumsOfFour(codes, _mm256_abs_epi8(codes), Load256(x.codes + 32 * b));
    }
    scale = EightHalves(w, &Block::d);
    if constexpr (Block::kHasOffset) offset = EightHalves(w, &Block::m);
    token_scale = _mm256_loadu_ps(x.scale);
    lift = Load256(x.lift32);
  } else {
    alignas(32) float scales[8] = {}, offsets[8] = {};
    for (int b = 0; b < 8; ++b) fours[b] = _mm256_setzero_si256();
    for (int b = 0; b < count; ++b) {
      const __m256i codes = Codes(w[b]);
      fours[b] = Level::SumsOfFour(codes, _mm256_abs_epi8(codes), Load256(x.codes + 32 * b));
      scales[b] = F16(w[b].d);
      if constexpr (Block::kHasOffset) offsets[b] = F16(w[b].m);
    }
    scale = _mm256_load_ps(scales);
    offset = _mm256_load_ps(offsets);
    token_scale = _mm256_maskload_ps(x.scale, FirstLanes(count));
    lift = _mm256_maskload_epi32(x.lift32, FirstLanes(count));
  }
  const EvenOdd sums = SumGroups(fours);
  const __m256 integers = _mm256_cvtepi32_ps(_mm256_add_epi32(sums.even, sums.odd));
  __m256 next = _mm256_fmadd_ps(integers, _mm256_mul_ps(scale, token_scale), lanes);
  if constexpr (Block::kHasOffset) next = _mm256_fmadd_ps(offset, ScaledSums(lift, token_scale), next);
  return count == 8 ? next : _mm256_blendv_ps(lanes, next, _mm256_castsi256_ps(FirstLanes(count)));
}

// A super-block.
template <typename Level, typename Block>
  requires(Block::kElements == 256)
CARAT_INLINE __m256 AddColumns(const Block* w, const Columns& x, int, __m256 lanes) {
  alignas(32) int8_t codes[256];
  alignas(32) float scale[16], offset[16];
  UnpackBlock(*w, {codes, scale, offset});
  __m256i fours[8];
  for (int b = 0; b < 8; ++b) {
    const __m256i block = Load256(codes + 32 * b);
    fours[b] = Level::SumsOfFour(block, _mm256_abs_epi8(block), Load256(x.codes + 32 * b));
  }
  const EvenOdd sums = SumGroups(fours);
  const __m256 token_scale = _mm256_loadu_ps(x.scale);
  const auto add = [&](__m256i integers, __m256 scales, __m256 offsets, __m256i lift) __attribute__((always_inline)) {
    lanes = _mm256_fmadd_ps(_mm256_cvtepi32_ps(integers), _mm256_mul_ps(scales, token_scale), lanes);
    if constexpr (Block::kHasOffset) lanes = _mm256_fmadd_ps(offsets, ScaledSums(lift, token_scale), lanes);
  };
  if constexpr (Block::kGroup == 32) {
    add(_mm256_add_epi32(sums.even, sums.odd), _mm256_load_ps(scale), _mm256_load_ps(offset), Load256(x.lift32));
  } else {
    const EvenOdd scales = Deal(scale), offsets = Deal(offset);
    const EvenOdd lifts = Deal(Load256(x.lift16), Load256(x.lift16 + 8));
    add(sums.even, _mm256_castsi256_ps(scales.even), _mm256_castsi256_ps(offsets.even), lifts.even);
    add(sums.odd, _mm256_castsi256_ps(scales.odd), _mm256_castsi256_ps(offsets.odd), lifts.odd);
  }
  return lanes;
}

// `Level` has Add(blocks, columns, lanes), which adds 256 columns to the lanes, and SumsOfFour (see AddColumns).
template <typename Level, typename Block>
CARAT_INLINE float DotRow(const Block* w, const A8Row& x, int64_t k) {
  __m256 lanes = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 256 <= k; i += 256, w += 256 / Block::kElements) {
    const auto* ahead = reinterpret_cast<const char*>(w) + kAhead;
    for (size_t line = 0; line < 256 / Block::kElements * sizeof(Block); line += 64)
      _mm_prefetch(ahead + line, _MM_HINT_T0);
    lanes = Level::Add(w, Columns(x, i), lanes);
  }
  if (i < k) lanes = AddColumns<Level>(w, Columns(x, i), static_cast<int>((k - i) / 32), lanes);
  return TreeSum(lanes);
}

template <typename Level, typename Block>
CARAT_INLINE void DotRows(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y) {
  for (int64_t n = 0; n < rows; ++n) y[n] = DotRow<Level>(reinterpret_cast<const Block*>(w + n * row_bytes), x, k);
}

}  // namespace carat::kernels::avx2
