// Every table against the scalar one, bit for bit: all types, odd sizes, all tile shapes, hostile numbers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "kernels/expect.h"
#include "kernels/kernels.h"
#include "kernels/testing.h"
#include "quant/type.h"

namespace carat::kernels {
namespace {

using quant::Type;

const Kernels& Scalar() { return *AllKernels()[0]; }

class TablesTest : public ::testing::TestWithParam<const Kernels*> {
 protected:
  const Kernels& table() const { return *GetParam(); }

  std::vector<float> Normal(int64_t n, float spread = 1.0f) {
    std::normal_distribution<float> normal(0.0f, spread);
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = normal(random_);
    return values;
  }
  // Any bit pattern: subnormals, infinities, NaNs.
  std::vector<float> AnyBits(int64_t n) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = std::bit_cast<float>(static_cast<uint32_t>(random_()));
    return values;
  }
  std::vector<std::byte> RandomBytes(size_t n) {
    std::vector<std::byte> bytes(n);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random_());
    return bytes;
  }

  std::mt19937 random_{7};
};

TEST_P(TablesTest, IsComplete) {
  for (int i = 0; i < quant::kTypeCount; ++i) {
    const auto type = static_cast<Type>(i);
    EXPECT_EQ(table().decode[i] != nullptr, quant::IsWeight(type)) << quant::Info(type).name;
    EXPECT_EQ(table().unpack[i] != nullptr, quant::IsBlock(type)) << quant::Info(type).name;
    const bool vectors = table().name != "scalar";
    EXPECT_EQ(table().gemv_float[i] != nullptr, vectors && quant::IsFloat(type)) << quant::Info(type).name;
    EXPECT_EQ(table().gemv_block[i] != nullptr, vectors && quant::IsBlock(type)) << quant::Info(type).name;
  }
}

TEST_P(TablesTest, NamesTheLimitOfItsArithmetic) {
  for (const auto peak : {table().peak_int8, table().peak_float}) {
    ASSERT_EQ(peak != nullptr, table().name != "scalar");
    if (peak == nullptr) continue;
    EXPECT_GT(peak(1), 0);
    EXPECT_EQ(peak(1000), 1000 * peak(1));
  }
}

// Random bytes make scales of every kind, NaN and infinity among them.
TEST_P(TablesTest, DecodeAndUnpack) {
  for (int i = 0; i < quant::kTypeCount; ++i) {
    const auto type = static_cast<Type>(i);
    if (!quant::IsWeight(type)) continue;
    SCOPED_TRACE(quant::Info(type).name);
    for (const int blocks : {1, 2, 3, 7, 30}) {
      const int64_t n = int64_t{blocks} * quant::Info(type).block_elements;
      const std::vector<std::byte> bytes = RandomBytes(*quant::RowBytes(type, static_cast<uint64_t>(n)));
      std::vector<float> actual(static_cast<size_t>(n)), expected(actual.size());
      table().decode[i](bytes.data(), actual.data(), n);
      Scalar().decode[i](bytes.data(), expected.data(), n);
      testing::ExpectSameBits(actual, expected);
      if (!quant::IsBlock(type)) continue;
      testing::UnpackedRows a(1, n, GroupColumns(type), HasOffset(type)), b = a;
      table().unpack[i](bytes.data(), a.Row(0), n);
      Scalar().unpack[i](bytes.data(), b.Row(0), n);
      testing::ExpectSameBits(a.codes, b.codes);
      testing::ExpectSameBits(a.scale, b.scale);
      testing::ExpectSameBits(a.offset, b.offset);
    }
  }
}

TEST_P(TablesTest, QuantizeA8) {
  for (const float spread : {1.0f, 1e-30f, 1e-38f, 1e38f, 0.0f}) {
    std::vector<float> x = Normal(64 * 32, spread);
    for (size_t block = 0; block < 8; ++block) {  // exact ties: the largest is 127, the others end in .5
      for (size_t i = 0; i < 32; ++i) x[32 * block + i] = static_cast<float>(random_() % 253) - 126.5f;
      x[32 * block + random_() % 32] = -127.0f;
    }
    x[32 * 9] = std::numeric_limits<float>::quiet_NaN();
    x[32 * 10 + 31] = -std::numeric_limits<float>::infinity();
    testing::ActivationRows a(1, 64 * 32), b(1, 64 * 32);
    table().quantize_a8(x.data(), 64 * 32, a.Row(0));
    Scalar().quantize_a8(x.data(), 64 * 32, b.Row(0));
    testing::ExpectSameBits(a.codes, b.codes);
    testing::ExpectSameBits(a.scale, b.scale);
    testing::ExpectSameBits(a.dealt, b.dealt);
    testing::ExpectSameBits(a.lift32, b.lift32);
    testing::ExpectSameBits(a.lift16, b.lift16);
  }
}

