#include "quant/interleave.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

namespace carat::quant {
namespace {

using Bytes = std::vector<std::byte>;

Bytes Random(size_t size) {
  std::mt19937 random(1);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TEST(Interleave, KeepsEveryRowOfEveryType) {
  for (int i = 0; i < kTypeCount; ++i) {
    const auto type = static_cast<Type>(i);
    if (!IsBlock(type) && !IsCodes(type)) continue;
    SCOPED_TRACE(Info(type).name);
    const BlockParts parts = PartsOf(type);
    EXPECT_EQ(parts.words * 4 + (parts.half >= 0 ? 2 : 0), parts.bytes);
    for (const int64_t blocks : {1, 2, 3, 7, 8, 9, 17}) {
      const int64_t row_bytes = blocks * parts.bytes;
      const Bytes rows = Random(static_cast<size_t>(kInterleavedRows * row_bytes));
      Bytes woven(rows.size()), row(static_cast<size_t>(row_bytes));
      Interleave(parts, blocks, rows.data(), row_bytes, woven.data());
      for (int64_t r = 0; r < kInterleavedRows; ++r) {
        CopyInterleavedRow(parts, blocks, woven.data(), r, row.data());
        EXPECT_TRUE(std::equal(row.begin(), row.end(), rows.begin() + r * row_bytes)) << r;
      }
    }
  }
}

// The layout that the head of interleave.h describes.
TEST(Interleave, HasHalvesBeforeWords) {
  const BlockParts parts = PartsOf(Type::kQ4_0);
  constexpr int64_t kBlocks = 9;  // a stretch of eight, and one
  const int64_t row_bytes = kBlocks * parts.bytes;
  const Bytes rows = Random(static_cast<size_t>(kInterleavedRows * row_bytes));
  Bytes woven(rows.size());
  Interleave(parts, kBlocks, rows.data(), row_bytes, woven.data());
  const auto block = [&](int64_t row, int64_t b) { return rows.data() + row * row_bytes + b * parts.bytes; };
  EXPECT_EQ(std::memcmp(woven.data() + (3 * 16 + 5) * 2, block(5, 3), 2), 0);  // d of block 3 of row 5
  const std::byte* words = woven.data() + 8 * 16 * 2;
  EXPECT_EQ(std::memcmp(words + ((3 * 4 + 2) * 16 + 5) * 4, block(5, 3) + 2 + 2 * 4, 4), 0);  // word 2 of the same
  const std::byte* last = words + 8 * 4 * 16 * 4;
  EXPECT_EQ(std::memcmp(last + 5 * 2, block(5, 8), 2), 0);
  EXPECT_EQ(std::memcmp(last + 16 * 2 + (1 * 16 + 5) * 4, block(5, 8) + 2 + 4, 4), 0);
}

}  // namespace
}  // namespace carat::quant
