#include "base/byte_size.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace carat {
namespace {

TEST(ParseByteSize, ReadsUnits) {
  const struct {
    const char* text;
    uint64_t bytes;
  } kCases[] = {{"1500MB", 1'500'000'000},
                {"1.5GB", 1'500'000'000},
                {"1.5 gb", 1'500'000'000},
                {"2TB", 2'000'000'000'000},
                {"3kB", 3000},
                {"17B", 17},
                {"0B", 0},
                {"1500M", 1'572'864'000},
                {"1.5G", 1'610'612'736},
                {"1.5GiB", 1'610'612'736},
                {"64k", 65536},
                {"64KiB", 65536},
                {"1T", 1'099'511'627'776},
                {"007MiB", 7'340'032},
                {"0.001kB", 1},
                {"0.0019kB", 1},
                {"0.3333333333333333333333333333333333333333GB", 333'333'333},
                {"1.99999999999999999999999999KB", 1999},
                {"8388607T", 9'223'370'937'343'148'032u}};
  for (const auto& it : kCases) {
    const auto bytes = ParseByteSize(it.text);
    ASSERT_TRUE(bytes) << it.text << ": " << bytes.error().message;
    EXPECT_EQ(*bytes, it.bytes) << it.text;
  }
}

TEST(ParseByteSize, RefusesTheRestWithAReason) {
  const struct {
    const char* text;
    const char* reason;
  } kCases[] = {{"", "is no amount"},
                {"MB", "is no amount"},
                {"-1MB", "is no amount"},
                {".5GB", "is no amount"},
                {"1.GB", "is no amount"},
                {"1.2.3GB", "is no amount"},
                {"1e9B", "has a unit"},
                {"1500", "has no unit"},
                {"1500 ", "has no unit"},
                {"1500MBs", "has a unit"},
                {"1500 M B", "has a unit"},
                {"1,5GB", "has a unit"},
                {"1PB", "has a unit"},
                {"1kib2", "has a unit"},
                {"9223372036854775808B", "more than any machine"},
                {"8388608T", "more than any machine"},
                {"99999999999999999999999999999999B", "more than any machine"}};
  for (const auto& it : kCases) {
    const auto bytes = ParseByteSize(it.text);
    ASSERT_FALSE(bytes) << it.text << " is " << *bytes;
    EXPECT_EQ(bytes.error().code, ErrorCode::kUsage);
    EXPECT_NE(bytes.error().message.find(it.reason), std::string::npos) << bytes.error().message;
    EXPECT_NE(bytes.error().message.find("1500MB"), std::string::npos) << "what would work";
  }
}

TEST(ParseByteSize, AgreesWithArithmeticOnDecimals) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t whole = random() % 5000, millionths = random() % 1'000'000;
    std::string digits = std::to_string(millionths);
    digits.insert(0, 6 - digits.size(), '0');
    const std::string text = std::to_string(whole) + "." + digits;
    EXPECT_EQ(ParseByteSize(text + "MB").value(), whole * 1'000'000 + millionths) << text;
    EXPECT_EQ(ParseByteSize(text + "GiB").value(), (whole << 30) + (millionths << 30) / 1'000'000) << text;
  }
}

TEST(MegabyteText, RoundsUpAndGroupsDigits) {
  EXPECT_EQ(MegabyteText(0), "0.0 MB");
  EXPECT_EQ(MegabyteText(1), "0.1 MB");
  EXPECT_EQ(MegabyteText(100'000), "0.1 MB");
  EXPECT_EQ(MegabyteText(999'900'001), "1,000.0 MB");
  EXPECT_EQ(MegabyteText(1'405'800'000), "1,405.8 MB");
  EXPECT_EQ(MegabyteText(12'345'678'900'000), "12,345,678.9 MB");
}

}  // namespace
}  // namespace carat
