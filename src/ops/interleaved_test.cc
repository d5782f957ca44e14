#include "ops/interleaved.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/resident.h"
#include "base/thread_pool.h"
#include "kernels/emulated_tiles.h"
#include "kernels/expect.h"
#include "kernels/testing.h"
#include "ops/linear.h"

namespace carat::ops {
namespace {

// A matrix of random bytes in a mapped file.
class MatrixFile {
 public:
  MatrixFile(quant::Type type, int64_t rows, int64_t cols, bool any_bits) {
    const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, static_cast<uint64_t>(cols)));
    std::mt19937_64 random(3);
    std::string bytes(static_cast<size_t>(rows * row_bytes), '\0');
    for (char& byte : bytes) byte = static_cast<char>(any_bits ? random() : random() & 0x3b);  // else small scales
    path_ = ::testing::TempDir() + "interleaved_" + std::to_string(::getpid());
    std::ofstream(path_, std::ios::binary) << bytes;
    file_ = *MappedFile::Open(path_);
    matrix_ = {.type = type, .rows = rows, .cols = cols, .data = file_.bytes().data(), .row_bytes = row_bytes};
  }
  ~MatrixFile() { std::filesystem::remove(path_); }
  MatrixFile(const MatrixFile&) = delete;
  MatrixFile& operator=(const MatrixFile&) = delete;
  Matrix& matrix() { return matrix_; }

 private:
  std::string path_;
  MappedFile file_;
  Matrix matrix_;
};

std::vector<float> Products(const Context& context, const Matrix& w, const std::vector<float>& x, int64_t tokens) {
  Linear linear(context);
  linear.AllowCopies(int64_t{1} << 20);
  linear.SetInput(x.data(), tokens, w.cols);
  std::vector<float> y(static_cast<size_t>(tokens * w.rows));
  linear.Multiply(w, y.data());
  return y;
}

