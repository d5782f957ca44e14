// Products of blocks in bfloat16: the scalar kernels against the definition, the level's own on emulated tiles, and on
// those of the CPU where it has some, against the scalar ones.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "base/float16.h"
#include "kernels/emulated_tiles.h"
#include "kernels/expect.h"
#include "kernels/kernels.h"
#include "kernels/testing.h"
#include "quant/interleave.h"

namespace carat::kernels {
namespace {

using quant::Type;
using Bf16s = std::vector<uint16_t, testing::Aligned64<uint16_t>>;

const Bf16Products& Scalar() { return reference::kBf16; }
const Kernels& ScalarTable() { return *AllKernels()[0]; }

uint16_t RoundOne(float x) {
  uint16_t y = 0;
  Scalar().round(&x, 1, &y);
  return y;
}

TEST(Bf16Rounding, ToNearestEvenAndSubnormalsToZero) {
  EXPECT_EQ(RoundOne(1.0f), 0x3f80);
  EXPECT_EQ(RoundOne(1.0f + 0x1p-8f), 0x3f80);       // a tie, to even
  EXPECT_EQ(RoundOne(1.0f + 3 * 0x1p-8f), 0x3f82);   // the other way
  EXPECT_EQ(RoundOne(1.0f + 0x1.0002p-8f), 0x3f81);  // a little more than the tie
  EXPECT_EQ(RoundOne(3.4e38f), 0x7f80);              // beyond the largest
  EXPECT_EQ(RoundOne(0x1p-126f), 0x0080);            // the smallest that stays
  EXPECT_EQ(RoundOne(0x1.fffffcp-127f), 0x0000);
  EXPECT_EQ(RoundOne(-1e-40f), 0x8000);
  EXPECT_EQ(RoundOne(-std::numeric_limits<float>::infinity()), 0xff80);
  EXPECT_TRUE(std::isnan(Bf16ToFloat(RoundOne(std::bit_cast<float>(0x7f800001u)))));
}

// y of one row and one token.
float Dot(const Bf16Products& bf16, const std::vector<float>& w, const std::vector<float>& x) {
  const auto k = static_cast<int64_t>(w.size());
  Bf16s w16(w.size()), x16(x.size());
  bf16.round(w.data(), k, w16.data());
  bf16.round(x.data(), k, x16.data());
  float y = 77;
  bf16.gemv(w16.data(), 1, x16.data(), k, &y);
  return y;
}

TEST(TileDot, HasTheOrderOfTheManual) {
  // Even and odd columns have sums of their own: 2^24 + 1 - 2^24 is 0 in a single one, from left to right.
  std::vector<float> w(32, 0.0f), ones(32, 1.0f);
  w[0] = 0x1p24f;
  w[1] = 1.0f;
  w[2] = -0x1p24f;
  EXPECT_EQ(Dot(Scalar(), w, ones), 1.0f);
  w[1] = 0;
  w[4] = 1.0f;  // in the same sum, behind
  EXPECT_EQ(Dot(Scalar(), w, ones), 1.0f);
  std::swap(w[2], w[4]);  // before
  EXPECT_EQ(Dot(Scalar(), w, ones), 0.0f);
  // Each 32 columns begin anew, and what they are is added to the sum so far.
  w.assign(64, 0.0f);
  ones.assign(64, 1.0f);
  w[0] = 0x1p24f;
  w[32] = w[33] = 1.0f;
  EXPECT_EQ(Dot(Scalar(), w, ones), 0x1p24f + 2);
  w[33] = 0;
  w[34] = 1.0f;
  EXPECT_EQ(Dot(Scalar(), w, ones), 0x1p24f + 2);
  w[0] = w[32] = w[34] = 1e-30f;  // products that are subnormal
  std::fill(ones.begin(), ones.end(), 1e-10f);
  EXPECT_EQ(Dot(Scalar(), w, ones), 0.0f);
}

struct Level {
  const char* name;
  const Bf16Products* bf16;
};

class Bf16Test : public ::testing::TestWithParam<Level> {
 protected:
  const Bf16Products& bf16() const { return *GetParam().bf16; }

