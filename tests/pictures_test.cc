// Picture files against the reference's pixels, byte for byte, and damaged ones.
#include "tests/support/pictures.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "media/image.h"
#include "tests/support/sha256.h"

namespace carat {
namespace {

using media::DecodeImage;
using media::Image;
using testing_support::FileBytes;
using testing_support::OwnPictures;
using testing_support::Picture;
using testing_support::PicturesIn;

void CheckFolder(const std::filesystem::path& folder) {
  for (const Picture& picture : PicturesIn(folder)) {
    SCOPED_TRACE(picture.name);
    const Result<Image> image = media::ReadImage(picture.path);
    if (!image) {
      ADD_FAILURE() << image.error().message;
      continue;
    }
    EXPECT_EQ(image->width, picture.width);
    EXPECT_EQ(image->height, picture.height);
    EXPECT_EQ(testing_support::Sha256(image->rgb), picture.rgb_sha256);
  }
}

TEST(Pictures, AreTheReferencesByteForByte) {
  EXPECT_GE(PicturesIn(OwnPictures()).size(), 55u);
  CheckFolder(OwnPictures());
}

TEST(Pictures, MoreOfThem) {
  const auto folder = std::filesystem::path(CARAT_SOURCE_DIR).parent_path() / "shared/golden/vision";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << "no shared data";
  EXPECT_GE(PicturesIn(folder).size(), 40u);
  CheckFolder(folder);
}

// Whatever the bytes are: a picture that is all there, or an error of one line that names the file.
Result<Image> DecodeDamaged(std::span<const std::byte> bytes) {
  Result<Image> image = DecodeImage(bytes, "damaged", {.pixels = 1'000'000});
  if (image) {
    EXPECT_GT(image->width, 0);
    EXPECT_GT(image->height, 0);
    EXPECT_EQ(image->rgb.size(), static_cast<size_t>(3 * image->width * image->height));
  } else {
    EXPECT_EQ(image.error().code, ErrorCode::kBadMedia);
    EXPECT_TRUE(image.error().message.starts_with("damaged: ")) << image.error().message;
    EXPECT_EQ(image.error().message.find('\n'), std::string::npos);
  }
  return image;
}

constexpr size_t kMagicBytes = 12;  // enough for every format to be recognised
constexpr size_t kVariants = 100;   // of a picture, each way

TEST(DamagedPictures, CutShortAreRefused) {
  for (const Picture& picture : PicturesIn(OwnPictures())) {
    SCOPED_TRACE(picture.name);
    const std::vector<std::byte> whole = FileBytes(picture.path);
    // A viewer shows a GIF without the byte that ends it, and whatever comes after its first frame.
    const bool is_gif = picture.path.extension() == ".gif";
    const size_t needed = picture.name == "gif-animated" ? whole.size() / 3 : whole.size() - (is_gif ? 2 : 0);
    for (size_t i = 0; i < kVariants; ++i) {
      const size_t size = kMagicBytes + (needed - kMagicBytes) * i / kVariants;
      EXPECT_FALSE(DecodeDamaged(std::span(whole).first(size))) << "decoded from the first " << size << " bytes";
    }
  }
}

TEST(DamagedPictures, FlippedBitsDoNoHarm) {
  std::mt19937 random(1);
  size_t variants = 0, refused = 0;
  for (const Picture& picture : PicturesIn(OwnPictures())) {
    SCOPED_TRACE(picture.name);
    const std::vector<std::byte> whole = FileBytes(picture.path);
    for (size_t i = 0; i < kVariants; ++i, ++variants) {
      std::vector<std::byte> bytes = whole;
      for (size_t flips = 0; flips <= i % 4; ++flips) {
        // Half of them in the header, where they mean most.
        const size_t reach = i % 2 == 0 ? bytes.size() : std::min<size_t>(bytes.size(), 100);
        bytes[kMagicBytes + random() % (reach - kMagicBytes)] ^= std::byte{1} << random() % 8;
      }
      refused += !DecodeDamaged(bytes);
    }
  }
  EXPECT_GT(refused, variants / 4);
  EXPECT_LT(refused, variants);
}

}  // namespace
}  // namespace carat
