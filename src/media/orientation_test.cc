#include "media/orientation.h"

#include <gtest/gtest.h>

#include <string>

namespace carat::media {
namespace {

using namespace std::string_literals;

int Orientation(const std::string& exif) { return ExifOrientation(std::as_bytes(std::span(exif))); }

// A directory of two entries, the second of which is the orientation.
const std::string kLittle =
    "II*\0\x08\0\0\0\x02\0"s + "\x0f\x01\x02\0\x04\0\0\0abc\0"s + "\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"s + "\0\0\0\0"s;
const std::string kBig = "MM\0*\0\0\0\x08\0\x02"s + "\x01\x0f\0\x02\0\0\0\x04"s + "abc\0"s +
                         "\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"s + "\0\0\0\0"s;

TEST(ExifOrientation, ReadsBothByteOrdersWithAndWithoutPrefix) {
  EXPECT_EQ(Orientation(kLittle), 6);
  EXPECT_EQ(Orientation(kBig), 8);
  EXPECT_EQ(Orientation("Exif\0\0"s + kLittle), 6);
  EXPECT_EQ(Orientation("Exif\0\0"s + kBig), 8);
}

TEST(ExifOrientation, ReadsLongNumbersToo) {
  std::string exif = kBig;
  exif.replace(22, 12, "\x01\x12\0\x04\0\0\0\x01\0\0\0\x03"s);
  EXPECT_EQ(Orientation(exif), 3);
}

TEST(ExifOrientation, TakesWhatMakesNoSenseAsStored) {
  for (const char value : {'\0', '\x09', '\xff'}) {
    std::string exif = kLittle;
    exif[30] = value;
    EXPECT_EQ(Orientation(exif), 1) << static_cast<int>(value);
  }
  std::string other_type = kLittle;
  other_type[24] = 5;
  EXPECT_EQ(Orientation(other_type), 1);
  std::string other_tag = kLittle;
  other_tag[22] = 0x13;
  EXPECT_EQ(Orientation(other_tag), 1);
  std::string far_directory = kLittle;
  far_directory.replace(4, 4, "\xff\xff\xff\xff");
  EXPECT_EQ(Orientation(far_directory), 1);
  std::string many_entries = other_tag;
  many_entries.replace(8, 2, "\xff\xff");
  EXPECT_EQ(Orientation(many_entries), 1);
  EXPECT_EQ(Orientation("XX*\0\x08\0\0\0"s), 1);
}

TEST(ExifOrientation, ReadsNothingBehindTheEnd) {
  constexpr size_t kNeeded = 32;  // all but the end of the value's field
  for (size_t size = 0; size < kLittle.size(); ++size)
    EXPECT_EQ(Orientation(kLittle.substr(0, size)), size < kNeeded ? 1 : 6) << size;
}

// A picture of grey values, one letter a pixel.
Image Letters(int64_t width, int64_t height, const std::string& letters) {
  Image image{.width = width, .height = height, .rgb = {}};
  for (const char letter : letters) image.rgb.insert(image.rgb.end(), 3, static_cast<uint8_t>(letter));
  return image;
}

TEST(Upright, TurnsAndMirrors) {
  //  a b c
  //  d e f
  const Image stored = Letters(3, 2, "abcdef");
  const struct {
    int orientation;
    int64_t width, height;
    const char* letters;
  } cases[] = {{1, 3, 2, "abcdef"}, {2, 3, 2, "cbafed"}, {3, 3, 2, "fedcba"}, {4, 3, 2, "defabc"}, {5, 2, 3, "adbecf"},
               {6, 2, 3, "daebfc"}, {7, 2, 3, "fcebda"}, {8, 2, 3, "cfbead"}, {0, 3, 2, "abcdef"}, {9, 3, 2, "abcdef"}};
  for (const auto& wanted : cases) {
    const Image upright = Upright(stored, wanted.orientation);
    EXPECT_EQ(upright.width, wanted.width) << wanted.orientation;
    EXPECT_EQ(upright.height, wanted.height) << wanted.orientation;
    EXPECT_EQ(upright.rgb, Letters(wanted.width, wanted.height, wanted.letters).rgb) << wanted.orientation;
  }
}

}  // namespace
}  // namespace carat::media
