// The code formats and static rounding: the scalar kernels against the definitions, every table against the scalar one.
#include "quant/codes.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/emulated_tiles.h"
#include "kernels/expect.h"
#include "kernels/kernels.h"
#include "kernels/testing.h"

namespace carat::kernels {
namespace {

using quant::Type;
using testing::MultiplyCodePanels;
using testing::MultiplyCodesAlone;
using testing::StaticRows;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

const Kernels& Scalar() { return *AllKernels()[0]; }

TEST(CodeFormats, SizesOfRows) {
  EXPECT_EQ(quant::RowBytes(Type::kC8, 7), 7u);
  EXPECT_EQ(quant::RowBytes(Type::kC4, 7), 4u);
  EXPECT_EQ(quant::RowBytes(Type::kC2, 7), 2u);
  EXPECT_EQ(quant::RowBytes(Type::kC2, 8), 2u);
  EXPECT_EQ(quant::RowBytes(Type::kG4, 64), 32u);
  EXPECT_FALSE(quant::RowBytes(Type::kG4, 40));
  EXPECT_TRUE(quant::IsCodes(Type::kC8) && quant::IsCodes(Type::kG4) && !quant::IsCodes(Type::kIQ4_XS));
  EXPECT_FALSE(quant::IsWeight(Type::kC4) || quant::IsBlock(Type::kC4));
}

TEST(CodeFormats, FieldsAreCountedFromTheLowEndAndAreOffset) {
  const std::array bytes = {std::byte{0xe4}, std::byte{0x80}};
  std::array<int8_t, 8> codes = {};
  Scalar().unpack_codes[static_cast<int>(Type::kC2)](bytes.data(), 8, codes.data());
  EXPECT_EQ(codes, (std::array<int8_t, 8>{-2, -1, 0, 1, -2, -2, -2, 0}));
  codes = {};
  Scalar().unpack_codes[static_cast<int>(Type::kC4)](bytes.data(), 3, codes.data());
  EXPECT_EQ(codes, (std::array<int8_t, 8>{-4, 6, -8}));
  Scalar().unpack_codes[static_cast<int>(Type::kG4)](bytes.data(), 4, codes.data());
  EXPECT_EQ(codes, (std::array<int8_t, 8>{-4, 6, -8, 0}));
  codes = {};
  Scalar().unpack_codes[static_cast<int>(Type::kC8)](bytes.data(), 2, codes.data());
  EXPECT_EQ(codes, (std::array<int8_t, 8>{-28, -128}));
}

TEST(StaticRounding, TiesToEvenAndClips) {
  const std::vector<float> x = {0.5f,  1.5f,    -0.5f,  -2.5f,     127.4f,    127.5f,
                                1e30f, -128.5f, -1e30f, kInfinity, -kInfinity};
  const std::vector<float> expected = {0, 2, 0, -2, 127, 127, 127, -128, -128, 127, -128};
  std::vector<int8_t> codes(x.size());
  const StaticRow row = Scalar().quantize_static(x.data(), static_cast<int64_t>(x.size()), 1.0f, codes.data());
  EXPECT_EQ(row.scale, 1.0f);
  EXPECT_EQ(row.sum, 0 + 2 - 0 - 2 + 127 + 127 + 127 - 128 - 128 + 127 - 128);
  std::vector<float> rounded = x;
  Scalar().round_static(rounded.data(), static_cast<int64_t>(x.size()), 1.0f);
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(codes[i], expected[i]) << x[i];
    EXPECT_EQ(rounded[i], expected[i]) << x[i];
  }
  EXPECT_TRUE(std::signbit(rounded[2]));
}

TEST(StaticRounding, DividesTruly) {
  // 12.5 steps as the quotient has it, 12.500001 as the product with the reciprocal has it.
  const float scale = 0.0123f, reciprocal = 1.0f / scale;
  std::mt19937 random(3);
  std::uniform_real_distribution<float> uniform(-1.5f, 1.5f);
  int picky = 0;
  for (int i = 0; i < 2'000'000; ++i) {
    const float x = uniform(random);
    if (std::nearbyint(x / scale) == std::nearbyint(x * reciprocal)) continue;
    ++picky;
    int8_t code = 0;
    Scalar().quantize_static(&x, 1, scale, &code);
    EXPECT_EQ(static_cast<float>(code), std::nearbyint(x / scale));
  }
  EXPECT_GT(picky, 0);
}

TEST(StaticRounding, NanShowsInTheScale) {
  const std::array x = {1.0f, kNan, 3.0f};
  std::array<int8_t, 3> codes = {};
  EXPECT_TRUE(std::isnan(Scalar().quantize_static(x.data(), 3, 1.0f, codes.data()).scale));
  EXPECT_EQ(codes, (std::array<int8_t, 3>{1, 0, 3}));
  std::array<float, 3> rounded = x;
  Scalar().round_static(rounded.data(), 3, 1.0f);
  EXPECT_TRUE(std::isnan(rounded[1]));
}

TEST(DynamicRounding, TheLargestIs127) {
  const std::array x = {-2.54f, 0.02f, 0.03f, 0.05f, 1.0f};
  std::array<int8_t, 5> codes = {};
  EXPECT_EQ(Scalar().quantize_dynamic(x.data(), 5, codes.data()).scale, 2.54f / 127);
  EXPECT_EQ(codes[0], -127);
  EXPECT_EQ(codes[1], 1);
  EXPECT_EQ(codes[4], 50);
  const std::array zeros = {0.0f, -0.0f}, infinite = {1.0f, -kInfinity}, nan = {kNan, 1.0f};
  EXPECT_EQ(Scalar().quantize_dynamic(zeros.data(), 2, codes.data()).scale, kA8Smallest / 127);
  EXPECT_EQ(codes[0], 0);
  EXPECT_TRUE(std::isnan(Scalar().quantize_dynamic(infinite.data(), 2, codes.data()).scale));
  EXPECT_TRUE(std::isnan(Scalar().quantize_dynamic(nan.data(), 2, codes.data()).scale));
}

class CodesTest : public ::testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& table() const { return *GetParam(); }

