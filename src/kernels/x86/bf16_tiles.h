// Products of bfloat16 on tile registers, of one token and of many: the same instruction, so the same order of sums.
#pragma once

#include "kernels/x86/tiles.h"

namespace carat::kernels::x86 {

inline constexpr int64_t kBf16Columns = kTileBytes / 2;  // of a tile

// `rows` <= 16 * kParts rows: the rows of as many registers by one column, the token. Two parts do not wait for each
// other.
template <int kParts, typename Tiles>
[[gnu::always_inline]] inline void Bf16Rows(const uint16_t* w, int64_t rows, const uint16_t* x, int64_t k, float* y) {
  Tiles tiles(rows < kTileRows ? rows : kTileRows, 1);
  tiles.template Zero<0>();
  tiles.template Zero<1>();
  for (int64_t i = 0; i < k; i += kBf16Columns) {
    tiles.template Load<6>(x + i, 4);
    tiles.template Load<4>(w + i, 2 * k);
    tiles.template Dot<Product::kBf16, 0, 4, 6>();
    if constexpr (kParts == 2) {
      tiles.template Load<5>(w + kTileRows * k + i, 2 * k);
      tiles.template Dot<Product::kBf16, 1, 5, 6>();
    }
  }
  tiles.template Store<0>(y, 4);
  if constexpr (kParts == 2) tiles.template Store<1>(y + kTileRows, 4);
}

template <typename Tiles>
void Bf16Gemv(const uint16_t* w, int64_t rows, const uint16_t* x, int64_t k, float* y) {
  int64_t n = 0;
  for (; n + 2 * kTileRows <= rows; n += 2 * kTileRows) Bf16Rows<2, Tiles>(w + n * k, 2 * kTileRows, x, k, y + n);
  for (; n < rows; n += kTileRows)
    Bf16Rows<1, Tiles>(w + n * k, rows - n < kTileRows ? rows - n : kTileRows, x, k, y + n);
}

template <typename Tiles>
void Bf16Gemm(const uint16_t* panel, int64_t rows, const uint16_t* x, int64_t tokens, int64_t k, float* y,
              int64_t y_stride) {
  Tiles tiles;
  const auto put = [&](const float(&sums)[16][16], int64_t n, int64_t first) __attribute__((always_inline)) {
    for (int64_t t = first; t < tokens && t < first + kTileRows; ++t)
      StoreFirst(y + t * y_stride + n, rows - n, sums[t - first]);
  };
  PanelProducts<Product::kBf16, float>(tiles, panel, rows, x, tokens, 2 * k, put);
}

// Columns of rows woven together that are widened at a time: of a stretch of quant/interleave.h, and few enough that
// twice as many stay in the first-level cache.
inline constexpr int64_t kBf16Stretch = 256;

// What is made of sixteen rows woven together: of each 32 columns either out[16 rows][32], or out[16][16 rows][2].
enum class Widened : uint8_t { kRows, kPairs };

// One token by rows woven together. kWiden(woven, i, k, out): those of columns i .. i+255 that are below k. They are
// widened a stretch ahead: what was just stored cannot yet be loaded as a tile.
template <typename Tiles, Widened kForm, auto kWiden>
void Bf16GemvInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, const uint16_t* x, int64_t k, float* y) {
  constexpr bool kAreRows = kForm == Widened::kRows;
  alignas(64) uint16_t widened[2][kBf16Stretch * kTileRows];
  const int64_t stretches = (k + kBf16Stretch - 1) / kBf16Stretch, last = rows / kTileRows * stretches;
  const auto widen = [&](int64_t at) __attribute__((always_inline)) {
    kWiden(w + at / stretches * kTileRows * row_bytes, at % stretches * kBf16Stretch, k, widened[at % 2]);
  };
  Tiles tiles(kAreRows ? kTileRows : 1, kAreRows ? 1 : kTileRows);
  widen(0);
  for (int64_t at = 0; at < last; ++at) {
    if (at + 1 < last) widen(at + 1);
    const int64_t begin = at % stretches * kBf16Stretch, end = begin + kBf16Stretch < k ? begin + kBf16Stretch : k;
    if (begin == 0) tiles.template Zero<0>();
    for (int64_t i = begin; i < end; i += kBf16Columns) {
      tiles.template Load<kAreRows ? 4 : 6>(widened[at % 2] + (i - begin) * kTileRows, kTileBytes);
      tiles.template Load<kAreRows ? 6 : 4>(x + i, kAreRows ? 4 : kTileBytes);
      tiles.template Dot<Product::kBf16, 0, 4, 6>();
    }
    if (end == k) tiles.template Store<0>(y + at / stretches * kTileRows, kAreRows ? 4 : kTileBytes);
  }
}

}  // namespace carat::kernels::x86
