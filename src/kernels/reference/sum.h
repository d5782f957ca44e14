// The fixed orders of summation of kernels.h.
#pragma once

#include <cmath>
#include <cstdint>

namespace carat::kernels::reference {

// Adds the upper half of the lanes to the lower until one is left. `width` is a power of two.
inline float TreeSum(float* lanes, int width) {
  for (int half = width / 2; half >= 1; half /= 2)
    for (int j = 0; j < half; ++j) lanes[j] += lanes[j + half];
  return lanes[0];
}

// Sum of a(i) * b(i), i = 0 .. n-1, in 16 lanes; the tail is padded with zeros.
template <typename A, typename B>
float FloatDot(A a, B b, int64_t n) {
  float lanes[16] = {};
  for (int64_t base = 0; base < n; base += 16)
    for (int j = 0; j < 16; ++j) {
      const bool inside = base + j < n;
      lanes[j] = std::fma(inside ? a(base + j) : 0.0f, inside ? b(base + j) : 0.0f, lanes[j]);
    }
  return TreeSum(lanes, 16);
}

}  // namespace carat::kernels::reference
