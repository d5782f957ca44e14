// One token with rows of blocks as they lie in memory, for every level: 256 columns of a row at a time are unpacked,
// at most into the first-level cache, and multiplied at once.
//
// One row after the other: the memory is read as one stream, which is what the prefetchers of the CPU follow best.
// Unpacking several rows side by side costs half of the bandwidth, unpacking many before multiplying a third.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/x86/int8_avx2.h"
#include "kernels/x86/unpack_avx2.h"

namespace carat::kernels::avx2 {

// The sums of one row: the int8 dot's lanes of even and odd blocks, and the lower and upper lanes of the offsets.
struct RowSums {
  __m256 lanes[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  __m256 offsets[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
};

// Adds block `block`, whose weights' scales times the token's are `products`.
template <typename Fours>
CARAT_INLINE void AddProducts(__m256i codes, const int8_t* token, __m256 products, int block, RowSums& sums) {
  const __m256i fours = Fours::Of(codes, _mm256_abs_epi8(codes), Load256(token + 32 * block));
  sums.lanes[block % 2] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(fours), products, sums.lanes[block % 2]);
}

// The f16 that begins each of eight blocks, or stands behind it.
template <typename Block>
CARAT_INLINE __m256 EightHalves(const Block* w, const uint8_t (Block::*half)[2]) {
  const auto at = [&](int i) __attribute__((always_inline)) { return static_cast<short>(quant::Load16(w[i].*half)); };
  return _mm256_cvtph_ps(_mm_setr_epi16(at(0), at(1), at(2), at(3), at(4), at(5), at(6), at(7)));
}

// `count` blocks of 32: 8, or fewer at the end of a row.
template <typename Fours, typename Block>
  requires(Block::kElements == 32)
CARAT_INLINE void AddColumns(const Block* w, const int8_t* token, const float* scale, const float* scaled_sum,
                             int count, RowSums& sums) {
  alignas(32) float products[8], offsets[16] = {};
  if (count == 8) {
    _mm256_store_ps(products, _mm256_mul_ps(EightHalves(w, &Block::d), _mm256_loadu_ps(scale)));
    if constexpr (Block::kHasOffset) StoreEachTwice(offsets, EightHalves(w, &Block::m));
  } else {
    for (int block = 0; block < count; ++block) {
      products[block] = F16(w[block].d) * scale[block];
      if constexpr (Block::kHasOffset) StoreTwice(offsets + 2 * block, w[block].m);
    }
  }
  for (int block = 0; block < count; ++block)
    AddProducts<Fours>(Codes(w[block]), token, _mm256_broadcast_ss(products + block), block, sums);
  if constexpr (Block::kHasOffset) {
    for (int half = 0; half < 2; ++half) {
      const __m256 sum = LoadF32::LoadFirst(scaled_sum + 8 * half, 2 * count - 8 * half);
      sums.offsets[half] = _mm256_fmadd_ps(_mm256_load_ps(offsets + 8 * half), sum, sums.offsets[half]);
    }
  }
}

// A super-block.
template <typename Fours, typename Block>
  requires(Block::kElements == 256)
CARAT_INLINE void AddColumns(const Block* w, const int8_t* token, const float* scale, const float* scaled_sum,
                             int count, RowSums& sums) {
  alignas(32) int8_t codes[256];
  alignas(32) float products[16], offset[16];
  alignas(32) float each_twice[16];
  UnpackBlock(*w, {codes, products, offset});
  StoreEachTwice(each_twice, _mm256_loadu_ps(scale));
  for (int half = 0; half < 2; ++half)
    _mm256_store_ps(products + 8 * half,
                    _mm256_mul_ps(_mm256_load_ps(products + 8 * half), _mm256_load_ps(each_twice + 8 * half)));
  for (int block = 0; block < count; ++block)
    AddProducts<Fours>(Load256(codes + 32 * block), token, BlockScales(products + 2 * block), block, sums);
  if constexpr (Block::kHasOffset) {
    for (int half = 0; half < 2; ++half)
      sums.offsets[half] = _mm256_fmadd_ps(_mm256_load_ps(offset + 8 * half), _mm256_loadu_ps(scaled_sum + 8 * half),
                                           sums.offsets[half]);
  }
}

template <typename Fours, typename Block>
CARAT_INLINE float DotRow(const Block* w, const A8Rows& x, int64_t k) {
  RowSums sums;
  int64_t i = 0;
  for (; i + 256 <= k; i += 256)
    AddColumns<Fours>(w + i / Block::kElements, x.codes + i, x.scale + i / 32, x.scaled_sum + i / 16, 8, sums);
  if (i < k)
    AddColumns<Fours>(w + i / Block::kElements, x.codes + i, x.scale + i / 32, x.scaled_sum + i / 16,
                      static_cast<int>((k - i) / 32), sums);
  float sum = TreeSum(sums.lanes[0], sums.lanes[1]);
  if constexpr (Block::kHasOffset) sum += TreeSum(sums.offsets[0], sums.offsets[1]);
  return sum;
}

template <typename Fours, typename Block>
CARAT_INLINE void DotRows(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Rows& x, int64_t k, float* y) {
  for (int64_t n = 0; n < rows; ++n) y[n] = DotRow<Fours>(reinterpret_cast<const Block*>(w + n * row_bytes), x, k);
}

}  // namespace carat::kernels::avx2
