// One token, or a panel, of weights whose rows are woven together (quant/interleave.h): a vector holds four columns of
// each of sixteen rows, so that a row's sums grow in a lane of their own.
#include <bit>

#include "kernels/x86/avx512.h"
#include "kernels/x86/gemv.h"
#include "kernels/x86/sixteen_avx512.h"

namespace carat::kernels::avx512 {
namespace {

using avx2::Columns;

// kTogether lanes of the block dot: blocks `first` and those behind it, whose codes lie together, of a stretch.
template <typename Block, int kTogether>
CARAT_INLINE void AddBlocks(const Sixteen<Block>& w, int first, const Columns& x, __m512 lanes[8]) {
  constexpr int kHalves = 32 / Block::kGroup, kQuads = 8 / kHalves;
#pragma GCC unroll 2
  for (int half = 0; half < kHalves; ++half) {
    const int32_t* lift = kHalves == 1 ? x.lift32 : x.lift16;
    __m512i sums[kTogether];
#pragma GCC unroll 4
    for (int j = 0; j < kTogether; ++j) {
      sums[j] = _mm512_setzero_si512();
      if constexpr (Sixteen<Block>::kBias > 0)  // the lift is of codes + 128
        sums[j] =
            _mm512_set1_epi32(lift[(first + j) * kHalves + half] >> std::countr_zero(128u / Sixteen<Block>::kBias));
    }
#pragma GCC unroll 8
    for (int i = half * kQuads; i < (half + 1) * kQuads; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kTogether; ++j) {
        int32_t token = 0;
        __builtin_memcpy(&token, x.codes + 32 * (first + j) + 4 * i, sizeof(token));
        sums[j] = _mm512_dpbusd_epi32(sums[j], w.Quad(first + j, i), _mm512_set1_epi32(token));
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kTogether; ++j) {
      const int block = first + j, group = block * kHalves + half;
      const __m512 scale = _mm512_mul_ps(w.Scale(group), _mm512_set1_ps(x.scale[block]));
      lanes[block] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[j]), scale, lanes[block]);
      if constexpr (Block::kHasOffset) {
        const float scaled_sum = x.scale[block] * (static_cast<float>(lift[group]) * -0x1p-7f);
        lanes[block] = _mm512_fmadd_ps(w.Offset(group), _mm512_set1_ps(scaled_sum), lanes[block]);
      }
    }
  }
}

// No prefetches: in large pages the CPU's own run on, and ours only cost (a tenth to a third of the bandwidth).
template <typename Block>
CARAT_INLINE __m512 DotSixteen(const std::byte* w, const A8Row& x, int64_t k) {
  constexpr int kTogether = Sixteen<Block>::kTogether;
  __m512 lanes[8];
  for (__m512& lane : lanes) lane = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 256 <= k; i += 256) {
    const Sixteen<Block> at = Columns256<Block>(w, i, k);
    const Columns columns(x, i);
#pragma GCC unroll 8
    for (int b = 0; b < 8; b += kTogether) AddBlocks<Block, kTogether>(at, b, columns, lanes);
  }
  if constexpr (Block::kElements == 32) {
    const Sixteen<Block> at = Columns256<Block>(w, i, k);
#pragma GCC unroll 8
    for (int b = 0; b < 8; ++b)
      if (i + 32 * b < k) AddBlocks<Block, 1>(at, b, Columns(x, i), lanes);
  }
  const auto four = [&](int j) __attribute__((always_inline)) { return _mm512_add_ps(lanes[j], lanes[j + 4]); };
  return _mm512_add_ps(_mm512_add_ps(four(0), four(2)), _mm512_add_ps(four(1), four(3)));
}

// Block `block` of a stretch, to the panel's columns from `column` and rows from `row` on.
template <typename Block>
CARAT_INLINE void PanelBlock(const Sixteen<Block>& w, int block, int64_t column, int64_t row, const S8Panel& panel) {
  constexpr int kGroups = 32 / Block::kGroup;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(128 - Sixteen<Block>::kBias));
  int8_t* codes = panel.codes + ((column + 32 * block) * kPanelRows + row * 4);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) _mm512_store_si512(codes + i * 4 * kPanelRows, _mm512_add_epi8(w.Quad(block, i), flip));
#pragma GCC unroll 2
  for (int half = 0; half < kGroups; ++half) {
    const int64_t at = (column / Block::kGroup + block * kGroups + half) * kPanelRows + row;
    _mm512_store_ps(panel.scale + at, w.Scale(block * kGroups + half));
    if constexpr (Block::kHasOffset) _mm512_store_ps(panel.offset + at, w.Offset(block * kGroups + half));
  }
}

}  // namespace

template <typename Block>
void GemvInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y) {
  for (int64_t n = 0; n < rows; n += kInterleavedRows)
    _mm512_storeu_ps(y + n, DotSixteen<Block>(w + n * row_bytes, x, k));
}

template <typename Block>
void PanelInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, int64_t k, const S8Panel& panel) {
  for (int64_t row = 0; row < rows; row += kInterleavedRows) {
    for (int64_t i = 0; i < k; i += 256) {
      const Sixteen<Block> at = Columns256<Block>(w + row * row_bytes, i, k);
#pragma GCC unroll 8
      for (int b = 0; b < 8; ++b)
        if (Block::kElements == 256 || i + 32 * b < k) PanelBlock<Block>(at, b, i, row, panel);
    }
  }
}

#define CARAT_INSTANTIATE(Block)                                                                           \
  template void GemvInterleaved<Block>(const std::byte*, int64_t, int64_t, const A8Row&, int64_t, float*); \
  template void PanelInterleaved<Block>(const std::byte*, int64_t, int64_t, int64_t, const S8Panel&);
CARAT_FOR_EACH_INTERLEAVED(CARAT_INSTANTIATE)
#undef CARAT_INSTANTIATE

}  // namespace carat::kernels::avx512