std::vector<float> Normal(int64_t count, std::normal_distribution<float>& normal, std::mt19937& random) {
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

const std::byte* AsBytes(const std::vector<float>& values) { return reinterpret_cast<const std::byte*>(values.data()); }

// Do these kernels multiply such rows woven together?
bool HasProducts(const kernels::Kernels& kernels, int type, bool codes) {
  if (codes) return kernels.gemv_codes_interleaved[type] != nullptr;
  return (kernels.bf16 != nullptr ? kernels.bf16->gemv_interleaved[type] != nullptr
                                  : kernels.gemv_interleaved[type] != nullptr);
}

class InterleavedTest : public ::testing::TestWithParam<const kernels::Kernels*> {};

TEST_P(InterleavedTest, GivesTheSameBits) {
  std::mt19937 random(4);
  std::normal_distribution<float> normal;
  for (int i = 0; i < quant::kTypeCount; ++i) {
    const auto type = static_cast<quant::Type>(i);
    const bool codes = type == quant::Type::kC8 || type == quant::Type::kC4 || type == quant::Type::kC2;
    if (!quant::IsBlock(type) && !codes) continue;
    SCOPED_TRACE(quant::Info(type).name);
    const int64_t block = codes ? 16 : quant::Info(type).block_elements;
    for (const int threads : {1, 3})
      for (const int64_t cols : {block, 3 * block, 8 * block, 9 * block - (type == quant::Type::kC2 ? 3 : 0)})
        for (const int64_t rows : {16, 48, 528}) {
          if (rows == 528 && cols != 3 * block) continue;  // two strips; slow
          MatrixFile file(type, rows, cols, /*any_bits=*/rows == 48 || codes);
          ThreadPool pool(threads);
          const Context context = {.kernels = GetParam(), .pool = &pool};
          const std::vector<float> x = Normal(7 * cols, normal, random), scales = Normal(rows, normal, random);
          Matrix plain = file.matrix();
          if (codes) {
            plain.scales = {.type = quant::Type::kF32, .group = cols, .data = AsBytes(scales), .row_bytes = 4};
            plain.input_scale = 0.03f;
            plain.output_scale = rows == 48 ? 0.5f : 0.0f;
          }
          const std::vector<float> one = Products(context, plain, x, 1), seven = Products(context, plain, x, 7);

          Matrix copied = plain;
          Matrix* const matrices[] = {&copied};
          const auto weights = InterleavedWeights::Create(*context.kernels, matrices);
          ASSERT_TRUE(weights);
          kernels::testing::ExpectSameBits(Products(context, copied, x, 7), seven);  // not yet copied
          kernels::testing::ExpectSameBits(Products(context, copied, x, 1), one);
          ASSERT_EQ(copied.copy != nullptr, HasProducts(*context.kernels, i, codes));
          if (copied.copy == nullptr) continue;
          EXPECT_EQ(copied.copy->filled_rows(), rows);
          EXPECT_LE(ResidentBytes(copied.data, static_cast<size_t>(rows * copied.row_bytes)), size_t{128} << 10);
          kernels::testing::ExpectSameBits(Products(context, copied, x, 1), one);
          kernels::testing::ExpectSameBits(Products(context, copied, x, 7), seven);
          std::vector<std::byte> row(static_cast<size_t>(copied.row_bytes));
          for (const int64_t r : {int64_t{0}, int64_t{13}, rows - 1}) {
            copied.copy->CopyRow(r, row.data());
            EXPECT_TRUE(std::equal(row.begin(), row.end(), copied.row(r))) << r;
          }
        }
  }
}

// A budget of less than the matrix copies a part of it, which is used at once.
TEST_P(InterleavedTest, FillsBitByBit) {
  MatrixFile file(quant::Type::kQ8_0, 1536, 64, /*any_bits=*/false);
  ThreadPool pool(2);
  const Context context = {.kernels = GetParam(), .pool = &pool};
  std::vector<float> x(3 * 64, 0.5f);
  const std::vector<float> one = Products(context, file.matrix(), x, 1), three = Products(context, file.matrix(), x, 3);
  Matrix copied = file.matrix();
  Matrix* const matrices[] = {&copied};
  const auto weights = InterleavedWeights::Create(*GetParam(), matrices);
  ASSERT_TRUE(weights);
  if (copied.copy == nullptr) return;  // a table that has no kernels for it
  for (const int64_t filled : {512, 1024, 1536}) {
    EXPECT_EQ(copied.copy->Fill(pool, 1), 512 * 68);
    EXPECT_EQ(copied.copy->filled_rows(), filled);
    kernels::testing::ExpectSameBits(Products(context, copied, x, 3), three);
  }
  EXPECT_EQ(copied.copy->Fill(pool, 1), 0);
  EXPECT_EQ(weights->size_bytes(), weights->filled_bytes());
  kernels::testing::ExpectSameBits(Products(context, copied, x, 1), one);
}

TEST_P(InterleavedTest, LeavesOtherMatricesAlone) {
  MatrixFile odd(quant::Type::kQ4_0, 24, 64, false), floats(quant::Type::kF32, 16, 64, false);
  Matrix* const matrices[] = {&odd.matrix(), &floats.matrix()};
  const auto weights = InterleavedWeights::Create(*GetParam(), matrices);
  ASSERT_TRUE(weights);
  EXPECT_EQ(weights->size_bytes(), 0u);
  EXPECT_EQ(odd.matrix().copy, nullptr);
  EXPECT_EQ(floats.matrix().copy, nullptr);
}

INSTANTIATE_TEST_SUITE_P(Tables, InterleavedTest, ::testing::ValuesIn(kernels::testing::TablesToTest()),
                         kernels::testing::TableName);
INSTANTIATE_TEST_SUITE_P(Emulated, InterleavedTest, ::testing::Values(&kernels::testing::EmulatedAmx()),
                         kernels::testing::TableName);

}  // namespace
}  // namespace carat::ops
