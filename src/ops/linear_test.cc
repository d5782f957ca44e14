#include "ops/linear.h"

#include <gtest/gtest.h>

#include <algorithm>
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
  Linear linear({.kernels = kernels, .pool = &one, .exact = exact});
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

  Linear parallel({.kernels = kernels, .pool = &three, .exact = exact});
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

// A matrix of random codes with random scales.
struct CodeMatrix {
  CodeMatrix(quant::Type type, int64_t rows, int64_t cols, int64_t group, std::mt19937& random) {
    const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(cols)));
    packed.resize(static_cast<size_t>(rows * row_bytes));
    for (std::byte& byte : packed) byte = static_cast<std::byte>(random());
    scales.resize(static_cast<size_t>(rows * (cols / group)));
    std::uniform_real_distribution<float> uniform(0.01f, 0.02f);
    for (float& scale : scales) scale = uniform(random);
    matrix = {
        .type = type,
        .rows = rows,
        .cols = cols,
        .data = packed.data(),
        .row_bytes = row_bytes,
        .scales = {
            .group = group, .data = reinterpret_cast<const std::byte*>(scales.data()), .row_bytes = cols / group * 4}};
  }
  // Weights of a row: codes that another kernel than the product's has read, times scales.
  std::vector<int> Codes(int64_t row) const {
    std::vector<int8_t> codes(static_cast<size_t>(matrix.cols));
    kernels::SelectKernels("scalar")->unpack_codes[static_cast<int>(matrix.type)](matrix.row(row), matrix.cols,
                                                                                  codes.data());
    return {codes.begin(), codes.end()};
  }
  float Scale(int64_t row, int64_t column) const {
    return scales[static_cast<size_t>((row * matrix.cols + column) / matrix.scales.group)];
  }

  std::vector<std::byte> packed;
  std::vector<float> scales;
  Matrix matrix;
};

TEST(StaticLinear, RoundsTheInputSumsExactlyAndRoundsTheOutput) {
  constexpr int64_t kRows = 70, kCols = 45, kTokens = 5;
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> x(kTokens * kCols);
  for (float& value : x) value = normal(random);
  ThreadPool pool(2);
  Linear linear({.kernels = kernels::SelectKernels(), .pool = &pool});
  linear.SetInput(x.data(), kTokens, kCols);
  // One input, matrices with scales and bits of their own.
  for (const quant::Type type : {quant::Type::kC4, quant::Type::kC8, quant::Type::kC2})
    for (const float input_scale : {0.02f, 0.013f}) {
      CodeMatrix w(type, kRows, kCols, kCols, random);
      w.matrix.input_scale = input_scale;
      for (const float output_scale : {0.0f, 0.05f}) {
        w.matrix.output_scale = output_scale;
        std::vector<float> y(kTokens * kRows);
        linear.Multiply(w.matrix, y.data());
        for (int64_t n = 0; n < kRows; ++n) {
          const std::vector<int> codes = w.Codes(n);
          for (int64_t t = 0; t < kTokens; ++t) {
            int sum = 0;
            for (int64_t i = 0; i < kCols; ++i) {
              const float steps = std::nearbyint(x[static_cast<size_t>(t * kCols + i)] / input_scale);
              sum += static_cast<int>(std::clamp(steps, -128.0f, 127.0f)) * codes[static_cast<size_t>(i)];
            }
            float expected = static_cast<float>(sum) * (input_scale * w.Scale(n, 0));
            if (output_scale != 0)
              expected = std::clamp(std::nearbyint(expected / output_scale), -128.0f, 127.0f) * output_scale;
            ASSERT_EQ(y[static_cast<size_t>(t * kRows + n)], expected) << quant::Info(type).name;
          }
        }
      }
    }
}

TEST(StaticLinear, IsTheSameInAnExactContext) {
  std::mt19937 random(6);
  CodeMatrix w(quant::Type::kC4, 9, 33, 33, random);
  w.matrix.input_scale = 0.03f;
  const std::vector<float> x(33, 1.2345f);
  ThreadPool pool(1);
  std::vector<float> y[2];
  for (const bool exact : {false, true}) {
    Linear linear({.kernels = kernels::SelectKernels(), .pool = &pool, .exact = exact});
    linear.SetInput(x.data(), 1, 33);
    y[exact].resize(9);
    linear.Multiply(w.matrix, y[exact].data());
  }
  EXPECT_EQ(y[0], y[1]);
}

// Without a static scale for the input, codes are as good as floats, in every context.
TEST(CodeLinear, MultipliesFloats) {
  constexpr int64_t kRows = 21, kCols = 96, kTokens = 3;
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> x(kTokens * kCols);
  for (float& value : x) value = normal(random);
  ThreadPool pool(2);
  for (const quant::Type type : {quant::Type::kC8, quant::Type::kC4, quant::Type::kC2, quant::Type::kG4})
    for (const bool exact : {false, true}) {
      const bool group = type == quant::Type::kG4;
      const CodeMatrix w(type, kRows, kCols, group ? 32 : kCols, random);
      Linear linear({.kernels = kernels::SelectKernels(), .pool = &pool, .exact = exact});
      linear.SetInput(x.data(), kTokens, kCols);
      std::vector<float> y(kTokens * kRows);
      linear.Multiply(w.matrix, y.data());
      for (int64_t n = 0; n < kRows; ++n) {
        const std::vector<int> codes = w.Codes(n);
        for (int64_t t = 0; t < kTokens; ++t) {
          double sum = 0, magnitude = 0;
          for (int64_t i = 0; i < kCols; ++i) {
            const double product =
                double{x[static_cast<size_t>(t * kCols + i)]} * codes[static_cast<size_t>(i)] * w.Scale(n, i);
            sum += product;
            magnitude += std::abs(product);
          }
          ASSERT_NEAR(y[static_cast<size_t>(t * kRows + n)], sum, magnitude * 1e-6);
        }
      }
    }
}

// A row of the table of per-layer embeddings: a scale for every 7 columns, two of which share a byte.
TEST(MatrixRow, GroupsMayBeginInsideAByte) {
  std::mt19937 random(8);
  for (const quant::Type type : {quant::Type::kC4, quant::Type::kC2}) {
    const CodeMatrix w(type, 3, 35, 7, random);
    const std::vector<int> codes = w.Codes(2);
    std::vector<float> out(36, -1.0f);
    DecodeRow(*kernels::SelectKernels(), w.matrix, w.matrix.row(2), w.matrix.row_scales(2), 35, out.data());
    for (int64_t i = 0; i < 35; ++i)
      ASSERT_EQ(out[static_cast<size_t>(i)], static_cast<float>(codes[static_cast<size_t>(i)]) * w.Scale(2, i));
    EXPECT_EQ(out[35], -1.0f);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, LinearTest,
                         testing::Combine(testing::Values(quant::Type::kF32, quant::Type::kQ8_0), testing::Bool()));

}  // namespace
}  // namespace carat::ops
