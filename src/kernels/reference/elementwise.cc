// Normalisation, activation functions, conversions.
#include <cmath>

#include "base/float16.h"
#include "kernels/exp_constants.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/sum.h"

namespace carat::kernels::reference {
namespace {

// e^x by kernels/exp_constants.h: 0 below -87, infinity above 88, NaN for NaN.
float Exp(float x) {
  if (x < kExpLowest) return 0.0f;
  if (x > kExpHighest) return std::bit_cast<float>(kInfinityBits);
  const float shifted = std::fma(x, kLog2E, kRoundShift);  // low bits: n = round(x / ln 2)
  const float n = shifted - kRoundShift;
  const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
  float p = kExpPoly[0];
  for (int i = 1; i < 6; ++i) p = std::fma(p, r, kExpPoly[i]);
  p = std::fma(p, r * r, r) + 1.0f;
  const uint32_t power = (std::bit_cast<uint32_t>(shifted) + 127u) << 23;  // 2^n: the shift drops the rest
  return p * std::bit_cast<float>(power);
}

float Tanh(float x) {
  const float magnitude = std::fabs(x);
  if (magnitude < kTanhSmall) {
    const float square = x * x;
    float p = kTanhPoly[0];
    for (int i = 1; i < 5; ++i) p = std::fma(p, square, kTanhPoly[i]);
    return std::fma(p * square, x, x);
  }
  return std::copysign(1.0f - 2.0f / (Exp(2.0f * magnitude) + 1.0f), x);
}

float Gelu(float z) {
  const float minus_2u = kGeluMinus2 * (z * std::fma(kGeluCubic, z * z, 1.0f));
  return z / (1.0f + Exp(minus_2u));
}

}  // namespace

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  const auto element = [x](int64_t i) { return x[i]; };
  const float scale = 1.0f / std::sqrt(FloatDot(element, element, n) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = weight != nullptr ? x[i] * scale * weight[i] : x[i] * scale;
}

void GeluMul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = Gelu(gate[i]) * up[i];
}

void SoftCap(float* x, int64_t n, float cap) {
  for (int64_t i = 0; i < n; ++i) x[i] = cap * Tanh(x[i] / cap);
}

void Softmax(float* x, int64_t n) {
  float largest = x[0];
  for (int64_t i = 1; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  float lanes[16] = {};
  for (int64_t i = 0; i < n; ++i) {
    x[i] = Exp(x[i] - largest);
    lanes[i % 16] += x[i];
  }
  const float sum = TreeSum(lanes, 16);
  for (int64_t i = 0; i < n; ++i) x[i] /= sum;
}

void ToF16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = FloatToF16(x[i]);
}

}  // namespace carat::kernels::reference
