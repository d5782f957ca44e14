// Normalisation, activation functions, conversions.
#include <cmath>

#include "base/float16.h"
#include "kernels/exp_constants.h"
#include "kernels/reference/exp.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/sum.h"

namespace carat::kernels::reference {
namespace {

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

float NormScale(const float* x, float eps, int64_t n) {
  const auto element = [x](int64_t i) { return x[i]; };
  return 1.0f / std::sqrt(FloatDot(element, element, n) / static_cast<float>(n) + eps);
}

}  // namespace

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  const float scale = NormScale(x, eps, n);
  for (int64_t i = 0; i < n; ++i) y[i] = weight != nullptr ? x[i] * scale * weight[i] : x[i] * scale;
}

void AddRmsNorm(const float* delta, const float* weight, float eps, int64_t n, float* x) {
  const float scale = NormScale(delta, eps, n);
  for (int64_t i = 0; i < n; ++i) x[i] += delta[i] * scale * weight[i];
}

void GeluMul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; ++i) out[i] = Gelu(gate[i]) * up[i];
}

void SoftCap(float* x, int64_t n, float cap) {
  for (int64_t i = 0; i < n; ++i) x[i] = cap * Tanh(x[i] / cap);
}

void ToF16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = FloatToF16(x[i]);
}

}  // namespace carat::kernels::reference
