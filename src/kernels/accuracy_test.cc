// How close every table's float kernels come to the formula in double.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <random>
#include <vector>

#include "base/float16.h"
#include "kernels/expect.h"
#include "kernels/kernels.h"
#include "kernels/testing.h"

namespace carat::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class AccuracyTest : public ::testing::TestWithParam<const Kernels*> {};

// From -limit to limit, denser near zero.
std::vector<float> Sweep(float limit) {
  std::vector<float> x;
  for (int i = -20000; i <= 20000; ++i) {
    const float part = static_cast<float>(i) / 20000.0f;
    x.push_back(limit * part * std::fabs(part));
  }
  return x;
}

TEST_P(AccuracyTest, Gelu) {
  const std::vector<float> x = Sweep(30.0f), ones(x.size(), 1.0f);
  std::vector<float> y(x.size());
  GetParam()->gelu_mul(x.data(), ones.data(), static_cast<int64_t>(x.size()), y.data());
  for (size_t i = 0; i < x.size(); ++i) {
    const double z = x[i], u = std::sqrt(2.0 / std::numbers::pi) * (z + 0.044715 * z * z * z);
    const double expected = 0.5 * z * (1.0 + std::tanh(u));
    ASSERT_NEAR(y[i], expected, 2e-7 * std::fabs(z)) << z;  // what torch's float32 form keeps
    // ... and the small results themselves
    if (z > -3.0) {
      ASSERT_NEAR(y[i], expected, 1.5e-6 * std::fabs(expected)) << z;
    }
  }
}

TEST_P(AccuracyTest, GeluAtTheEnds) {
  const std::vector<float> x = {1e38f, -1e38f, 0.0f, kInfinity, kNan, 1e-40f, -60.0f}, ones(x.size(), 1.0f);
  std::vector<float> y(x.size());
  GetParam()->gelu_mul(x.data(), ones.data(), static_cast<int64_t>(x.size()), y.data());
  EXPECT_EQ(y[0], 1e38f);
  EXPECT_EQ(y[1], 0.0f);
  EXPECT_EQ(y[2], 0.0f);
  EXPECT_EQ(y[3], kInfinity);
  EXPECT_TRUE(std::isnan(y[4]));
  EXPECT_NEAR(y[5], 5e-41f, 2e-45f);
  EXPECT_EQ(y[6], 0.0f);
}

TEST_P(AccuracyTest, SoftCap) {
  for (const float cap : {30.0f, 50.0f, 1.0f}) {
    const std::vector<float> x = Sweep(12.0f * cap);
    std::vector<float> y = x;
    GetParam()->soft_cap(y.data(), static_cast<int64_t>(y.size()), cap);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = cap * std::tanh(static_cast<double>(x[i]) / cap);
      ASSERT_NEAR(y[i], expected, 3e-7 * std::fabs(expected)) << x[i];
    }
  }
  std::vector<float> ends = {kInfinity, -kInfinity, kNan, -0.0f};
  GetParam()->soft_cap(ends.data(), 4, 30.0f);
  EXPECT_EQ(ends[0], 30.0f);
  EXPECT_EQ(ends[1], -30.0f);
  EXPECT_TRUE(std::isnan(ends[2]));
  EXPECT_EQ(ends[3], 0.0f);
}

TEST_P(AccuracyTest, Softmax) {
  std::mt19937 random(1);
  for (const int n : {1, 2, 7, 8, 15, 16, 17, 100, 128}) {
    std::normal_distribution<float> normal(0.0f, 4.0f);
    std::vector<float> x(static_cast<size_t>(n));
    for (float& value : x) value = normal(random);
    if (n > 2) x[1] = -kInfinity;  // masked
    std::vector<float> p = x;
    testing::Part part(1, 1);
    GetParam()->attention_softmax(p.data(), 1, n, nullptr, nullptr, part.View());
    // The difference is rounded to float, here and in every float32 softmax; its error grows with the distance.
    const float largest = *std::max_element(x.begin(), x.end());
    EXPECT_EQ(part.max[0], largest);
    double sum = 0;
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = std::exp(static_cast<double>(x[i] - largest));
      sum += expected;
      ASSERT_NEAR(p[i], expected, 2e-7 * expected) << n << ' ' << i;
    }
    EXPECT_NEAR(part.sum[0], sum, 4e-7 * sum);
  }
}

TEST_P(AccuracyTest, SoftmaxOfNanIsNan) {
  for (const size_t at : {0u, 5u, 16u, 18u}) {
    std::vector<float> x(19, 1.0f);
    x[at] = kNan;
    testing::Part part(1, 1);
    GetParam()->attention_softmax(x.data(), 1, 19, nullptr, nullptr, part.View());
    EXPECT_TRUE(std::isnan(part.sum[0]));
  }
}

TEST_P(AccuracyTest, RmsNorm) {
  std::mt19937 random(2);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  for (const int n : {1, 3, 16, 255, 256, 1536, 2560}) {
    std::vector<float> x(static_cast<size_t>(n)), weight(x.size()), y(x.size()), plain(x.size());
    for (float& value : x) value = normal(random);
    for (float& value : weight) value = normal(random);
    GetParam()->rms_norm(x.data(), weight.data(), 1e-6f, n, y.data());
    GetParam()->rms_norm(x.data(), nullptr, 1e-6f, n, plain.data());
    double squares = 0;
    for (const float value : x) squares += static_cast<double>(value) * value;
    const double scale = 1.0 / std::sqrt(squares / n + 1e-6);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(plain[i], x[i] * scale, 5e-7 * std::fabs(x[i] * scale));
      ASSERT_NEAR(y[i], x[i] * scale * weight[i], 6e-7 * std::fabs(x[i] * scale * weight[i]));
    }
    std::vector<float> sum = weight, expected = weight;  // any numbers
    for (size_t i = 0; i < x.size(); ++i) expected[i] += y[i];
    GetParam()->add_rms_norm(x.data(), weight.data(), 1e-6f, n, sum.data());
    testing::ExpectSameBits(sum, expected);
    GetParam()->rms_norm(x.data(), weight.data(), 1e-6f, n, x.data());
    testing::ExpectSameBits(x, y);  // in place
  }
}

