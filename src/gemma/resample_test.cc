#include "gemma/resample.h"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

#include "base/thread_pool.h"
#include "tests/support/plain_resample.h"

namespace carat::gemma {
namespace {

std::vector<uint8_t> Noise(ImageSize size) {
  std::mt19937 random(static_cast<unsigned>(size.width * 31 + size.height));
  std::vector<uint8_t> rgb(static_cast<size_t>(size.width * size.height * 3));
  // Much black and white, so that overshoots are clamped.
  for (uint8_t& value : rgb)
    value = static_cast<uint8_t>(std::clamp<int>(static_cast<int>(random() % 512) - 128, 0, 255));
  return rgb;
}

std::vector<uint8_t> Resampled(const std::vector<uint8_t>& rgb, ImageSize from, ImageSize to, int threads = 1) {
  ThreadPool pool(threads);
  return Resample({from, rgb}, to, {.pool = &pool});
}

TEST(Resample, WeightsFillSixteenBits) {
  const AxisWeights same = MakeAxisWeights(7, 7);
  EXPECT_EQ(same.bits, 14);
  EXPECT_EQ(same.taps, 1);
  EXPECT_EQ(same.weights, std::vector<int16_t>(7, 1 << 14));

  const AxisWeights one = MakeAxisWeights(1, 3);  // all see the one there is
  EXPECT_EQ(one.weights, std::vector<int16_t>(3, 1 << 14));
  EXPECT_EQ(one.first, std::vector<int64_t>(3, 0));

  // Halved: eight taps, whose kernel is -6, -18, 58, 222, 222, 58, -18, -6 in units of 1/256, and 2 in all.
  const AxisWeights half = MakeAxisWeights(16, 8);
  EXPECT_EQ(half.bits, 16);
  EXPECT_EQ(half.taps, 8);
  EXPECT_EQ(half.first, (std::vector<int64_t>{0, 0, 1, 3, 5, 7, 9, 11}));
  const std::span<const int16_t> middle = half.Of(3);
  EXPECT_EQ(std::vector<int16_t>(middle.begin(), middle.end()),
            (std::vector<int16_t>{-768, -2304, 7424, 28416, 28416, 7424, -2304, -768}));
}

TEST(Resample, EveryOutputSumsToOne) {
  for (const auto& [inputs, outputs] : std::vector<std::pair<int64_t, int64_t>>{
           {1, 1}, {1, 9}, {2, 3}, {3, 2}, {640, 432}, {640, 1824}, {30000, 48}, {48, 30000}, {kMaxImageSide, 48}}) {
    const AxisWeights axis = MakeAxisWeights(inputs, outputs);
    ASSERT_EQ(axis.outputs(), outputs);
    for (int64_t i = 0; i < outputs; ++i) {
      const std::span<const int16_t> weights = axis.Of(i);
      const int64_t first = axis.first[static_cast<size_t>(i)], count = static_cast<int64_t>(weights.size());
      ASSERT_GE(first, 0);
      ASSERT_GE(count, 1);
      ASSERT_LE(count, axis.taps);
      ASSERT_LE(first + count, inputs);
      const int64_t sum = std::accumulate(weights.begin(), weights.end(), int64_t{0});
      ASSERT_NEAR(static_cast<double>(sum), 1 << axis.bits, static_cast<double>(count) / 2) << inputs << " " << outputs;
    }
  }
}

TEST(Resample, KeepsWhatNeedsNoChange) {
  const ImageSize size = {37, 23};
  const std::vector<uint8_t> rgb = Noise(size);
  EXPECT_EQ(Resampled(rgb, size, size), rgb);
  const std::vector<uint8_t> grey(static_cast<size_t>(5 * 4 * 3), 137);
  for (const ImageSize target : {ImageSize{48, 48}, {5, 48}, {2, 4}, {1, 1}, {480, 48}})
    EXPECT_EQ(Resampled(grey, {5, 4}, target),
              std::vector<uint8_t>(static_cast<size_t>(target.width * target.height * 3), 137));
}

TEST(Resample, MakesTheBytesOfThePlainOne) {
  const ImageSize sizes[] = {{1, 1},   {2, 3},    {3, 2},     {1, 30000}, {30000, 1}, {7, 7},
                             {61, 45}, {100, 33}, {333, 251}, {640, 10},  {11, 500},  {128, 96}};
  const ImageSize targets[] = {{48, 48}, {96, 48}, {48, 336}, {128, 96}, {1, 1}, {33, 7}};
  for (const ImageSize from : sizes) {
    const std::vector<uint8_t> rgb = Noise(from);
    for (const ImageSize to : targets) {
      SCOPED_TRACE(::testing::Message() << from.width << " x " << from.height << " to " << to.width << " x "
                                        << to.height);
      const std::vector<uint8_t> plain = testing_support::PlainResample({from, rgb}, to);
      ASSERT_EQ(Resampled(rgb, from, to), plain);
      ASSERT_EQ(Resampled(rgb, from, to, 3), plain);
    }
  }
}

// Rows first: columns first would give other bytes here.
TEST(Resample, RoundsBetweenThePasses) {
  const ImageSize from = {40, 9}, to = {12, 48};
  const std::vector<uint8_t> rgb = Noise(from);
  const std::vector<uint8_t> down = testing_support::PlainPass(rgb, from.height, to.height, 1, from.width * 3);
  EXPECT_NE(Resampled(rgb, from, to), testing_support::PlainPass(down, from.width, to.width, to.height, 3));
}

}  // namespace
}  // namespace carat::gemma
