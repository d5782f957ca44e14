// Resizing of pictures: bicubic with antialiasing on 8-bit values, the same bytes as the reference's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ops/context.h"

namespace carat::gemma {

struct ImageSize {
  int64_t width = 0, height = 0;  // pixels
  friend bool operator==(const ImageSize&, const ImageSize&) = default;
};

// 8-bit RGB as decoded (gamma-encoded), [height][width][3]. Owns nothing.
struct ImageView {
  ImageSize size;
  std::span<const uint8_t> rgb;
};

// The longest side of an image here. Scratch memory grows with it; and below 2^24, sums of a pass fit 32 bits.
inline constexpr int64_t kMaxImageSide = int64_t{1} << 18;

// How one axis is resampled: output i is the sum over k of Of(i)[k] * input[first[i] + k], divided by 2^bits, rounded.
struct AxisWeights {
  int bits = 0;
  int64_t taps = 0;  // inputs of an output, at most
  std::vector<int64_t> first;
  std::vector<size_t> begin;  // [outputs + 1]: where the weights of each output begin
  std::vector<int16_t> weights;

  int64_t outputs() const { return static_cast<int64_t>(first.size()); }
  std::span<const int16_t> Of(int64_t i) const {
    const auto output = static_cast<size_t>(i);
    return std::span(weights).subspan(begin[output], begin[output + 1] - begin[output]);
  }
};

// The kernel of Keys with a = -1/2, as wide as four outputs where the axis shrinks; computed in doubles, then in as
// many bits as 16-bit weights allow. An axis that keeps its length has one weight of 1 an output. Both lengths: 1 ..
// kMaxImageSide.
AxisWeights MakeAxisWeights(int64_t inputs, int64_t outputs);

// The picture stretched to `target`, [target.height][target.width][3]: first along rows, rounded to 8 bits, then along
// columns. Scratch memory per thread: 32 rows of the source, and between the passes as many as a column has taps and 31
// more. All sides: 1 .. kMaxImageSide.
std::vector<uint8_t> Resample(const ImageView& source, ImageSize target, const ops::Context& context);

}  // namespace carat::gemma