TEST_P(AccuracyTest, QuantizeA8) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> x(256);
  for (float& value : x) value = normal(random);
  std::fill(x.begin() + 32, x.begin() + 64, 0.0f);
  x[70] = kInfinity;
  x[100] = kNan;
  std::fill(x.begin() + 128, x.begin() + 160, 1e-40f);                               // counts as zero
  for (size_t i = 160; i < 192; ++i) x[i] = static_cast<float>(i) - 160.0f - 15.5f;  // ties
  x[160] = 127.0f;
  x[192] = std::numeric_limits<float>::max();
  testing::ActivationRows rows(1, 256);
  GetParam()->quantize_a8(x.data(), 256, rows.Row(0));
  for (size_t block = 0; block < 8; ++block) {
    SCOPED_TRACE(block);
    float largest = 0;
    for (size_t i = 0; i < 32; ++i) largest = std::max(largest, std::fabs(x[32 * block + i]));
    int sums[2] = {};
    for (size_t i = 0; i < 32; ++i) {
      const int code = rows.codes[32 * block + i];
      sums[i / 16] += code;
      if (block == 1 || block == 2 || block == 3 || block == 4) {
        EXPECT_EQ(code, 0);
      } else {
        EXPECT_EQ(code, std::nearbyint(x[32 * block + i] * (127.0f / largest)));
      }
    }
    if (block == 2 || block == 3) {
      EXPECT_TRUE(std::isnan(rows.scale[block]));
      EXPECT_EQ(rows.lift32[block], 0);
      EXPECT_EQ(rows.lift16[2 * block], 0);
      EXPECT_EQ(rows.lift16[2 * block + 1], 0);
      continue;
    }
    EXPECT_EQ(rows.scale[block], block == 1 || block == 4 ? 0.0f : largest / 127.0f);
    EXPECT_EQ(rows.lift32[block], -128 * (sums[0] + sums[1]));
    for (size_t half = 0; half < 2; ++half) EXPECT_EQ(rows.lift16[2 * block + half], -128 * sums[half]);
  }
}

TEST_P(AccuracyTest, Products) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (const int k : {1, 15, 16, 31, 256, 1000}) {
    std::vector<float> w(static_cast<size_t>(k)), x(w.size());
    double expected = 0, magnitude = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      w[i] = normal(random), x[i] = normal(random);
      expected += static_cast<double>(w[i]) * x[i];
      magnitude += std::fabs(static_cast<double>(w[i]) * x[i]);
    }
    float y = 0;
    GetParam()->gemm_f32(w.data(), k, 1, x.data(), k, 1, k, &y, 1);
    EXPECT_NEAR(y, expected, 1e-6 * magnitude);
  }
}

// Unpacked Q2_K-like rows with offsets against the sum in double.
TEST_P(AccuracyTest, PanelProducts) {
  std::mt19937 random(5);
  constexpr int kColumns = 512;
  testing::UnpackedRows w(1, kColumns, 16, true);
  testing::ActivationRows x(1, kColumns);
  std::vector<float> values(kColumns);
  std::normal_distribution<float> normal;
  for (float& value : values) value = normal(random);
  for (int8_t& code : w.codes) code = static_cast<int8_t>(random());
  for (float& value : w.scale) value = normal(random);
  for (float& value : w.offset) value = normal(random);
  GetParam()->quantize_a8(values.data(), kColumns, x.Row(0));
  double expected = 0, magnitude = 0;
  for (size_t i = 0; i < kColumns; ++i) {
    const double weight = static_cast<double>(w.scale[i / 16]) * w.codes[i] + w.offset[i / 16];
    const double product = weight * x.codes[i] * static_cast<double>(x.scale[i / 32]);
    expected += product;
    magnitude += std::fabs(product);
  }
  float y = 0;
  testing::MultiplyPanels(*GetParam(), w, 1, x, 1, &y, 1);
  EXPECT_NEAR(y, expected, 1e-6 * magnitude);
}

TEST_P(AccuracyTest, HalfFloats) {
  std::vector<float> x;
  x.reserve(20000 + 65536);
  std::mt19937 random(6);
  for (int i = 0; i < 20000; ++i) x.push_back(std::bit_cast<float>(static_cast<uint32_t>(random())));
  for (uint32_t half = 0; half < 65536; ++half) x.push_back(F16ToFloat(static_cast<uint16_t>(half)));
  std::vector<uint16_t> y(x.size());
  GetParam()->to_f16(x.data(), static_cast<int64_t>(x.size()), y.data());
  for (size_t i = 0; i < x.size(); ++i) ASSERT_EQ(y[i], FloatToF16(x[i])) << x[i];
}

INSTANTIATE_TEST_SUITE_P(Tables, AccuracyTest, ::testing::ValuesIn(testing::TablesToTest()), testing::TableName);

}  // namespace
}  // namespace carat::kernels