  std::vector<float> Floats(int64_t n, bool any_bits) {
    std::normal_distribution<float> normal;
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values)
      value = any_bits ? std::bit_cast<float>(static_cast<uint32_t>(random_())) : normal(random_);
    return values;
  }
  // Numbers as products have them: with NaNs and subnormals only if any_bits.
  Bf16s Numbers(int64_t n, bool any_bits) {
    const std::vector<float> floats = Floats(n, false);
    Bf16s numbers(floats.size());
    for (size_t i = 0; i < floats.size(); ++i)
      numbers[i] = any_bits ? static_cast<uint16_t>(random_()) : FloatToBf16(floats[i]);
    return numbers;
  }

  std::mt19937 random_{7};
};

// NaNs may differ in what they carry.
void ExpectSameNumbers(const Bf16s& actual, const Bf16s& expected) {
  std::vector<float> a(actual.size()), b(expected.size());
  for (size_t i = 0; i < a.size(); ++i) a[i] = Bf16ToFloat(actual[i]);
  for (size_t i = 0; i < b.size(); ++i) b[i] = Bf16ToFloat(expected[i]);
  testing::ExpectSameBits(a, b);
}

TEST_P(Bf16Test, RoundsAndWidens) {
  for (const bool any_bits : {false, true})
    for (const int64_t k : {32, 64, 96, 1504}) {
      std::vector<float> x = Floats(k, any_bits);
      for (size_t i = 0; i < x.size(); i += 3)  // ties
        x[i] = std::bit_cast<float>((std::bit_cast<uint32_t>(x[i]) & 0xffff0000u) | 0x8000u);
      Bf16s a(x.size() + 32, 77), b = a;
      bf16().round(x.data(), k, a.data());
      Scalar().round(x.data(), k, b.data());
      ExpectSameNumbers(a, b);
      for (const int64_t group : {16, 32})
        for (const bool with_offset : {false, true}) {
          testing::UnpackedRows w(1, k, group, with_offset);
          for (int8_t& code : w.codes) code = static_cast<int8_t>(random_());
          w.scale = Floats(k / group, any_bits);
          if (with_offset) w.offset = Floats(k / group, any_bits);
          bf16().widen(w.Row(0), group, k, a.data());
          Scalar().widen(w.Row(0), group, k, b.data());
          ExpectSameNumbers(a, b);
        }
    }
}

constexpr int64_t kMostTokens = 50;

TEST_P(Bf16Test, ProductsOfRows) {
  for (const bool any_bits : {false, true})
    for (const int64_t k : {32, 64, 96, 256, 544}) {
      const Bf16s w = Numbers(kPanelRows * k, any_bits), x = Numbers(kMostTokens * k, any_bits);
      Bf16s panel_a(w.size(), 77), panel_b = panel_a;
      constexpr int64_t kTiles = (kMostTokens + kBf16TileTokens - 1) / kBf16TileTokens;
      Bf16s tiles_a(static_cast<size_t>(kTiles * kBf16TileTokens * k), 77), tiles_b = tiles_a;
      for (const int64_t rows : {1, 7, 15, 16, 17, 31, 32})
        for (const int64_t tokens : {1, 2, 15, 16, 17, 31, 32, 33, 48, 50}) {
          SCOPED_TRACE(::testing::Message() << k << " columns, " << rows << " rows, " << tokens << " tokens");
          for (int64_t t = 0; t < tokens; t += kBf16TileTokens) {
            const int64_t count = std::min(kBf16TileTokens, tokens - t);
            bf16().pack_tile(x.data() + t * k, count, k, tiles_a.data() + t * k);
            Scalar().pack_tile(x.data() + t * k, count, k, tiles_b.data() + t * k);
          }
          testing::ExpectSameBits(tiles_a, tiles_b);
          bf16().pack_panel(w.data(), rows, k, panel_a.data());
          Scalar().pack_panel(w.data(), rows, k, panel_b.data());
          testing::ExpectSameBits(panel_a, panel_b);

          constexpr int64_t kStride = kPanelRows + 1;
          std::vector<float> expected(kMostTokens * kStride, 5.0f), alone = expected, together = expected,
                                                                    scalar = expected;
          for (int64_t t = 0; t < tokens; ++t) {
            Scalar().gemv(w.data(), rows, x.data() + t * k, k, expected.data() + t * kStride);
            bf16().gemv(w.data(), rows, x.data() + t * k, k, alone.data() + t * kStride);
          }
          testing::ExpectSameBits(alone, expected);
          bf16().gemm(panel_a.data(), rows, tiles_a.data(), tokens, k, together.data(), kStride);
          testing::ExpectSameBits(together, expected);
          Scalar().gemm(panel_b.data(), rows, tiles_b.data(), tokens, k, scalar.data(), kStride);
          testing::ExpectSameBits(scalar, expected);
        }
    }
}

// Rows that are woven together, as unpacking and widening one after the other gives them. Random bytes make scales of
// every kind.
TEST_P(Bf16Test, ProductsOfRowsWovenTogether) {
  for (int i = 0; i < quant::kTypeCount; ++i) {
    ASSERT_EQ(bf16().gemv_interleaved[i] != nullptr, bf16().panel_interleaved[i] != nullptr);
    if (bf16().gemv_interleaved[i] == nullptr) continue;
    const auto type = static_cast<Type>(i);
    const int64_t block = quant::Info(type).block_elements;
    for (const bool any_bits : {false, true})
      for (const int64_t k : {block, 3 * block, 8 * block, 9 * block})
        for (const int64_t rows : {16, 32}) {
          SCOPED_TRACE(::testing::Message() << quant::Info(type).name << " " << k << " columns, " << rows << " rows");
          const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k)));
          std::vector<std::byte> packed(static_cast<size_t>(rows * row_bytes)), woven(packed.size());
          for (std::byte& byte : packed) byte = static_cast<std::byte>(any_bits ? random_() : random_() & 0x3b);
          const quant::BlockParts parts = quant::PartsOf(type);
          for (int64_t n = 0; n < rows; n += quant::kInterleavedRows)
            quant::Interleave(parts, row_bytes / parts.bytes, packed.data() + n * row_bytes, row_bytes,
                              woven.data() + n * row_bytes);
          Bf16s w(static_cast<size_t>(rows * k)), actual(static_cast<size_t>(kPanelRows * k), 77), expected = actual;
          testing::UnpackedRows unpacked(1, k, GroupColumns(type), HasOffset(type));
          for (int64_t n = 0; n < rows; ++n) {
            ScalarTable().unpack[i](packed.data() + n * row_bytes, unpacked.Row(0), k);
            Scalar().widen(unpacked.Row(0), GroupColumns(type), k, w.data() + n * k);
          }
          Scalar().pack_panel(w.data(), rows, k, expected.data());
          bf16().panel_interleaved[i](woven.data(), row_bytes, rows, k, actual.data());
          for (size_t at = 0; at < actual.size(); ++at)  // rows that are missing mean nothing
            if (static_cast<int64_t>(at) / 2 % kPanelRows >= rows) actual[at] = expected[at];
          ExpectSameNumbers(actual, expected);

