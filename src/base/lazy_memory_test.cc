#include "base/lazy_memory.h"

#include <gtest/gtest.h>

#include <cstring>
#include <utility>

namespace carat {
namespace {

TEST(LazyMemory, IsResidentWhereItWasTouched) {
  auto memory = LazyMemory::Allocate(size_t{64} << 20, "a test");
  ASSERT_TRUE(memory);
  EXPECT_EQ(memory->resident_bytes(), 0u);
  EXPECT_EQ(memory->size(), size_t{64} << 20);
  memory->data()[12345] = std::byte{1};
  EXPECT_GT(memory->resident_bytes(), 0u);
  EXPECT_LE(memory->resident_bytes(), size_t{2} << 20);
  EXPECT_EQ(memory->data()[12346], std::byte{0});
}

TEST(LazyMemory, BeginsAtALargePage) {
  for (const size_t bytes : {size_t{1}, size_t{5000}, size_t{5} << 20}) {
    auto memory = LazyMemory::Allocate(bytes, "a test", LazyMemory::Pages::kLarge);
    ASSERT_TRUE(memory);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(memory->data()) % (size_t{2} << 20), 0u);
    std::memset(memory->data(), 1, bytes);
  }
}

TEST(LazyMemory, Moves) {
  auto memory = LazyMemory::Allocate(5000, "a test");
  ASSERT_TRUE(memory);
  std::byte* data = memory->data();
  LazyMemory other = std::move(*memory);
  EXPECT_EQ(other.data(), data);
  LazyMemory third;
  EXPECT_EQ(third.size(), 0u);
  third = std::move(other);
  EXPECT_EQ(third.data(), data);
  third.data()[4999] = std::byte{1};
}

TEST(LazyMemory, NothingAndTooMuch) {
  const auto nothing = LazyMemory::Allocate(0, "a test");
  ASSERT_TRUE(nothing);
  EXPECT_EQ(nothing->resident_bytes(), 0u);
  const auto too_much = LazyMemory::Allocate(size_t{1} << 60, "a test");
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, ErrorCode::kDoesNotFit);
  EXPECT_NE(too_much.error().message.find("no memory for a test of"), std::string::npos);
}

}  // namespace
}  // namespace carat
