#include "media/image.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "tests/support/pictures.h"

namespace carat::media {
namespace {

using namespace std::string_literals;
using testing_support::FileBytes;
using testing_support::OwnPictures;

std::string Fault(const std::string& bytes, const ImageLimits& limits = {}) {
  const Result<Image> image = DecodeImage(std::as_bytes(std::span(bytes)), "p", limits);
  if (image) return "";
  EXPECT_EQ(image.error().code, ErrorCode::kBadMedia);
  EXPECT_TRUE(image.error().message.starts_with("p: ")) << image.error().message;
  return image.error().message;
}

std::string Bytes(const char* name) {
  const std::vector<std::byte> bytes = FileBytes(OwnPictures() / name);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

#define EXPECT_FAULT(bytes, part) EXPECT_NE(Fault(bytes).find(part), std::string::npos) << "'" << Fault(bytes) << "'"

TEST(DecodeImage, GoesByTheBytesAndNotTheName) {
  const auto path = std::filesystem::path(testing::TempDir()) / "really-a-png.jpg";
  std::ofstream(path, std::ios::binary) << Bytes("png-rgb.png");
  const Result<Image> image = ReadImage(path);
  ASSERT_TRUE(image) << image.error().message;
  EXPECT_EQ(image->width, 23);
  EXPECT_EQ(image->height, 17);
}

TEST(DecodeImage, SaysHowFarItGot) {
  const auto cut = [](const char* name, size_t size) { return Bytes(name).substr(0, size); };
  EXPECT_FAULT(cut("png-rgb.png", 20), "damaged PNG, in its header: the file ends too early");
  EXPECT_FAULT(cut("png-rgb.png", Bytes("png-rgb.png").size() - 20), "of 17: the file ends too early");
  EXPECT_FAULT(cut("jpeg-444.jpg", 20), "damaged JPEG, in its header: Premature end");
  EXPECT_FAULT(cut("jpeg-444.jpg", Bytes("jpeg-444.jpg").size() - 30), "of 17: Premature end");
  EXPECT_FAULT(cut("jpeg-progressive.jpg", Bytes("jpeg-progressive.jpg").size() - 20), "in scan ");
  EXPECT_FAULT(cut("webp-lossy.webp", 50), "damaged WebP: it ends after 50 bytes");
  EXPECT_FAULT(cut("gif-plain.gif", 300), "damaged GIF, after row ");
  EXPECT_FAULT(cut("bmp-24.bmp", 54 + 72 * 3 + 71), "damaged BMP: it ends after row 3 of 17");
}

TEST(DecodeImage, RefusesWhatIsNone) {
  EXPECT_FAULT("", "an empty file is no picture");
  EXPECT_FAULT("Dear Sir or Madam,", "neither JPEG, PNG, WebP, GIF nor BMP, and ");
  EXPECT_FAULT("RIFF\x10\0\0\0WAVEfmt "s, "neither JPEG");
  EXPECT_FAULT("\xFF\xD8\xFF"s, "damaged JPEG");
  EXPECT_FAULT("GIF89a"s, "damaged GIF, in its header");
}

TEST(DecodeImage, ChecksItsLimitsBeforeDecoding) {
  const std::string png = Bytes("png-rgb.png");
  EXPECT_EQ(Fault(png, {.bytes = png.size(), .pixels = 23 * 17}), "");
  EXPECT_NE(Fault(png, {.bytes = png.size() - 1}).find("bytes, more than the limit of"), std::string::npos);
  for (const char* name : {"png-rgb.png", "jpeg-420.jpg", "webp-lossy.webp", "gif-plain.gif", "bmp-24.bmp"}) {
    // Cut short too: the size in the header is what is complained of, and nothing behind it was looked at.
    const std::string message = Fault(Bytes(name), {.pixels = 23 * 17 - 1});
    EXPECT_NE(message.find("23 by 17 pixels, more than the limit of 390"), std::string::npos) << name << message;
  }
}

TEST(DecodeImage, RefusesHugeSizesOfTinyFiles) {
  std::string bmp = Bytes("bmp-24.bmp");
  bmp.replace(18, 8, "\xff\xff\xff\x7f\xff\xff\xff\x7f"s);
  EXPECT_FAULT(bmp, "a picture of 2147483647 by 2147483647 pixels, more than the limit");
  bmp.replace(22, 4, "\0\0\0\x80"s);  // the height that has no positive twin
  EXPECT_FAULT(bmp, "a picture of 2147483647 by 2147483648 pixels, more than the limit");
  bmp.replace(18, 4, "\0\0\0\0"s);
  EXPECT_FAULT(bmp, "a picture of 0 by 2147483648 pixels");
  std::string gif = Bytes("gif-plain.gif");
  gif.replace(6, 4, "\xff\xff\xff\xff"s);
  EXPECT_FAULT(gif, "a picture of 65535 by 65535 pixels, more than the limit");
}

TEST(DecodeImage, RefusesBrokenBitmaps) {
  const std::string bmp = Bytes("bmp-565.bmp");
  const auto with = [](std::string bytes, size_t offset, const std::string& part) {
    return bytes.replace(offset, part.size(), part);
  };
  EXPECT_FAULT(bmp.substr(0, 20), "it ends in its header");
  EXPECT_FAULT(bmp.substr(0, 60), "it ends in its header");
  EXPECT_FAULT(with(bmp, 14, "\x20"s), "its header has 32 bytes");
  EXPECT_FAULT(with(bmp, 28, "\x0f"s), "a pixel has 15 bits");
  EXPECT_FAULT(with(bmp, 30, "\x01"s), "compression 1, which Carat does not read");
  EXPECT_FAULT(with(bmp, 54, "\x01\xf8"s), "the bits of a colour do not stand together");
  EXPECT_FAULT(with(bmp, 10, "\xff\xff\xff\xff"s), "it ends after row 0 of 17");
  const std::string palette = Bytes("bmp-8.bmp");
  EXPECT_FAULT(palette.substr(0, 100), "it ends in its palette");
  EXPECT_FAULT(with(palette, 46, "\x02\0"s), "a colour that is not in the palette");
}

// A small progressive file can order any number of passes over a large picture.
TEST(DecodeImage, RefusesEndlessScans) {
  const std::string whole = Bytes("jpeg-progressive.jpg");
  const size_t first = whole.find("\xFF\xDA"s);
  ASSERT_NE(first, std::string::npos);
  const size_t second = whole.find("\xFF\xC4"s, first);  // the tables of the second scan
  ASSERT_NE(second, std::string::npos);
  const size_t scan = whole.find("\xFF\xDA"s, second);
  const size_t end = whole.find("\xFF\xC4"s, scan);
  ASSERT_TRUE(scan != std::string::npos && end != std::string::npos);
  std::string endless = whole.substr(0, end);
  for (int i = 0; i < 200; ++i) endless += whole.substr(scan, end - scan);
  EXPECT_FAULT(endless, "more than 100 scans");
}

TEST(ReadImage, NamesWhatItCannotRead) {
  const Result<Image> missing = ReadImage("/no/such/picture.png");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kBadMedia);
  EXPECT_EQ(missing.error().message, "/no/such/picture.png: No such file or directory");
  const Result<Image> folder = ReadImage(testing::TempDir());
  ASSERT_FALSE(folder);
  EXPECT_NE(folder.error().message.find("Is a directory"), std::string::npos) << folder.error().message;
  const Result<Image> endless = ReadImage("/dev/zero", {.bytes = 1 << 20});
  ASSERT_FALSE(endless);
  EXPECT_NE(endless.error().message.find("more than the limit of 1048576"), std::string::npos);
}

}  // namespace
}  // namespace carat::media
