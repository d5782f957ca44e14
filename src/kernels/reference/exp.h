// The exponential function that softmax, gelu and tanh share.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/exp_constants.h"

namespace carat::kernels::reference {

// e^x by kernels/exp_constants.h: 0 below -87, infinity above 88, NaN for NaN.
inline float Exp(float x) {
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

}  // namespace carat::kernels::reference
