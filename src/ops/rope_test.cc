#include "ops/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace carat::ops {
namespace {

TEST(Rope, FrequenciesAreOverTheWholeHead) {
  const RopeFrequencies rope = MakeRopeFrequencies(1e6, 512, 64, 1.0);
  ASSERT_EQ(rope.frequencies.size(), 64u);
  EXPECT_EQ(rope.frequencies[0], 1.0f);
  for (size_t i = 0; i < 64; ++i)
    EXPECT_NEAR(rope.frequencies[i] / std::pow(1e6, -2.0 * static_cast<double>(i) / 512), 1.0, 3e-7);
  EXPECT_NEAR(MakeRopeFrequencies(1e6, 256, 128, 8.0).frequencies[3], std::pow(1e6, -6.0 / 256) / 8, 1e-7);
}

TEST(Rope, RotatesHalvesAndLeavesTheRest) {
  const RopeFrequencies rope = MakeRopeFrequencies(100.0, 8, 2, 1.0);
  RopeTable table;
  table.Fill(rope, 5, 3);  // positions 5, 6, 7
  std::vector<float> x(16);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  std::vector<float> y = x;
  table.Rotate(1, y.data(), 2);
  for (size_t head = 0; head < 2; ++head) {
    for (size_t i = 0; i < 4; ++i) {
      const double angle = i < 2 ? 6.0 * std::pow(100.0, -2.0 * static_cast<double>(i) / 8) : 0.0;
      const double a = x[head * 8 + i], b = x[head * 8 + 4 + i];
      EXPECT_NEAR(y[head * 8 + i], a * std::cos(angle) - b * std::sin(angle), 2e-6);
      EXPECT_NEAR(y[head * 8 + 4 + i], b * std::cos(angle) + a * std::sin(angle), 2e-6);
    }
  }
}

// Two axes: a half of each head turns with the column, the other with the row, as heads of half the size.
TEST(Rope, ARotationMayCoverAPartOfEachHead) {
  const RopeFrequencies rope = MakeRopeFrequencies(100.0, 4, 2, 1.0);
  RopeTable table;
  table.Fill(rope, 0, 10);
  std::vector<float> x(16), part(8);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i + 1);
  for (size_t i = 0; i < part.size(); ++i) part[i] = x[i / 4 * 8 + 4 + i % 4];
  const std::vector<float> before = x;
  table.Rotate(7, x.data() + 4, 2, 8);
  table.Rotate(7, part.data(), 2);
  for (size_t i = 0; i < x.size(); ++i) EXPECT_EQ(x[i], i % 8 < 4 ? before[i] : part[i / 8 * 4 + i % 4]) << i;
}

TEST(Rope, ARowDoesNotDependOnTheBatch) {
  const RopeFrequencies rope = MakeRopeFrequencies(1e4, 16, 8, 1.0);
  RopeTable batch, single;
  batch.Fill(rope, 100000, 32);
  single.Fill(rope, 100017, 1);
  std::vector<float> a(16, 0.5f), b(16, 0.5f);
  batch.Rotate(17, a.data(), 1);
  single.Rotate(0, b.data(), 1);
  EXPECT_EQ(a, b);
}

}  // namespace
}  // namespace carat::ops