  std::vector<float> Floats(int64_t n) {
    std::normal_distribution<float> normal(0.0f, 60.0f);
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) {
      value = normal(random_);
      if (random_() % 4 == 0) value = std::round(value) + 0.5f;
      if (random_() % 64 == 0) value = std::bit_cast<float>(static_cast<uint32_t>(random_()));
    }
    return values;
  }
  std::vector<int8_t> Codes(int64_t n) {
    std::vector<int8_t> codes(static_cast<size_t>(n));
    for (int8_t& code : codes) code = static_cast<int8_t>(random_() % 5 == 0 ? 128 : random_());
    return codes;
  }

  std::mt19937 random_{7};
};

TEST_P(CodesTest, IsComplete) {
  for (int i = 0; i < quant::kTypeCount; ++i) {
    const auto type = static_cast<Type>(i);
    EXPECT_EQ(table().unpack_codes[i] != nullptr, quant::IsCodes(type)) << quant::Info(type).name;
    const bool exact = quant::IsCodes(type) && type != Type::kG4;
    EXPECT_EQ(table().gemv_codes[i] != nullptr, exact) << quant::Info(type).name;
    EXPECT_EQ(table().pack_codes[i] != nullptr, exact) << quant::Info(type).name;
    EXPECT_EQ(table().gemm_codes[i] != nullptr, exact) << quant::Info(type).name;
  }
}

TEST_P(CodesTest, UnpackAndScale) {
  for (const Type type : {Type::kC8, Type::kC4, Type::kC2, Type::kG4})
    for (const int64_t n : {1, 2, 3, 31, 32, 33, 63, 64, 65, 127, 128, 129, 256, 300}) {
      SCOPED_TRACE(::testing::Message() << quant::Info(type).name << " " << n);
      std::vector<std::byte> packed(static_cast<size_t>(n));
      for (std::byte& byte : packed) byte = static_cast<std::byte>(random_());
      std::vector<int8_t> a(static_cast<size_t>(n) + 1, 77), b = a;
      table().unpack_codes[static_cast<int>(type)](packed.data(), n, a.data());
      Scalar().unpack_codes[static_cast<int>(type)](packed.data(), n, b.data());
      testing::ExpectSameBits(a, b);
      std::vector<float> x(a.size(), 5.0f), y = x;
      table().scale_codes(a.data(), 0.0123f, n, x.data());
      Scalar().scale_codes(a.data(), 0.0123f, n, y.data());
      testing::ExpectSameBits(x, y);
    }
}