// The smallest number of rows or tokens that a tile of any table treats apart is below these.
constexpr int64_t kManyRows = 53, kManyTokens = 18;

TEST_P(TablesTest, GemmF32) {
  for (const int64_t k : {1, 7, 8, 15, 16, 17, 31, 33, 64, 100}) {
    const int64_t w_stride = k + 3, x_stride = k + 1, y_stride = kManyRows + 2;
    const std::vector<float> w = Normal(kManyRows * w_stride), x = Normal(kManyTokens * x_stride);
    for (const int64_t rows : {1, 2, 3, 4, 5, 8, 19})
      for (const int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 11, 18}) {
        std::vector<float> a(static_cast<size_t>(kManyTokens * y_stride), 5.0f), b = a;
        table().gemm_f32(w.data(), w_stride, rows, x.data(), x_stride, tokens, k, a.data(), y_stride);
        Scalar().gemm_f32(w.data(), w_stride, rows, x.data(), x_stride, tokens, k, b.data(), y_stride);
        testing::ExpectSameBits(a, b);
      }
  }
}

// A sum of nothing but rounded-away negative products is -0 without padding and +0 with it.
TEST_P(TablesTest, PaddingIsAdded) {
  const std::vector<float> w(20, 1e-30f), x(20, -1e-30f);
  for (int64_t k = 1; k <= 20; ++k) {
    float a = 5, b = 5;
    table().gemm_f32(w.data(), 20, 1, x.data(), 20, 1, k, &a, 1);
    Scalar().gemm_f32(w.data(), 20, 1, x.data(), 20, 1, k, &b, 1);
    EXPECT_TRUE(testing::SameBits(a, b)) << k;
  }
}

TEST_P(TablesTest, GemmPanel) {
  for (const int64_t k : {32, 64, 96, 256, 544})
    for (const int64_t group : {16, 32})
      for (const bool with_offset : {false, true}) {
        testing::UnpackedRows w(kManyRows, k, group, with_offset);
        testing::ActivationRows x(kManyTokens, k);
        for (int8_t& code : w.codes) code = static_cast<int8_t>(random_());
        std::fill(w.codes.begin(), w.codes.begin() + k, int8_t{-128});  // the extreme sums
        w.scale = Normal(kManyRows * k / group);
        if (with_offset) w.offset = Normal(kManyRows * k / group);
        for (int64_t t = 0; t < kManyTokens; ++t) {
          std::vector<float> values = Normal(k);
          if (t == 0) std::fill(values.begin(), values.end(), -1.0f);  // codes -127
          if (t == 1) std::fill(values.begin(), values.end(), 1.0f);
          if (t == 2) values[0] = std::numeric_limits<float>::infinity();
          Scalar().quantize_a8(values.data(), k, x.Row(t));
        }
        for (const int64_t rows : {1, 7, 8, 9, 16, 17, 31, 32, 33, 53})
          for (const int64_t tokens : {1, 2, 3, 4, 5, 6, 7, 9, 10, 18}) {
            const int64_t y_stride = kManyRows + 1;
            std::vector<float> a(static_cast<size_t>(kManyTokens * y_stride), 5.0f), b = a;
            testing::MultiplyPanels(table(), w, rows, x, tokens, a.data(), y_stride);
            testing::MultiplyPanels(Scalar(), w, rows, x, tokens, b.data(), y_stride);
            testing::ExpectSameBits(a, b);
          }
      }
}

