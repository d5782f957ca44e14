// Products of weights and activations.
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/reference/reference.h"
#include "kernels/reference/sum.h"

namespace carat::kernels::reference {

void QuantizeA8(const float* x, int64_t k, A8Row dst) {
  for (int64_t block = 0; block < k / 32; ++block, x += 32) {
    // As integers, magnitudes order as the floats do, and what is not finite comes out largest.
    uint32_t largest_bits = 0;
    for (int i = 0; i < 32; ++i) {
      const uint32_t bits = std::bit_cast<uint32_t>(x[i]) & 0x7fffffffu;
      largest_bits = std::max(largest_bits, bits);
    }
    const float largest = std::bit_cast<float>(largest_bits);
    const bool finite = largest_bits < 0x7f800000u;
    const bool zero = largest < kA8Smallest;
    const float inverse = finite && !zero ? 127.0f / largest : 0.0f;
    dst.scale[block] = !finite ? std::bit_cast<float>(0x7fc00000u) : zero ? 0.0f : largest / 127.0f;
    dst.lift32[block] = 0;
    for (int half = 0; half < 2; ++half) {
      int sum = 0;
      for (int i = 16 * half; i < 16 * half + 16; ++i) {
        // Adding and taking away 1.5 * 2^23 rounds to an integer, halves to even.
        const float rounded = finite ? (x[i] * inverse + 0x1.8p23f) - 0x1.8p23f : 0.0f;
        const int code = static_cast<int>(rounded);
        dst.codes[32 * block + i] = static_cast<int8_t>(code);
        dst.dealt[block / 4 * 128 + half * 64 + block % 4 * 16 + i % 16] = static_cast<int8_t>(code);
        sum += code;
      }
      dst.lift16[2 * block + half] = -128 * sum;
      dst.lift32[block] += -128 * sum;
    }
  }
}

void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t n = 0; n < rows; ++n)
      y[t * y_stride + n] = FloatDot([row = w + n * w_stride](int64_t i) { return row[i]; },
                                     [row = x + t * x_stride](int64_t i) { return row[i]; }, k);
}

void PackPanel(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel) {
  const int64_t groups = k / panel.group;
  for (int64_t r = 0; r < kPanelRows; ++r) {
    const bool inside = r < rows;
    for (int64_t i = 0; i < k; ++i)
      panel.codes[(i / 4 * kPanelRows + r) * 4 + i % 4] = inside ? w.codes[r * k + i] : int8_t{0};
    for (int64_t g = 0; g < groups; ++g) {
      panel.scale[g * kPanelRows + r] = inside ? w.scale[r * groups + g] : 0.0f;
      if (panel.offset != nullptr) panel.offset[g * kPanelRows + r] = inside ? w.offset[r * groups + g] : 0.0f;
    }
  }
}

void PackTile(const A8Row& x, int64_t tokens, int64_t k, A8Block* tile) {
  for (int64_t block = 0; block < k / 32; ++block) {
    A8Block& to = tile[block];
    if (tokens < kTileTokens) to = {};
    for (int64_t t = 0; t < tokens; ++t) {
      const int64_t from = t * (k / 32) + block;
      for (int i = 0; i < 8; ++i) std::memcpy(to.codes[i][t], x.codes + 32 * from + 4 * i, 4);
      to.scale[t] = x.scale[from];
      to.lift32[t] = x.lift32[from];
      for (int half = 0; half < 2; ++half) to.lift16[half][t] = x.lift16[2 * from + half];
    }
  }
}

namespace {

// Row r of a panel and token t of a tile.
float BlockDot(const S8Panel& w, int64_t r, const A8Block* tile, int64_t t, int64_t k) {
  float lanes[8] = {};
  for (int64_t g = 0; g < k / w.group; ++g) {
    const A8Block& x = tile[g * w.group / 32];
    int products = 0, sum = 0;
    for (int64_t i = g * w.group; i < (g + 1) * w.group; ++i) {
      const int code = x.codes[i % 32 / 4][t][i % 4];
      products += w.codes[(i / 4 * kPanelRows + r) * 4 + i % 4] * code;
      sum += code;
    }
    float& lane = lanes[g * w.group / 32 % 8];
    lane = std::fma(static_cast<float>(products), w.scale[g * kPanelRows + r] * x.scale[t], lane);
    if (w.offset != nullptr) lane = std::fma(w.offset[g * kPanelRows + r], x.scale[t] * static_cast<float>(sum), lane);
  }
  return TreeSum(lanes, 8);
}

}  // namespace

void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t n = 0; n < rows; ++n)
      y[t * y_stride + n] = BlockDot(w, n, tiles + t / kTileTokens * (k / 32), t % kTileTokens, k);
}

}  // namespace carat::kernels::reference
