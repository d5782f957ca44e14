#include "base/mapped_file.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>

namespace carat {
namespace {

std::filesystem::path Write(const char* name, const std::string& content) {
  const auto path = std::filesystem::path(testing::TempDir()) / name;
  std::ofstream(path, std::ios::binary) << content;
  return path;
}

TEST(MappedFile, MapsAndReads) {
  auto file = MappedFile::Open(Write("mapped", "0123456789"));
  ASSERT_TRUE(file);
  ASSERT_EQ(file->bytes().size(), 10u);
  EXPECT_EQ(std::memcmp(file->bytes().data(), "0123456789", 10), 0);
  std::byte out[4];
  ASSERT_TRUE(file->ReadAt(6, out));
  EXPECT_EQ(std::memcmp(out, "6789", 4), 0);
  MappedFile moved = std::move(*file);
  EXPECT_EQ(moved.bytes().size(), 10u);
  EXPECT_TRUE(file->bytes().empty());
}

TEST(MappedFile, RefusesReadsBeyondTheEnd) {
  auto file = MappedFile::Open(Write("mapped", "0123456789"));
  ASSERT_TRUE(file);
  std::byte out[4];
  EXPECT_EQ(file->ReadAt(7, out).error().code, ErrorCode::kBadModel);
  EXPECT_EQ(file->ReadAt(~0ull, out).error().code, ErrorCode::kBadModel);
}

TEST(MappedFile, NamesWhatItCannotOpen) {
  auto missing = MappedFile::Open("/no/such/file");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  EXPECT_NE(missing.error().message.find("/no/such/file"), std::string::npos);
  EXPECT_FALSE(MappedFile::Open(testing::TempDir()));
  auto empty = MappedFile::Open(Write("empty", ""));
  ASSERT_TRUE(empty);
  EXPECT_TRUE(empty->bytes().empty());
}

}  // namespace
}  // namespace carat
