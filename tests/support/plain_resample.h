// The resampler once more, as plainly as its definition: whole pictures, one pass after the other, 64-bit sums.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "gemma/resample.h"

namespace carat::testing_support {

// One axis: [outer][inputs][inner] to [outer][outputs][inner].
inline std::vector<uint8_t> PlainPass(const std::vector<uint8_t>& in, int64_t inputs, int64_t outputs, int64_t outer,
                                      int64_t inner) {
  struct Window {
    int64_t first;
    std::vector<double> weights;
  };
  const double s = static_cast<double>(inputs) / static_cast<double>(outputs), g = std::max(s, 1.0);
  std::vector<Window> windows;
  double largest = 0;
  for (int64_t i = 0; i < outputs; ++i) {
    const double c = (static_cast<double>(i) + 0.5) * s;
    const auto low = static_cast<int64_t>(std::max(0.0, std::trunc(c - 2 * g + 0.5)));
    const auto high = static_cast<int64_t>(std::min(static_cast<double>(inputs), std::trunc(c + 2 * g + 0.5)));
    Window window = {low, {}};
    double sum = 0;
    for (int64_t k = low; k < high; ++k) {
      const double t = std::abs((static_cast<double>(k) - c + 0.5) * (1 / g));
      double weight = 0;
      if (t < 1)
        weight = (1.5 * t - 2.5) * t * t + 1;
      else if (t < 2)
        weight = ((-0.5 * t + 2.5) * t - 4) * t + 2;
      window.weights.push_back(weight);
      sum += weight;
    }
    for (double& weight : window.weights) largest = std::max(largest, weight /= sum);
    windows.push_back(window);
  }
  int bits = 0;  // so many that the largest weight fits 16
  while (bits < 22 && std::trunc(0.5 + largest * std::pow(2.0, bits + 1)) < 32768) ++bits;
  for (Window& window : windows)
    for (double& weight : window.weights) {
      weight *= std::pow(2.0, bits);
      weight = std::trunc(weight + std::copysign(0.5, weight));
    }
  std::vector<uint8_t> out(static_cast<size_t>(outer * outputs * inner));
  for (int64_t a = 0; a < outer; ++a)
    for (int64_t i = 0; i < outputs; ++i)
      for (int64_t b = 0; b < inner; ++b) {
        const Window& window = windows[static_cast<size_t>(i)];
        int64_t sum = int64_t{1} << (bits - 1), at = window.first;
        for (const double weight : window.weights)
          sum += static_cast<int64_t>(weight) * in[static_cast<size_t>((a * inputs + at++) * inner + b)];
        out[static_cast<size_t>((a * outputs + i) * inner + b)] =
            static_cast<uint8_t>(std::clamp<int64_t>(sum >> bits, 0, 255));
      }
  return out;
}

inline std::vector<uint8_t> PlainResample(const gemma::ImageView& source, gemma::ImageSize target) {
  std::vector<uint8_t> rgb(source.rgb.begin(), source.rgb.end());
  if (source.size.width != target.width) rgb = PlainPass(rgb, source.size.width, target.width, source.size.height, 3);
  if (source.size.height != target.height) rgb = PlainPass(rgb, source.size.height, target.height, 1, target.width * 3);
  return rgb;
}

}  // namespace carat::testing_support
