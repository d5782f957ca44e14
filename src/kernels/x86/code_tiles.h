// Code sums on tile registers of 16 x 64 bytes, as AMX has them, over whatever has such registers: the CPU's, or an
// emulation, which holds the layout, the tails and the sums to the reference on any machine.
//
// `Tiles` is eight registers, named by number:
//   Zero<i>()
//   Load<i>(from), Load<i>(from, stride), Store<i>(to): 16 rows of 64 bytes, `stride` (or 64) bytes apart
//   Dot<c, a, b>(): c[m][n] += sum over j < 64 of a[m][j] * b[j / 4][4 * n + j % 4], m, n < 16; c is 16 x 16 numbers of
//                   32 bits, which wrap around, a signed bytes, b unsigned ones
//
// a is the codes of 16 tokens, b those of 16 rows of a panel, + 128: the form that a panel has anyway.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace carat::kernels::x86 {

inline constexpr int64_t kTileRows = 16, kTileColumns = 64;
inline constexpr uint32_t kTileLift = 128;

// to[k/64][16][64]: tiles of up to 16 tokens, whose k codes lie one behind the other; zeros for those that are missing.
[[gnu::always_inline]] inline void PackTokenTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* to) {
  for (int64_t i = 0; i < k; i += kTileColumns)
    for (int64_t t = 0; t < kTileRows; ++t, to += kTileColumns)
      if (t < tokens)
        __builtin_memcpy(to, codes + t * k + i, kTileColumns);
      else
        __builtin_memset(to, 0, kTileColumns);
}

// One tile of sums to outputs: the first `tokens` of its rows, `rows` of its columns.
[[gnu::always_inline]] inline void StoreTile(const int32_t (&sums)[16][16], const float* scale, int64_t rows,
                                             const StaticRow* x, int64_t tokens, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t, y += y_stride) {
    const uint32_t lift = kTileLift * static_cast<uint32_t>(x[t].sum);
    float out[16];
    for (int n = 0; n < 16; ++n)
      out[n] =
          static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(sums[t][n]) - lift)) * (x[t].scale * scale[n]);
    if (rows >= 16)
      __builtin_memcpy(y, out, sizeof(out));
    else
      for (int64_t n = 0; n < rows; ++n) y[n] = out[n];
  }
}

// All rows of a panel by one or two tiles of tokens, of which `tokens` are wanted. Two by two tiles: each that is
// loaded is used twice.
template <int kTokenTiles, typename Tiles>
[[gnu::always_inline]] inline void TileStrip(Tiles& tiles, const S8Panel& w, int64_t rows, const int8_t* codes,
                                             const StaticRow* x, int64_t tokens, int64_t k, float* y,
                                             int64_t y_stride) {
  static_assert(kPanelRows == 32);
  constexpr int64_t kPanelRowBytes = kPanelRows * 4, kTokenTile = kTileRows * kTileColumns;
  tiles.template Zero<0>();
  tiles.template Zero<1>();
  tiles.template Zero<2>();
  tiles.template Zero<3>();
  const int8_t* weights = w.codes;
  for (int64_t i = 0; i < k; i += kTileColumns, codes += kTokenTile, weights += kTileColumns * kPanelRows) {
    tiles.template Load<6>(weights, kPanelRowBytes);
    tiles.template Load<7>(weights + 64, kPanelRowBytes);
    tiles.template Load<4>(codes, kTileColumns);
    tiles.template Dot<0, 4, 6>();
    tiles.template Dot<1, 4, 7>();
    if constexpr (kTokenTiles == 2) {
      tiles.template Load<5>(codes + k * kTileRows, kTileColumns);
      tiles.template Dot<2, 5, 6>();
      tiles.template Dot<3, 5, 7>();
    }
  }
  alignas(64) int32_t sums[4][16][16];
  tiles.template Store<0>(sums[0]);
  tiles.template Store<1>(sums[1]);
  if constexpr (kTokenTiles == 2) {
    tiles.template Store<2>(sums[2]);
    tiles.template Store<3>(sums[3]);
  }
  for (int part = 0; part < 2 * kTokenTiles; ++part) {
    const int64_t t = part / 2 * kTileRows, n = part % 2 * 16;
    if (n >= rows) continue;
    StoreTile(sums[part], w.scale + n, rows - n, x + t, tokens - t < kTileRows ? tokens - t : kTileRows,
              y + t * y_stride + n, y_stride);
  }
}

template <typename Tiles>
[[gnu::always_inline]] inline void TileProducts(Tiles& tiles, const S8Panel& w, int64_t rows, const CodeTiles& x,
                                                int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  int64_t t = 0;
  for (; t + kTileRows < tokens; t += 2 * kTileRows)
    TileStrip<2>(tiles, w, rows, x.codes + t * k, x.rows + t, tokens - t, k, y + t * y_stride, y_stride);
  if (t < tokens) TileStrip<1>(tiles, w, rows, x.codes + t * k, x.rows + t, tokens - t, k, y + t * y_stride, y_stride);
}

}  // namespace carat::kernels::x86
