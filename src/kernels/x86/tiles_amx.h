// The tile registers of the CPU.
#pragma once

#include "kernels/x86/tiles.h"

namespace carat::kernels::amx {

// What ldtilecfg reads.
struct alignas(64) TileConfig {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};
static_assert(sizeof(TileConfig) == 64);

// The registers, from construction to destruction, of the thread that runs it: configured for the shortest time, since
// the system saves them with every switch of threads.
//
// Assembler in place of intrinsics: those of GCC 12 do not say that they read and write memory, so that it moves or
// drops the stores that fill a tile or its configuration.
class Tiles {
 public:
  [[gnu::always_inline]] Tiles() : Tiles(16, 16) {}
  [[gnu::always_inline]] Tiles(int64_t m, int64_t n) {
    const auto rows = static_cast<uint8_t>(m);
    const auto row_bytes = static_cast<uint16_t>(4 * n);
    const TileConfig config = {.palette = 1,
                               .start_row = 0,
                               .reserved = {},
                               .row_bytes = {row_bytes, row_bytes, row_bytes, row_bytes, x86::kTileBytes,
                                             x86::kTileBytes, row_bytes, row_bytes},
                               .rows = {rows, rows, rows, rows, rows, rows, x86::kTileRows, x86::kTileRows}};
    asm volatile("ldtilecfg %0" : : "m"(config) : "memory");
  }
  [[gnu::always_inline]] ~Tiles() { asm volatile("tilerelease" : : : "memory"); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  template <int kTile>
  [[gnu::always_inline]] void Zero() {
    asm volatile("tilezero %%tmm%c0" : : "i"(kTile) : "memory");
  }
  template <int kTile>
  [[gnu::always_inline]] void Load(const void* from, int64_t stride) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTile) : "memory");
  }
  template <int kTile>
  [[gnu::always_inline]] void Store(void* to, int64_t stride) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kTile) : "memory");
  }
  template <x86::Product kProduct, int kSum, int kA, int kB>
  [[gnu::always_inline]] void Dot() {
    if constexpr (kProduct == x86::Product::kCodes)
      asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB) : "memory");
    else
      asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kSum), "i"(kA), "i"(kB) : "memory");
  }
};

// The most that the registers can multiply. Six sums that do not wait for each other: a product takes 16 cycles, and
// its sum is there after 52. Returns how many operations that were, of `columns` columns each.
template <x86::Product kProduct>
[[gnu::always_inline]] inline int64_t Peak(int64_t rounds, int64_t columns) {
  Tiles tiles;
  for (int64_t round = 0; round < rounds; ++round) {
    tiles.Dot<kProduct, 0, 6, 7>();
    tiles.Dot<kProduct, 1, 6, 7>();
    tiles.Dot<kProduct, 2, 6, 7>();
    tiles.Dot<kProduct, 3, 6, 7>();
    tiles.Dot<kProduct, 4, 6, 7>();
    tiles.Dot<kProduct, 5, 6, 7>();
  }
  return rounds * 6 * 2 * 16 * 16 * columns;
}

}  // namespace carat::kernels::amx
