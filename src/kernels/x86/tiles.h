// Products on tile registers, as AMX has them, over whatever has such registers: the CPU's, or an emulation, which
// holds layout, tails and sums to the reference on any machine.
//
// `Tiles` is eight registers, named by number. Tiles(m, n), m and n <= 16: registers 0 .. 3 hold m rows of n numbers of
// 32 bits, 4 and 5 m rows of 64 bytes, 6 and 7 16 rows of 4 * n bytes; without arguments, m = n = 16.
//   Zero<i>()
//   Load<i>(from, stride), Store<i>(to, stride): the rows of a register, `stride` bytes apart
//   Dot<kProduct, c, a, b>(): adds products of row i of a and column j of b, which is four bytes wide, to c[i][j]
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace carat::kernels::x86 {

enum class Product : uint8_t {
  kCodes,  // c[i][j] += sum over l < 64 of a[i][l] * b[l / 4][4 * j + l % 4]: a signed bytes, b unsigned; c wraps
           // around
  kBf16,   // 32 columns of the tile dot of a[i][l], b[l / 2][2 * j + l % 2], l < 32
};

inline constexpr int64_t kTileRows = 16, kTileBytes = 64;  // of a row

// to[bytes/64][16][64]: tiles of up to 16 rows, which lie one behind the other; zeros for those that are missing.
[[gnu::always_inline]] inline void PackTile(const void* rows, int64_t count, int64_t bytes, void* to) {
  const auto* from = static_cast<const char*>(rows);
  auto* out = static_cast<char*>(to);
  for (int64_t i = 0; i < bytes; i += kTileBytes)
    for (int64_t t = 0; t < kTileRows; ++t, out += kTileBytes)
      if (t < count)
        __builtin_memcpy(out, from + t * bytes + i, kTileBytes);
      else
        __builtin_memset(out, 0, kTileBytes);
}

// All rows of a panel by one or two tiles of tokens, whose rows are `bytes` long; sums[2 * tile + half of the panel].
// Two by two tiles: each that is loaded is used twice.
template <Product kProduct, int kTokenTiles, typename Tiles, typename Number>
[[gnu::always_inline]] inline void PanelSums(Tiles& tiles, const void* panel, const void* tokens, int64_t bytes,
                                             Number (&sums)[4][16][16]) {
  static_assert(kPanelRows == 32 && sizeof(Number) == 4);
  constexpr int64_t kPanelRowBytes = kPanelRows * 4, kTile = kTileRows * kTileBytes;
  tiles.template Zero<0>();
  tiles.template Zero<1>();
  tiles.template Zero<2>();
  tiles.template Zero<3>();
  const auto* weights = static_cast<const char*>(panel);
  const auto* x = static_cast<const char*>(tokens);
  for (int64_t i = 0; i < bytes; i += kTileBytes, x += kTile, weights += kTileRows * kPanelRowBytes) {
    tiles.template Load<6>(weights, kPanelRowBytes);
    tiles.template Load<7>(weights + kTileBytes, kPanelRowBytes);
    tiles.template Load<4>(x, kTileBytes);
    tiles.template Dot<kProduct, 0, 4, 6>();
    tiles.template Dot<kProduct, 1, 4, 7>();
    if constexpr (kTokenTiles == 2) {
      tiles.template Load<5>(x + bytes * kTileRows, kTileBytes);
      tiles.template Dot<kProduct, 2, 5, 6>();
      tiles.template Dot<kProduct, 3, 5, 7>();
    }
  }
  tiles.template Store<0>(sums[0], kTileBytes);
  tiles.template Store<1>(sums[1], kTileBytes);
  if constexpr (kTokenTiles == 2) {
    tiles.template Store<2>(sums[2], kTileBytes);
    tiles.template Store<3>(sums[3], kTileBytes);
  }
}

// Calls put(sums, first row, first token) for each 16 rows of a panel by 16 tokens, of which some are wanted.
template <Product kProduct, typename Number, typename Tiles, typename Put>
[[gnu::always_inline]] inline void PanelProducts(Tiles& tiles, const void* panel, int64_t rows, const void* tokens,
                                                 int64_t count, int64_t bytes, const Put& put) {
  alignas(64) Number sums[4][16][16];
  for (int64_t t = 0; t < count; t += 2 * kTileRows) {
    const void* x = static_cast<const char*>(tokens) + t * bytes;
    const bool two = t + kTileRows < count;
    if (two)
      PanelSums<kProduct, 2>(tiles, panel, x, bytes, sums);
    else
      PanelSums<kProduct, 1>(tiles, panel, x, bytes, sums);
    for (int part = 0; part < (two ? 4 : 2); ++part)
      if (part % 2 * 16 < rows) put(sums[part], part % 2 * 16, t + part / 2 * kTileRows);
  }
}

// The first `count` of 16 numbers.
[[gnu::always_inline]] inline void StoreFirst(float* y, int64_t count, const float (&numbers)[16]) {
  if (count >= 16)
    __builtin_memcpy(y, numbers, sizeof(numbers));
  else
    for (int64_t n = 0; n < count; ++n) y[n] = numbers[n];
}

}  // namespace carat::kernels::x86