TEST_P(CodesTest, RoundAndDeal) {
  for (const int64_t n : {1, 2, 7, 8, 9, 31, 32, 33, 64, 100, 129, 255, 257, 500})
    for (const float scale : {1.0f, 0.0123f, 1e-30f, 217.3f}) {
      SCOPED_TRACE(::testing::Message() << n << " numbers, scale " << scale);
      std::vector<float> x = Floats(n);
      for (float& value : x) value *= scale;
      std::vector<int8_t> a(static_cast<size_t>(n) + 1, 77), b = a;
      const StaticRow row_a = table().quantize_static(x.data(), n, scale, a.data());
      const StaticRow row_b = Scalar().quantize_static(x.data(), n, scale, b.data());
      EXPECT_TRUE(testing::SameBits(row_a.scale, row_b.scale));
      EXPECT_EQ(row_a.sum, row_b.sum);
      testing::ExpectSameBits(a, b);
      const StaticRow own_a = table().quantize_dynamic(x.data(), n, a.data());
      const StaticRow own_b = Scalar().quantize_dynamic(x.data(), n, b.data());
      EXPECT_TRUE(testing::SameBits(own_a.scale, own_b.scale));
      EXPECT_EQ(own_a.sum, own_b.sum);
      testing::ExpectSameBits(a, b);
      x.push_back(5.0f);
      std::vector<float> y = x;
      table().round_static(x.data(), n, scale);
      Scalar().round_static(y.data(), n, scale);
      testing::ExpectSameBits(x, y);

      for (const int planes : {1, 2, 4}) {
        const int64_t plane = (n / planes + 1 + kPlaneStep - 1) / kPlaneStep * kPlaneStep;
        std::vector<int8_t> dealt_a(static_cast<size_t>(planes * plane) + 1, 77), dealt_b = dealt_a;
        table().deal_codes(a.data(), n, planes, plane, dealt_a.data());
        Scalar().deal_codes(a.data(), n, planes, plane, dealt_b.data());
        testing::ExpectSameBits(dealt_a, dealt_b);
      }
    }
}

TEST_P(CodesTest, ProductsAreExact) {
  constexpr int64_t kRows = 70, kTokens = 33;
  for (const Type type : {Type::kC8, Type::kC4, Type::kC2})
    for (const int64_t k : {1, 2, 3, 31, 64, 65, 127, 129, 257, 511}) {
      SCOPED_TRACE(::testing::Message() << quant::Info(type).name << " " << k);
      const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
      // Exactly as long as it must be, so that a sanitizer sees what reads beyond the end of a file.
      std::vector<std::byte> packed(static_cast<size_t>(kRows * row_bytes));
      for (std::byte& byte : packed) byte = static_cast<std::byte>(random_());
      std::fill_n(packed.begin(), row_bytes, type == Type::kC8 ? std::byte{0x80} : std::byte{0});  // extreme sums
      std::fill_n(packed.begin() + row_bytes, row_bytes, type == Type::kC8 ? std::byte{0x7f} : std::byte{0xff});
      std::vector<float> w_scale(kRows);
      for (float& scale : w_scale) scale = std::exp(static_cast<float>(random_() % 100) / 50.0f) * 0.01f;
      const CodeRows w = {.packed = packed.data(), .row_bytes = row_bytes, .scale = w_scale.data()};
      StaticRows x = {.columns = k, .codes = Codes(kTokens * k), .rows = {}};
      std::fill_n(x.codes.begin(), k, int8_t{-128});
      std::fill_n(x.codes.begin() + k, k, int8_t{127});
      for (int64_t t = 0; t < kTokens; ++t)
        x.rows.push_back({.scale = std::array{0.5f, 0.25f, 0.1f, kNan, 3.7e-5f, 217.3f}[static_cast<size_t>(t % 6)],
                          .sum = std::accumulate(x.codes.begin() + t * k, x.codes.begin() + (t + 1) * k, 0)});

      std::vector<float> exact(static_cast<size_t>(kTokens * kRows));
      std::vector<int8_t> row(static_cast<size_t>(k));
      for (int64_t n = 0; n < kRows; ++n) {
        Scalar().unpack_codes[static_cast<int>(type)](packed.data() + n * row_bytes, k, row.data());
        for (int64_t t = 0; t < kTokens; ++t) {
          const int64_t sum = std::inner_product(row.begin(), row.end(), x.codes.begin() + t * k, int64_t{0});
          exact[static_cast<size_t>(t * kRows + n)] =
              static_cast<float>(sum) * (x.rows[static_cast<size_t>(t)].scale * w_scale[static_cast<size_t>(n)]);
        }
      }
      for (const int64_t rows : {1, 8, 15, 17, 32, 70})
        for (const int64_t tokens : {1, 2, 4, 5, 7, 16, 17, 33}) {
          constexpr int64_t kStride = kRows + 1;
          std::vector<float> expected(kTokens * kStride, 5.0f), alone = expected, together = expected;
          for (int64_t t = 0; t < tokens; ++t)
            std::copy_n(exact.begin() + t * kRows, rows, expected.begin() + t * kStride);
          MultiplyCodesAlone(table(), type, w, rows, x, tokens, alone.data(), kStride);
          testing::ExpectSameBits(alone, expected);
          MultiplyCodePanels(table(), type, w, rows, x, tokens, together.data(), kStride);
          testing::ExpectSameBits(together, expected);
        }
    }
}

