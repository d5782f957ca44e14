// The amx level on emulated tile registers, for tests on machines that have none.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "kernels/kernels.h"
#include "kernels/x86/code_tiles.h"

namespace carat::kernels::testing {

// Eight registers, and their instructions as Intel's manual defines them (Dot: TDPBSUD). See x86/code_tiles.h.
class EmulatedTiles {
 public:
  template <int kTile>
  void Zero() {
    tile_[kTile] = {};
  }
  template <int kTile>
  void Load(const void* from, int64_t stride) {
    for (size_t row = 0; row < 16; ++row)
      std::memcpy(tile_[kTile][row].data(), static_cast<const char*>(from) + static_cast<int64_t>(row) * stride, 64);
  }
  template <int kTile>
  void Store(void* to) {
    std::memcpy(to, &tile_[kTile], sizeof(tile_[kTile]));
  }
  template <int kSum, int kSigned, int kUnsigned>
  void Dot() {
    for (size_t m = 0; m < 16; ++m)
      for (size_t n = 0; n < 16; ++n) {
        uint32_t sum = 0;
        std::memcpy(&sum, &tile_[kSum][m][4 * n], sizeof(sum));
        for (size_t j = 0; j < 64; ++j)
          sum += static_cast<uint32_t>(static_cast<int8_t>(tile_[kSigned][m][j]) *
                                       int{tile_[kUnsigned][j / 4][4 * n + j % 4]});
        std::memcpy(&tile_[kSum][m][4 * n], &sum, sizeof(sum));
      }
  }

 private:
  std::array<std::array<std::array<uint8_t, 64>, 16>, 8> tile_ = {};
};

// Panels with codes + 128, as the level has them.
template <quant::Type kType>
void PackLifted(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel) {
  AllKernels()[0]->pack_codes[static_cast<int>(kType)](w, rows, k, panel);
  for (int64_t i = 0; i < (k + kCodeStep - 1) / kCodeStep * kCodeStep * kPanelRows; ++i)
    panel.codes[i] = static_cast<int8_t>(panel.codes[i] ^ 0x80);
}

inline void GemmOnEmulatedTiles(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
                                int64_t y_stride) {
  EmulatedTiles tiles;
  x86::TileProducts(tiles, w, rows, x, tokens, k, y, y_stride);
}

// The scalar table but for what the level has of its own, and the form of its panels.
inline const Kernels& EmulatedAmx() {
  static const Kernels emulated = [] {
    using quant::Type;
    Kernels table = *AllKernels()[0];
    table.name = "emulated_amx";
    table.code_tile_tokens = x86::kTileRows;
    table.pack_code_tile = x86::PackTokenTile;
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
