#include "base/resident.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

namespace carat {
namespace {

TEST(ResidentBytes, CountsThePagesThatWereTouched) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const size_t size = 20000 * page;  // more than are asked for at a time
  void* memory = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  ASSERT_NE(memory, MAP_FAILED);
  ::madvise(memory, size, MADV_NOHUGEPAGE);
  auto* bytes = static_cast<char*>(memory);
  EXPECT_EQ(ResidentBytes(bytes, size), 0u);
  EXPECT_EQ(ResidentBytes(bytes, 0), 0u);
  std::memset(bytes + 3 * page, 1, 2 * page);
  bytes[19999 * page] = 1;
  EXPECT_EQ(ResidentBytes(bytes, size), 3 * page);
  EXPECT_EQ(ResidentBytes(bytes + 3 * page + 100, 200), 200u);
  EXPECT_EQ(ResidentBytes(bytes + 3 * page - 50, 80), 30u);
  EXPECT_EQ(ResidentBytes(bytes + 5 * page, 10 * page), 0u);
  ::munmap(memory, size);
}

TEST(ReleaseMapped, LetsGoOfWholePagesAndLosesNothing) {
  const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  const int file = ::memfd_create("resident_test", 0);
  ASSERT_GE(file, 0);
  ASSERT_EQ(::ftruncate(file, static_cast<off_t>(8 * page)), 0);
  void* memory = ::mmap(nullptr, 8 * page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ASSERT_NE(memory, MAP_FAILED);
  auto* bytes = static_cast<char*>(memory);
  std::memset(bytes, 7, 8 * page);
  ReleaseMapped(bytes + 1, 3 * page);  // two whole ones
  EXPECT_EQ(ResidentBytes(bytes, 8 * page), 6 * page);
  ReleaseMapped(bytes + 5 * page + 1, page);  // none
  EXPECT_EQ(ResidentBytes(bytes, 8 * page), 6 * page);
  EXPECT_EQ(bytes[page + 5], 7);
  ::munmap(memory, 8 * page);
  ::close(file);
}

}  // namespace
}  // namespace carat