// One token with rows at any address: as unpacking or decoding and the product of several tokens give it.
TEST_P(TablesTest, Gemv) {
  for (int i = 0; i < quant::kTypeCount; ++i) {
    const auto type = static_cast<Type>(i);
    const bool is_block = quant::IsBlock(type);
    if ((is_block ? table().gemv_block[i] == nullptr : table().gemv_float[i] == nullptr)) continue;
    for (const int64_t k : {1, 15, 16, 17, 24, 32, 40, 64, 96, 224, 256, 288, 512, 544, 768, 1504}) {
      if (k % quant::Info(type).block_elements != 0) continue;
      SCOPED_TRACE(::testing::Message() << quant::Info(type).name << " " << k);
      constexpr int64_t kRows = 5;
      const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(k))) + 3;
      // Nothing beyond the last row, so that a sanitizer sees a read there.
      const std::vector<std::byte> bytes = RandomBytes(static_cast<size_t>(1 + kRows * row_bytes - 3));
      const std::byte* w = bytes.data() + 1;
      const std::vector<float> x = Normal(k);
      std::vector<float> actual(kRows + 1, 5.0f), expected = actual;
      if (is_block) {
        testing::ActivationRows rounded(1, k);
        Scalar().quantize_a8(x.data(), k, rounded.Row(0));
        testing::UnpackedRows rows(kRows, k, GroupColumns(type), HasOffset(type));
        for (int64_t n = 0; n < kRows; ++n) Scalar().unpack[i](w + n * row_bytes, rows.Row(n), k);
        testing::MultiplyPanels(Scalar(), rows, kRows, rounded, 1, expected.data(), kRows);
        table().gemv_block[i](w, row_bytes, kRows, rounded.Row(0), k, actual.data());
      } else {
        std::vector<float> rows(static_cast<size_t>(kRows * k));
        for (int64_t n = 0; n < kRows; ++n) Scalar().decode[i](w + n * row_bytes, rows.data() + n * k, k);
        Scalar().gemm_f32(rows.data(), k, kRows, x.data(), k, 1, k, expected.data(), kRows);
        table().gemv_float[i](w, row_bytes, kRows, x.data(), k, actual.data());
      }
      testing::ExpectSameBits(actual, expected);
    }
  }
}

TEST_P(TablesTest, ElementWise) {
  for (int64_t n = 1; n <= 70; ++n) {
    for (const std::vector<float>& x : {Normal(n, 3.0f), Normal(n, 100.0f), AnyBits(n)}) {
      SCOPED_TRACE(n);
      const std::vector<float> other = Normal(n);
      std::vector<float> a(x.size() + 1, 5.0f), b = a;
      table().gelu_mul(x.data(), other.data(), n, a.data());
      Scalar().gelu_mul(x.data(), other.data(), n, b.data());
      testing::ExpectSameBits(a, b);

      table().rms_norm(x.data(), other.data(), 1e-6f, n, a.data());
      Scalar().rms_norm(x.data(), other.data(), 1e-6f, n, b.data());
      testing::ExpectSameBits(a, b);
      table().rms_norm(x.data(), nullptr, 1e-6f, n, a.data());
      Scalar().rms_norm(x.data(), nullptr, 1e-6f, n, b.data());
      testing::ExpectSameBits(a, b);

      a = b = Normal(n + 1);
      table().add_rms_norm(x.data(), other.data(), 1e-6f, n, a.data());
      Scalar().add_rms_norm(x.data(), other.data(), 1e-6f, n, b.data());
      testing::ExpectSameBits(a, b);

      std::copy(x.begin(), x.end(), a.begin());
      std::copy(x.begin(), x.end(), b.begin());
      table().soft_cap(a.data(), n, 30.0f);
      Scalar().soft_cap(b.data(), n, 30.0f);
      testing::ExpectSameBits(a, b);

      std::vector<uint16_t> a16(x.size() + 1, uint16_t{5}), b16 = a16;
      table().to_f16(x.data(), n, a16.data());
      Scalar().to_f16(x.data(), n, b16.data());
      testing::ExpectSameBits(a16, b16);
    }
  }
}

TEST_P(TablesTest, ExpEverywhere) {
  // Softmax of (0, x) walks exp over the whole negative range; gelu the other one.
  for (float x = -120.0f; x < 100.0f; x += 0.0137f) {
    std::vector<float> a(kKeyBlock, x), b = a;
    a[0] = b[0] = 0.0f;
    testing::Part part_a(1, 1), part_b(1, 1);
    table().attention_softmax(a.data(), 1, 3, nullptr, nullptr, part_a.View());
    Scalar().attention_softmax(b.data(), 1, 3, nullptr, nullptr, part_b.View());
    testing::ExpectSameBits(a, b);
    testing::ExpectSameBits(part_a.sum, part_b.sum);
    const std::vector<float> z = {x / 5.0f}, one = {1.0f};
    table().gelu_mul(z.data(), one.data(), 1, a.data());
    Scalar().gelu_mul(z.data(), one.data(), 1, b.data());
    testing::ExpectSameBits(a, b);
  }
}

