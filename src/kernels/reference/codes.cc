// The code formats, static rounding, and the exact products of both.
#include "quant/codes.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/reference.h"

namespace carat::kernels::reference {
namespace {

using quant::Type;

// Code k of a row.
template <int kBits>
int Code(const std::byte* packed, int64_t k) {
  if (kBits == 8) return static_cast<int8_t>(packed[k]);
  const int64_t bit = k * kBits;
  const int field = (std::to_integer<int>(packed[bit / 8]) >> (bit % 8)) & ((1 << kBits) - 1);
  return field - (1 << (kBits - 1));
}

// The code as a float: a NaN stays one, and zero keeps its sign.
float RoundToCode(float x, float scale) {
  const float rounded = std::nearbyint(x / scale);
  return rounded < -128.0f ? -128.0f : rounded > 127.0f ? 127.0f : rounded;
}

}  // namespace

template <Type kType>
void UnpackCodes(const std::byte* packed, int64_t n, int8_t* codes) {
  for (int64_t k = 0; k < n; ++k) codes[k] = static_cast<int8_t>(Code<quant::CodeBits(kType)>(packed, k));
}

void ScaleCodes(const int8_t* codes, float scale, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = static_cast<float>(codes[i]) * scale;
}

StaticRow QuantizeStatic(const float* x, int64_t n, float scale, int8_t* codes) {
  bool nan = false;
  int32_t sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float code = RoundToCode(x[i], scale);
    nan = nan || code != code;
    codes[i] = code != code ? int8_t{0} : static_cast<int8_t>(code);
    sum += codes[i];
  }
  return {.scale = nan ? std::numeric_limits<float>::quiet_NaN() : scale, .sum = sum};
}

StaticRow QuantizeDynamic(const float* x, int64_t n, int8_t* codes) {
  float largest = kA8Smallest;
  for (int64_t i = 0; i < n; ++i) largest = std::fabs(x[i]) > largest ? std::fabs(x[i]) : largest;
  return QuantizeStatic(x, n, largest / 127.0f, codes);
}

void RoundStatic(float* x, int64_t n, float scale) {
  for (int64_t i = 0; i < n; ++i) x[i] = RoundToCode(x[i], scale) * scale;
}

void DealCodes(const int8_t* codes, int64_t n, int planes, int64_t plane, int8_t* out) {
  for (int64_t i = 0; i < planes * plane; ++i) {
    const int64_t k = i % plane * planes + i / plane;
    out[i] = k < n ? codes[k] : int8_t{0};
  }
}

void PackCodeTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile) {
  for (int64_t i = 0; i < k; i += 4)
    for (int64_t t = 0; t < kTileTokens; ++t, tile += 4)
      if (t < tokens)
        std::memcpy(tile, codes + t * k + i, 4);
      else
        std::memset(tile, 0, 4);
}

template <Type kType>
void PackCodes(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel) {
  for (int64_t r = 0; r < kPanelRows; ++r) {
    const bool inside = r < rows;
    panel.scale[r] = inside ? w.scale[r] : 0.0f;
    for (int64_t i = 0; i < (k + kCodeStep - 1) / kCodeStep * kCodeStep; ++i)
      panel.codes[(i / 4 * kPanelRows + r) * 4 + i % 4] =
          inside && i < k ? static_cast<int8_t>(Code<quant::CodeBits(kType)>(w.packed + r * w.row_bytes, i))
                          : int8_t{0};
  }
}

template <Type kType>
void GemvCodes(const CodeRows& w, int64_t rows, const PlaneRow& x, int64_t k, float* y) {
  constexpr int kBits = quant::CodeBits(kType), kPlanes = 8 / kBits;
  for (int64_t n = 0; n < rows; ++n) {
    const std::byte* row = w.packed + n * w.row_bytes;
    int32_t sum = 0;
    for (int64_t i = 0; i < k; ++i) sum += Code<kBits>(row, i) * x.codes[i % kPlanes * x.plane + i / kPlanes];
    y[n] = static_cast<float>(sum) * (x.row.scale * w.scale[n]);
  }
}

void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  for (int64_t t = 0; t < tokens; ++t) {
    const int8_t* token = x.codes + t / kTileTokens * kTileTokens * k + t % kTileTokens * 4;
    for (int64_t n = 0; n < rows; ++n) {
      int32_t sum = 0;
      for (int64_t i = 0; i < k; ++i)
        sum += w.codes[(i / 4 * kPanelRows + n) * 4 + i % 4] * token[i / 4 * kTileTokens * 4 + i % 4];
      y[t * y_stride + n] = static_cast<float>(sum) * (x.rows[t].scale * w.scale[n]);
    }
  }
}

template void UnpackCodes<Type::kC8>(const std::byte*, int64_t, int8_t*);
template void UnpackCodes<Type::kC4>(const std::byte*, int64_t, int8_t*);
template void UnpackCodes<Type::kC2>(const std::byte*, int64_t, int8_t*);
template void PackCodes<Type::kC8>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void GemvCodes<Type::kC8>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);
template void PackCodes<Type::kC4>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void GemvCodes<Type::kC4>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);
template void PackCodes<Type::kC2>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void GemvCodes<Type::kC2>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);

}  // namespace carat::kernels::reference
