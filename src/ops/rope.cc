#include "ops/rope.h"

#include <cmath>

namespace carat::ops {

RopeFrequencies MakeRopeFrequencies(double theta, int64_t head_dim, int64_t rotated_pairs, double factor) {
  RopeFrequencies rope{.head_dim = head_dim, .frequencies = {}};
  for (int64_t i = 0; i < rotated_pairs; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    const float frequency = 1.0f / std::pow(static_cast<float>(theta), exponent);
    rope.frequencies.push_back(frequency / static_cast<float>(factor));
  }
  return rope;
}

void RopeTable::Reserve(const RopeFrequencies& rope, int64_t count) {
  cos_.Reserve(rope.frequencies.size() * static_cast<size_t>(count));
  sin_.Reserve(rope.frequencies.size() * static_cast<size_t>(count));
}

void RopeTable::Fill(const RopeFrequencies& rope, int64_t first, int64_t count) {
  Reserve(rope, count);
  head_dim_ = rope.head_dim;
  pairs_ = static_cast<int64_t>(rope.frequencies.size());
  for (int64_t row = 0; row < count; ++row) {
    for (int64_t i = 0; i < pairs_; ++i) {
      // The reference forms the angle in single precision; far out, its rounding is part of the result.
      const float angle = static_cast<float>(first + row) * rope.frequencies[static_cast<size_t>(i)];
      cos_.data()[row * pairs_ + i] = static_cast<float>(std::cos(static_cast<double>(angle)));
      sin_.data()[row * pairs_ + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  }
}

void RopeTable::Rotate(int64_t row, float* x, int64_t heads, int64_t stride) const {
  const float* cos = cos_.data() + row * pairs_;
  const float* sin = sin_.data() + row * pairs_;
  for (int64_t head = 0; head < heads; ++head) {
    float* lower = x + head * stride;
    float* upper = lower + head_dim_ / 2;
    for (int64_t i = 0; i < pairs_; ++i) {
      const float a = lower[i], b = upper[i];
      lower[i] = a * cos[i] - b * sin[i];
      upper[i] = b * cos[i] + a * sin[i];
    }
  }
}

}  // namespace carat::ops
