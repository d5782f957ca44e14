// The amx level on emulated tile registers, for tests on machines that have none.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/float16.h"
#include "kernels/kernels.h"
#include "kernels/reference/reference.h"
#include "kernels/x86/bf16_tiles.h"
#include "kernels/x86/code_tiles.h"
#ifdef __x86_64__
#include "kernels/x86/bf16_avx512.h"
#endif

namespace carat::kernels::testing {

// Eight registers, and their instructions as Intel's manual defines them (Dot: TDPBSUD, TDPBF16PS). See x86/tiles.h.
class EmulatedTiles {
 public:
  EmulatedTiles() : EmulatedTiles(16, 16) {}
  EmulatedTiles(int64_t m, int64_t n) : m_(static_cast<size_t>(m)), n_(static_cast<size_t>(n)) {}

  template <int kTile>
  void Zero() {
    tile_[kTile] = {};
  }
  template <int kTile>
  void Load(const void* from, int64_t stride) {
    tile_[kTile] = {};
    for (size_t row = 0; row < Rows(kTile); ++row)
      std::memcpy(tile_[kTile][row].data(), static_cast<const char*>(from) + static_cast<int64_t>(row) * stride,
                  RowBytes(kTile));
  }
  template <int kTile>
  void Store(void* to, int64_t stride) {
    for (size_t row = 0; row < Rows(kTile); ++row)
      std::memcpy(static_cast<char*>(to) + static_cast<int64_t>(row) * stride, tile_[kTile][row].data(),
                  RowBytes(kTile));
  }
  template <x86::Product kProduct, int kSum, int kA, int kB>
  void Dot() {
    for (size_t m = 0; m < m_; ++m)
      for (size_t n = 0; n < n_; ++n)
        if constexpr (kProduct == x86::Product::kCodes)
          Codes(tile_[kA][m], tile_[kB], n, tile_[kSum][m]);
        else
          Bf16(tile_[kA][m], tile_[kB], n, tile_[kSum][m]);
  }

 private:
  using Row = std::array<uint8_t, 64>;
  using Tile = std::array<Row, 16>;

  size_t Rows(int tile) const { return tile < 6 ? m_ : 16; }
  size_t RowBytes(int tile) const { return tile == 4 || tile == 5 ? 64 : 4 * n_; }

  static void Codes(const Row& a, const Tile& b, size_t n, Row& sums) {
    uint32_t sum = 0;
    std::memcpy(&sum, &sums[4 * n], sizeof(sum));
    for (size_t j = 0; j < 64; ++j)
      sum += static_cast<uint32_t>(static_cast<int8_t>(a[j]) * int{b[j / 4][4 * n + j % 4]});
    std::memcpy(&sums[4 * n], &sum, sizeof(sum));
  }

  static float Flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
  static float Number(const Row& row, size_t index) {
    uint16_t bits = 0;
    std::memcpy(&bits, &row[2 * index], sizeof(bits));
    return Flush(Bf16ToFloat(bits));
  }
  static void Bf16(const Row& a, const Tile& b, size_t n, Row& sums) {
    float sum = 0, half[2] = {};
    std::memcpy(&sum, &sums[4 * n], sizeof(sum));
    for (size_t j = 0; j < 32; ++j)
      half[j % 2] = Flush(std::fma(Number(a, j), Number(b[j / 2], 2 * n + j % 2), half[j % 2]));
    sum = Flush(Flush(sum) + Flush(half[0] + half[1]));
    std::memcpy(&sums[4 * n], &sum, sizeof(sum));
  }

  size_t m_, n_;
  std::array<Tile, 8> tile_ = {};
};

// Panels with codes + 128, as the level has them.
template <quant::Type kType>
void PackLifted(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel) {
  AllKernels()[0]->pack_codes[static_cast<int>(kType)](w, rows, k, panel);
  for (int64_t i = 0; i < (k + kCodeStep - 1) / kCodeStep * kCodeStep * kPanelRows; ++i)
    panel.codes[i] = static_cast<int8_t>(panel.codes[i] ^ 0x80);
}

inline void PackEmulatedTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile) {
  x86::PackTile(codes, tokens, k, tile);
}

inline void GemmOnEmulatedTiles(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
                                int64_t y_stride) {
  EmulatedTiles tiles;
  x86::CodeProducts(tiles, w, rows, x, tokens, k, y, y_stride);
}

// What the level makes ready for the tiles is the reference's, or its own where this CPU can run that.
inline const Bf16Products& EmulatedBf16() {
  static const Bf16Products emulated = [] {
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512bf16"))
      return avx512::Bf16ProductsOn<EmulatedTiles>();
#endif
    Bf16Products table = reference::kBf16;
    table.gemv = x86::Bf16Gemv<EmulatedTiles>;
    table.gemm = x86::Bf16Gemm<EmulatedTiles>;
    return table;
  }();
  return emulated;
}

// The scalar table but for what the level has of its own, and the form of its panels.
inline const Kernels& EmulatedAmx() {
  static const Kernels emulated = [] {
    using quant::Type;
    Kernels table = *AllKernels()[0];
    table.name = "emulated_amx";
    table.bf16 = &EmulatedBf16();
    table.code_tile_tokens = x86::kTileRows;
    table.pack_code_tile = PackEmulatedTile;
    table.pack_codes[static_cast<int>(Type::kC8)] = PackLifted<Type::kC8>;
    table.pack_codes[static_cast<int>(Type::kC4)] = PackLifted<Type::kC4>;
    table.pack_codes[static_cast<int>(Type::kC2)] = PackLifted<Type::kC2>;
    for (const Type type : {Type::kC8, Type::kC4, Type::kC2})
      table.gemm_codes[static_cast<int>(type)] = GemmOnEmulatedTiles;
    return table;
  }();
  return emulated;
}

}  // namespace carat::kernels::testing
