#include "gemma/resample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "base/check.h"

namespace carat::gemma {

namespace {

constexpr int64_t kChannels = 3;
// Sums that are computed at a time: of rows in the first pass, of neighbours in a row in the second.
constexpr int64_t kLanes = 32;
// Bands of output rows per thread, so that threads end at about the same time. Each band begins with rows that the one
// above it has made, too: about four output rows' worth.
constexpr int64_t kBandsPerThread = 4;
// Rows of the source that all bands unpack at a time.
constexpr int64_t kMostTileBytes = 8 << 20;

double Kernel(double t) {
  t = std::abs(t);
  if (t < 1) return (1.5 * t - 2.5) * t * t + 1;
  if (t < 2) return ((-0.5 * t + 2.5) * t - 4) * t + 2;
  return 0;
}

// The weights of output i of an axis before rounding. Returns the input that the first belongs to.
int64_t ExactWeights(int64_t inputs, int64_t outputs, int64_t i, std::vector<double>& weights) {
  if (inputs == outputs) {  // the kernel is 1 at 0 and 0 at all other whole numbers
    weights = {1.0};
    return i;
  }
  const double step = static_cast<double>(inputs) / static_cast<double>(outputs);
  const double stretch = std::max(step, 1.0), inverse = 1 / stretch, radius = 2 * stretch;
  const double center = (static_cast<double>(i) + 0.5) * step;
  const auto first = std::max<int64_t>(0, static_cast<int64_t>(center - radius + 0.5));
  const auto end = std::min(inputs, static_cast<int64_t>(center + radius + 0.5));
  double sum = 0;
  weights.clear();
  for (int64_t input = first; input < end; ++input) {
    weights.push_back(Kernel((static_cast<double>(input) - center + 0.5) * inverse));
    sum += weights.back();
  }
  for (double& weight : weights) weight /= sum;
  return first;
}

// So many bits that the largest weight fits 16.
int FractionBits(double largest) {
  int bits = 0;
  while (bits < 22 && static_cast<int64_t>(0.5 + std::ldexp(largest, bits + 1)) < 1 << 15) ++bits;
  return bits;
}

uint8_t Rounded(int32_t sum, int bits) { return static_cast<uint8_t>(std::clamp(sum >> bits, 0, 255)); }

// kLanes rows of the source from `first` on, woven together: value v of row first + i goes to tile[v * kLanes + i].
// Behind the last row comes the last again.
void Weave(const ImageView& source, int64_t first, uint8_t* tile) {
  constexpr int64_t kAtOnce = 8;  // as many pointers as registers hold
  const int64_t values = source.size.width * kChannels;
  for (int64_t begin = 0; begin < kLanes; begin += kAtOnce) {
    const uint8_t* rows[kAtOnce];
    for (int64_t i = 0; i < kAtOnce; ++i)
      rows[i] = source.rgb.data() + std::min(first + begin + i, source.size.height - 1) * values;
    for (int64_t v = 0; v < values; ++v)
      for (int64_t i = 0; i < kAtOnce; ++i) tile[v * kLanes + begin + i] = rows[i][v];
  }
}

// The first pass of kLanes rows, each to its place in `out`.
void ResampleAcross(const AxisWeights& axis, const uint8_t* tile, const std::array<uint8_t*, kLanes>& out) {
  for (int64_t x = 0; x < axis.outputs(); ++x)
    for (int64_t channel = 0; channel < kChannels; ++channel) {
      const uint8_t* column = tile + (axis.first[static_cast<size_t>(x)] * kChannels + channel) * kLanes;
      int32_t sum[kLanes];
      std::fill_n(sum, kLanes, 1 << (axis.bits - 1));
      for (const int16_t weight : axis.Of(x)) {
        for (int64_t i = 0; i < kLanes; ++i) sum[i] += weight * column[i];
        column += kChannels * kLanes;
      }
      for (int64_t i = 0; i < kLanes; ++i)
        out[static_cast<size_t>(i)][x * kChannels + channel] = Rounded(sum[i], axis.bits);
    }
}

// Row y of the second pass, of `values` bytes. `rows` are those that it mixes, each padded to a multiple of kLanes.
void ResampleDown(const AxisWeights& axis, int64_t y, const std::vector<const uint8_t*>& rows, int64_t values,
                  uint8_t* out) {
  const std::span<const int16_t> weights = axis.Of(y);
  for (int64_t begin = 0; begin < values; begin += kLanes) {
    int32_t sum[kLanes];
    std::fill_n(sum, kLanes, 1 << (axis.bits - 1));
    for (size_t k = 0; k < rows.size(); ++k) {
      const uint8_t* row = rows[k] + begin;
      const int16_t weight = weights[k];
      for (int64_t i = 0; i < kLanes; ++i) sum[i] += weight * row[i];
    }
    uint8_t mixed[kLanes];
    for (int64_t i = 0; i < kLanes; ++i) mixed[i] = Rounded(sum[i], axis.bits);
    std::memcpy(out + begin, mixed, static_cast<size_t>(std::min(kLanes, values - begin)));
  }
}

// Output rows begin .. end-1, to `out`. The rows between the passes are made kLanes at a time and live in a ring: row r
// in slot r % slots.
void ResampleBand(const ImageView& source, const AxisWeights& across, const AxisWeights& down, int64_t begin,
                  int64_t end, uint8_t* out) {
  const int64_t values = across.outputs() * kChannels;
  const int64_t stride = (values + kLanes - 1) / kLanes * kLanes, slots = down.taps + kLanes - 1;
  std::vector<uint8_t> tile(static_cast<size_t>(source.size.width * kChannels * kLanes));
  std::vector<uint8_t> ring(static_cast<size_t>(slots * stride));
  const auto slot = [&](int64_t row) { return ring.data() + row % slots * stride; };
  std::vector<const uint8_t*> rows;
  int64_t made = down.first[static_cast<size_t>(begin)];  // the next row to make
  for (int64_t y = begin; y < end; ++y, out += values) {
    const int64_t first = down.first[static_cast<size_t>(y)];
    const int64_t stop = first + static_cast<int64_t>(down.Of(y).size());
    for (; made < stop; made += kLanes) {
      Weave(source, made, tile.data());
      std::array<uint8_t*, kLanes> slots_of_rows{};
      for (int64_t i = 0; i < kLanes; ++i) slots_of_rows[static_cast<size_t>(i)] = slot(made + i);
      ResampleAcross(across, tile.data(), slots_of_rows);
    }
    rows.clear();
    for (int64_t row = first; row < stop; ++row) rows.push_back(slot(row));
    ResampleDown(down, y, rows, values, out);
  }
}

}  // namespace

AxisWeights MakeAxisWeights(int64_t inputs, int64_t outputs) {
  CHECK(std::min(inputs, outputs) >= 1 && std::max(inputs, outputs) <= kMaxImageSide);
  std::vector<double> exact;
  double largest = 0;
  for (int64_t i = 0; i < outputs; ++i) {
    ExactWeights(inputs, outputs, i, exact);
    largest = std::max(largest, std::ranges::max(exact));
  }
  AxisWeights axis = {.bits = FractionBits(largest), .taps = 0, .first = {}, .begin = {0}, .weights = {}};
  for (int64_t i = 0; i < outputs; ++i) {
    axis.first.push_back(ExactWeights(inputs, outputs, i, exact));
    axis.taps = std::max(axis.taps, static_cast<int64_t>(exact.size()));
    for (const double weight : exact) {
      const double scaled = std::ldexp(weight, axis.bits);
      axis.weights.push_back(static_cast<int16_t>(scaled + (scaled < 0 ? -0.5 : 0.5)));
    }
    axis.begin.push_back(axis.weights.size());
  }
  return axis;
}

std::vector<uint8_t> Resample(const ImageView& source, ImageSize target, const ops::Context& context) {
  CHECK(static_cast<int64_t>(source.rgb.size()) == source.size.width * source.size.height * kChannels);
  const AxisWeights across = MakeAxisWeights(source.size.width, target.width);
  const AxisWeights down = MakeAxisWeights(source.size.height, target.height);
  std::vector<uint8_t> out(static_cast<size_t>(target.width * target.height * kChannels));
  const int64_t threads = context.pool->size();
  // Of a picture that is very wide the rows at work are large: fewer at a time.
  const int64_t fitting = std::max<int64_t>(1, kMostTileBytes / (source.size.width * kChannels * kLanes));
  const int64_t bands = threads == 1 ? 1 : std::min({threads * kBandsPerThread, target.height, fitting});
  context.pool->ParallelFor(bands, [&](int64_t band, int) {
    const int64_t begin = band * target.height / bands, end = (band + 1) * target.height / bands;
    ResampleBand(source, across, down, begin, end, out.data() + begin * target.width * kChannels);
  });
  return out;
}

}  // namespace carat::gemma
