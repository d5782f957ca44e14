#include "ops/linear.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

namespace carat::ops {
namespace {

// A matrix of random weights: blocks of random bits, with scales that are ordinary numbers.
struct TestMatrix {
  std::vector<std::byte> bytes;
  std::vector<float> floats;  // [rows, cols], what the bytes mean
  Matrix matrix;
};

TestMatrix MakeMatrix(quant::Type type, int64_t rows, int64_t cols, std::mt19937& random) {
  TestMatrix out;
  const int64_t row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(cols)));
  const kernels::Kernels& scalar = *kernels::SelectKernels("scalar");
  out.bytes.resize(static_cast<size_t>(rows * row_bytes));
  out.floats.resize(static_cast<size_t>(rows * cols));
  std::normal_distribution<float> normal;
  for (int64_t r = 0; r < rows; ++r) {
    std::byte* row = out.bytes.data() + r * row_bytes;
    float* floats = out.floats.data() + r * cols;
    do {  // until all scales are numbers of a reasonable size
      for (int64_t i = 0; i < row_bytes; ++i) row[i] = static_cast<std::byte>(random());
      if (type == quant::Type::kF32)
        for (int64_t i = 0; i < cols; ++i) {
          const float value = normal(random);
          std::memcpy(row + i * 4, &value, 4);
        }
      const int block = quant::Info(type).block_bytes;
      if (type == quant::Type::kQ8_0)
        for (int64_t i = 0; i < row_bytes; i += block) row[i + 1] = std::byte{0x24};  // scales of 2^-6 and a bit
      scalar.decode[static_cast<int>(type)](row, floats, cols);
    } while (!std::all_of(floats, floats + cols, [](float x) { return std::abs(x) < 100; }));
  }
  out.matrix = {.type = type, .rows = rows, .cols = cols, .data = out.bytes.data(), .row_bytes = row_bytes};
  return out;
}

class LinearTest : public testing::TestWithParam<std::tuple<quant::Type, bool>> {};

TEST_P(LinearTest, EqualsTheProductAndDoesNotDependOnBatchOrThreads) {
  const auto [type, exact] = GetParam();
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  constexpr int64_t kRows = 101, kCols = 96, kTokens = 13;
  const TestMatrix w = MakeMatrix(type, kRows, kCols, random);
  std::vector<float> x(kTokens * kCols);
  for (float& value : x) value = normal(random);

  ThreadPool one(1), three(3);
  const kernels::Kernels* kernels = kernels::SelectKernels();
  Linear linear({.kernels = kernels, .pool = &one, .exact = exact}, kTokens, kCols);
  std::vector<float> y(kTokens * kRows);
  linear.SetInput(x.data(), kTokens, kCols);
  linear.Multiply(w.matrix, y.data());

  const bool rounds = !exact && quant::IsBlock(type);
  for (int64_t t = 0; t < kTokens; ++t) {
    for (int64_t n = 0; n < kRows; ++n) {
      double sum = 0, magnitude = 0;
      for (int64_t i = 0; i < kCols; ++i) {
        const double product =
            double{w.floats[static_cast<size_t>(n * kCols + i)]} * x[static_cast<size_t>(t * kCols + i)];
        sum += product;
        magnitude += std::abs(product);
      }
      // Rounding to 8 bits errs by at most 1/254 of the block's largest value.
      ASSERT_NEAR(y[static_cast<size_t>(t * kRows + n)], sum, magnitude * (rounds ? 0.02 : 1e-6));
    }
  }

  Linear parallel({.kernels = kernels, .pool = &three, .exact = exact}, kTokens, kCols);
  for (int64_t t = 0; t < kTokens; ++t) {
    std::vector<float> alone(kRows);
    parallel.SetInput(x.data() + t * kCols, 1, kCols);
    parallel.Multiply(w.matrix, alone.data());
    ASSERT_EQ(std::memcmp(alone.data(), y.data() + t * kRows, kRows * sizeof(float)), 0) << "token " << t;
  }
  std::vector<float> part(kTokens * 200, -1.0f);
  parallel.SetInput(x.data(), kTokens, kCols);
  parallel.Multiply(w.matrix.Rows(40, 90), part.data() + 7, 200);
  for (int64_t t = 0; t < kTokens; ++t) {
    ASSERT_EQ(std::memcmp(part.data() + t * 200 + 7, y.data() + t * kRows + 40, 50 * sizeof(float)), 0);
    ASSERT_EQ(part[static_cast<size_t>(t * 200 + 57)], -1.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, LinearTest,
                         testing::Combine(testing::Values(quant::Type::kF32, quant::Type::kQ8_0), testing::Bool()));

}  // namespace
}  // namespace carat::ops
