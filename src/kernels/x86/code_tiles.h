// Code sums on tile registers. Of a product, the signed factor is the codes of 16 tokens, the unsigned one those of 16
// rows of a panel, + 128: the form that a panel has anyway.
#pragma once

#include "kernels/x86/tiles.h"

namespace carat::kernels::x86 {

inline constexpr uint32_t kTileLift = 128;

template <typename Tiles>
[[gnu::always_inline]] inline void CodeProducts(Tiles& tiles, const S8Panel& w, int64_t rows, const CodeTiles& x,
                                                int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  const auto put = [&](const int32_t(&sums)[16][16], int64_t n, int64_t first) __attribute__((always_inline)) {
    for (int64_t t = first; t < tokens && t < first + kTileRows; ++t) {
      const uint32_t lift = kTileLift * static_cast<uint32_t>(x.rows[t].sum);
      float out[16];
      for (int i = 0; i < 16; ++i)
        out[i] = static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(sums[t - first][i]) - lift)) *
                 (x.rows[t].scale * w.scale[n + i]);
      StoreFirst(y + t * y_stride + n, rows - n, out);
    }
  };
  PanelProducts<Product::kCodes, int32_t>(tiles, w.codes, rows, x.codes, tokens, k, put);
}

}  // namespace carat::kernels::x86