          const Bf16s x = Numbers(k, false);
          std::vector<float> y(static_cast<size_t>(rows) + 1, 5.0f), wanted = y;
          bf16().gemv_interleaved[i](woven.data(), row_bytes, rows, x.data(), k, y.data());
          Scalar().gemv(w.data(), rows, x.data(), k, wanted.data());
          testing::ExpectSameBits(y, wanted);
        }
  }
}

// What is rounded to bfloat16 is closer to the weights than 8-bit activations are: 2^-9 for each factor at most.
TEST_P(Bf16Test, StaysCloseToTheProduct) {
  constexpr int64_t kColumns = 1536;
  for (int round = 0; round < 20; ++round) {
    const std::vector<float> w = Floats(kColumns, false), x = Floats(kColumns, false);
    double sum = 0, magnitude = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      sum += double{w[i]} * x[i];
      magnitude += std::abs(double{w[i]} * x[i]);
    }
    EXPECT_NEAR(Dot(bf16(), w, x), sum, magnitude * 0x1p-8);
  }
}

std::vector<Level> Levels() {
  std::vector<Level> levels = {{"emulated", &testing::EmulatedBf16()}};
  for (const Kernels* table : testing::TablesToTest())
    if (table->bf16 != nullptr) levels.push_back({table->name.data(), table->bf16});
  return levels;
}

INSTANTIATE_TEST_SUITE_P(Levels, Bf16Test, ::testing::ValuesIn(Levels()),
                         [](const auto& level) { return std::string(level.param.name); });

}  // namespace
}  // namespace carat::kernels