TEST_P(TablesTest, AttentionScoresAndMix) {
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kI8})
    for (const int64_t d : {1, 8, 20, 64, 256})
      for (const int64_t n : {1, 2, 3, 65, 128})
        for (const int64_t heads : {1, 2, 3, 4, 8, 13, 32}) {
          SCOPED_TRACE(::testing::Message() << "d " << d << " n " << n << " heads " << heads);
          const int64_t stride = d + 5;
          const std::vector<float> q = Normal(heads * d), kv = Normal(n * stride);
          std::vector<uint16_t> kv16(kv.size());
          Scalar().to_f16(kv.data(), static_cast<int64_t>(kv.size()), kv16.data());
          std::vector<int8_t> kv8(kv.size());
          for (int8_t& code : kv8) code = static_cast<int8_t>(random_());
          const void* data = type == KvType::kF32   ? static_cast<const void*>(kv.data())
                             : type == KvType::kF16 ? static_cast<const void*>(kv16.data())
                                                    : kv8.data();
          const KvRows rows = {data, type, stride};

          std::vector<float> a(static_cast<size_t>(heads * kKeyBlock), 0.25f), b = a;
          table().attention_scores(q.data(), heads, d, rows, n, a.data());
          Scalar().attention_scores(q.data(), heads, d, rows, n, b.data());
          testing::ExpectSameBits(a, b);

          std::vector<float> mix_a(static_cast<size_t>(heads * d + 1), 5.0f), mix_b = mix_a;
          table().attention_mix(b.data(), heads, d, rows, n, mix_a.data());
          Scalar().attention_mix(b.data(), heads, d, rows, n, mix_b.data());
          testing::ExpectSameBits(mix_a, mix_b);
        }
}

// Blocks of all lengths, one after the other, scores of all sizes and of any bits.
TEST_P(TablesTest, AttentionSoftmaxAndMerge) {
  for (const bool any_bits : {false, true})
    for (const bool scaled : {false, true})
      for (const int64_t d : {1, 20, 64}) {
        constexpr int64_t kHeads = 3;
        testing::Part a(kHeads, d), b = a;
        for (testing::Part* merged : {&a, &b}) {
          std::fill(merged->max.begin(), merged->max.end(), -std::numeric_limits<float>::infinity());
          std::fill(merged->sum.begin(), merged->sum.end(), 0.0f);
          std::fill(merged->mix.begin(), merged->mix.end(), 0.0f);
        }
        for (const int64_t n : {1, 7, 8, 15, 16, 17, 31, 33, 100, 127, 128}) {
          SCOPED_TRACE(::testing::Message() << "d " << d << " n " << n << " scaled " << scaled);
          const int64_t scores = kHeads * kKeyBlock;
          std::vector<float> p_a = any_bits ? AnyBits(scores) : Normal(scores, 20.0f), p_b = p_a;
          const std::vector<float> key_scale = Normal(n), value_scale = Normal(n);
          testing::Part part_a(kHeads, d), part_b = part_a;
          part_a.mix = part_b.mix = Normal(kHeads * d);
          const auto step = [&](const Kernels& kernels, std::vector<float>& p, testing::Part& part,
                                testing::Part& merged) {
            kernels.attention_softmax(p.data(), kHeads, n, scaled ? key_scale.data() : nullptr,
                                      scaled ? value_scale.data() : nullptr, part.View());
            kernels.attention_merge(part.View(), kHeads, d, merged.View());
          };
          step(table(), p_a, part_a, a);
          step(Scalar(), p_b, part_b, b);
          testing::ExpectSameBits(p_a, p_b);
          testing::ExpectSameBits(part_a.max, part_b.max);
          testing::ExpectSameBits(part_a.sum, part_b.sum);
          testing::ExpectSameBits(a.max, b.max);
          testing::ExpectSameBits(a.sum, b.sum);
          testing::ExpectSameBits(a.mix, b.mix);
        }
      }
}

INSTANTIATE_TEST_SUITE_P(Tables, TablesTest, ::testing::ValuesIn(testing::TablesToTest()), testing::TableName);

TEST(DispatchTest, SelectsByNameAndBestByDefault) {
  EXPECT_EQ(SelectKernels("scalar"), &Scalar());
  EXPECT_EQ(SelectKernels("sse9"), nullptr);
  const Kernels* best = SelectKernels();
  ASSERT_NE(best, nullptr);
  EXPECT_TRUE(Supported(*best));
  EXPECT_EQ(SelectKernels(best->name), best);
  for (const Kernels* table : AllKernels()) EXPECT_EQ(SelectKernels(table->name), Supported(*table) ? table : nullptr);
}

}  // namespace
}  // namespace carat::kernels