// The same bits as unpacking, scaling and multiplying.
TEST_P(CodesTest, FloatProductsOfOneToken) {
  constexpr int64_t kRows = 7;
  for (const Type type : {Type::kC8, Type::kC4, Type::kC2, Type::kG4}) {
    const auto gemv = table().gemv_codes_float[static_cast<int>(type)];
    if (gemv == nullptr) continue;
    for (const int64_t k : {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 96, 100, 256, 257}) {
      if (!quant::RowBytes(type, static_cast<uint64_t>(k))) continue;  // not whole groups
      const int64_t group = type == Type::kG4 ? quant::kG4Group : k, groups = k / group;
      SCOPED_TRACE(::testing::Message() << quant::Info(type).name << " " << k);
      const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
      std::vector<std::byte> packed(static_cast<size_t>(kRows * row_bytes));
      for (std::byte& byte : packed) byte = static_cast<std::byte>(random_());
      std::vector<float> scale(static_cast<size_t>(kRows * groups));
      for (float& value : scale) value = 0.01f + static_cast<float>(random_() % 100) / 512.0f;
      std::vector<float> x = Floats(k);
      if (k % 2 == 1) std::ranges::fill(x, -1e-42f);  // sums of nothing but rounded-away products keep their sign
      for (const int64_t rows : {1, 2, 4, 5, 7}) {
        std::vector<float> y(kRows + 1, 5.0f), expected = y, weights(static_cast<size_t>(kRows * k));
        gemv({.packed = packed.data(), .row_bytes = row_bytes, .scale = scale.data()}, rows, x.data(), k, y.data());
        std::vector<int8_t> codes(static_cast<size_t>(k));
        for (int64_t n = 0; n < rows; ++n) {
          Scalar().unpack_codes[static_cast<int>(type)](packed.data() + n * row_bytes, k, codes.data());
          for (int64_t g = 0; g < groups; ++g)
            Scalar().scale_codes(codes.data() + g * group, scale[static_cast<size_t>(n * groups + g)], group,
                                 weights.data() + n * k + g * group);
        }
        Scalar().gemm_f32(weights.data(), k, rows, x.data(), k, 1, k, expected.data(), kRows);
        testing::ExpectSameBits(y, expected);
      }
    }
  }
}

// The longest rows that sums of 32 bits are exact for.
TEST_P(CodesTest, LongRowsOfExtremesAreExact) {
  for (const Type type : {Type::kC8, Type::kC4}) {
    const int64_t k = type == Type::kC8 ? quant::MaxExactColumns(type) : 300'000;
    const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
    const std::vector<std::byte> packed(static_cast<size_t>(row_bytes),
                                        type == Type::kC8 ? std::byte{0x80} : std::byte{0});
    const float one = 1.0f;
    const CodeRows w = {.packed = packed.data(), .row_bytes = row_bytes, .scale = &one};
    const StaticRow row = {.scale = 1.0f, .sum = static_cast<int32_t>(-128 * k)};
    const StaticRows x = {
        .columns = k, .codes = std::vector<int8_t>(static_cast<size_t>(2 * k), int8_t{-128}), .rows = {row, row}};
    const auto exact = static_cast<float>(k * 128 * (1 << (quant::CodeBits(type) - 1)));
    std::vector<float> y(2);
    MultiplyCodesAlone(table(), type, w, 1, x, 2, y.data(), 1);
    EXPECT_EQ(y, std::vector<float>(2, exact));
    MultiplyCodePanels(table(), type, w, 1, x, 2, y.data(), 1);
    EXPECT_EQ(y, std::vector<float>(2, exact));
  }
}

INSTANTIATE_TEST_SUITE_P(Tables, CodesTest, ::testing::ValuesIn(testing::TablesToTest()), testing::TableName);
INSTANTIATE_TEST_SUITE_P(Emulated, CodesTest, ::testing::Values(&testing::EmulatedAmx()), testing::TableName);

}  // namespace
}  // namespace carat::kernels
