// Products of blocks in bfloat16.
#include <cmath>
#include <cstring>

#include "base/float16.h"
#include "kernels/reference/reference.h"

namespace carat::kernels::reference {

namespace {

constexpr int64_t kColumns = 32;

float Flush(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
float Widen(uint16_t x) { return Flush(Bf16ToFloat(x)); }
uint16_t Round(float x) { return FloatToBf16(Flush(x)); }

// w(i) and x(i): column i.
template <typename W, typename X>
float TileDot(W w, X x, int64_t k) {
  float sum = 0;
  for (int64_t first = 0; first < k; first += kColumns) {
    float half[2] = {};
    for (int64_t i = first; i < first + kColumns; ++i)
      half[i % 2] = Flush(std::fma(Widen(w(i)), Widen(x(i)), half[i % 2]));
    sum = Flush(sum + Flush(half[0] + half[1]));
  }
  return sum;
}

void RoundRow(const float* x, int64_t k, uint16_t* y) {
  for (int64_t i = 0; i < k; ++i) y[i] = Round(x[i]);
}

void WidenRow(const S8Row& w, int64_t group, int64_t k, uint16_t* y) {
  for (int64_t i = 0; i < k; ++i) {
    const float scale = w.scale[i / group], code = w.codes[i];
    y[i] = Round(w.offset == nullptr ? scale * code : std::fma(scale, code, w.offset[i / group]));
  }
}

void Gemv(const uint16_t* w, int64_t rows, const uint16_t* x, int64_t k, float* y) {
  for (int64_t n = 0; n < rows; ++n)
    y[n] = TileDot([row = w + n * k](int64_t i) { return row[i]; }, [x](int64_t i) { return x[i]; }, k);
}

void PackPanel(const uint16_t* w, int64_t rows, int64_t k, uint16_t* panel) {
  for (int64_t r = 0; r < kPanelRows; ++r)
    for (int64_t i = 0; i < k; ++i) panel[(i / 2 * kPanelRows + r) * 2 + i % 2] = r < rows ? w[r * k + i] : uint16_t{0};
}

void PackTile(const uint16_t* x, int64_t tokens, int64_t k, uint16_t* tile) {
  for (int64_t first = 0; first < k; first += kColumns)
    for (int64_t t = 0; t < kBf16TileTokens; ++t, tile += kColumns)
      for (int64_t i = 0; i < kColumns; ++i) tile[i] = t < tokens ? x[t * k + first + i] : uint16_t{0};
}

void Gemm(const uint16_t* panel, int64_t rows, const uint16_t* tiles, int64_t tokens, int64_t k, float* y,
          int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t)
    for (int64_t n = 0; n < rows; ++n) {
      const uint16_t* token = tiles + t / kBf16TileTokens * kBf16TileTokens * k + t % kBf16TileTokens * kColumns;
      y[t * y_stride + n] =
          TileDot([&](int64_t i) { return panel[(i / 2 * kPanelRows + n) * 2 + i % 2]; },
                  [&](int64_t i) { return token[i / kColumns * kBf16TileTokens * kColumns + i % kColumns]; }, k);
    }
}

}  // namespace

const Bf16Products kBf16 = {.round = RoundRow,
                            .widen = WidenRow,
                            .gemv = Gemv,
                            .pack_panel = PackPanel,
                            .pack_tile = PackTile,
                            .gemm = Gemm,
                            .gemv_interleaved = {},
                            .panel_interleaved = {},
                            .peak = nullptr};

}  // namespace carat::kernels::reference
