#include "gemma/image_input.h"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "base/thread_pool.h"

namespace carat::gemma {
namespace {

constexpr PatchShape kShape;  // of E2B and E4B

std::string Text(ImageSize size) { return std::to_string(size.width) + "x" + std::to_string(size.height); }

std::string Target(ImageSize source, int64_t budget) {
  const auto target = TargetSize(source, kShape, budget);
  return target ? Text(*target) : target.error().message;
}

TEST(ImageInput, SizesFillTheBudget) {
  struct Row {
    ImageSize source;
    std::array<const char*, 5> targets;  // of kImageBudgets
  };
  const Row rows[] = {
      {{640, 480}, {"432x336", "624x480", "912x672", "1296x960", "1824x1344"}},
      {{1920, 1080}, {"528x288", "720x384", "1056x576", "1488x816", "2112x1200"}},
      {{1080, 1920}, {"288x528", "384x720", "576x1056", "816x1488", "1200x2112"}},
      {{100, 2000}, {"48x1776", "96x2496", "144x3552", "240x5040", "336x7152"}},
      {{224, 224}, {"384x384", "528x528", "768x768", "1104x1104", "1584x1584"}},
      {{1, 1}, {"384x384", "528x528", "768x768", "1104x1104", "1584x1584"}},
      {{1280, 640}, {"528x240", "768x384", "1104x528", "1584x768", "2256x1104"}},
      {{612, 408}, {"480x288", "672x432", "960x624", "1344x912", "1920x1296"}},
      {{4032, 3024}, {"432x336", "624x480", "912x672", "1296x960", "1824x1344"}},
      {{1170, 2532}, {"240x576", "384x816", "528x1152", "768x1632", "1056x2352"}},
      {{2480, 3508}, {"336x432", "432x672", "672x912", "912x1344", "1344x1872"}},
      {{10, 5000}, {"48x3360", "48x6720", "48x13440", "48x25392", "48x35904"}},
      {{1, 30000}, {"48x3360", "48x6720", "48x13440", "48x26880", "48x53760"}},
      {{30000, 1}, {"3360x48", "6720x48", "13440x48", "26880x48", "53760x48"}},
  };
  for (const Row& row : rows)
    for (size_t i = 0; i < kImageBudgets.size(); ++i)
      EXPECT_EQ(Target(row.source, kImageBudgets[i]), row.targets[i]) << Text(row.source) << " at " << kImageBudgets[i];
}

// Where doubles fall below a multiple of the unit that exact arithmetic would reach.
TEST(ImageInput, SizesRoundAsDoublesDo) {
  EXPECT_EQ(Target({440, 308}, 280), "912x672");
  EXPECT_EQ(Target({1232, 440}, 280), "1344x432");
  EXPECT_EQ(Target({880, 616}, 280), "912x672");
  EXPECT_EQ(Target({952, 340}, 280), "1296x432");
  EXPECT_EQ(Target({720, 504}, 280), "960x672");
}

TEST(ImageInput, OtherTowersHaveOtherUnits) {
  const auto fit = [](int64_t width, int64_t height, int64_t patch, int64_t patches, int64_t pooling) {
    return Text(FitToPatches({width, height}, {.patch = patch, .pooling = pooling}, patches));
  };
  EXPECT_EQ(fit(256, 256, 16, 256, 1), "256x256");
  EXPECT_EQ(fit(512, 512, 16, 256, 1), "256x256");
  EXPECT_EQ(fit(10000, 50, 10, 200, 1), "2000x10");
  EXPECT_EQ(fit(20000, 25, 10, 200, 1), "2000x10");
  EXPECT_EQ(fit(34, 2785, 16, 2304, 6), "96x6144");
  EXPECT_EQ(fit(1000, 50, 4, 64, 2), "128x8");
  EXPECT_EQ(fit(100, 100, 5, 100, 3), "45x45");
  EXPECT_EQ(fit(100, 5, 5, 20, 3), "30x15");
}

TEST(ImageInput, CountsSoftTokens) {
  EXPECT_EQ(SoftTokens({912, 672}, kShape), 266);
  EXPECT_EQ(SoftTokens({48, 13440}, kShape), 280);
  EXPECT_EQ(SoftTokens({24, 12}, {.patch = 4, .pooling = 3}), 2);
}

TEST(ImageInput, RefusesWhatHasNoSize) {
  constexpr int64_t kHuge = std::numeric_limits<int64_t>::max();
  for (const ImageSize size : {ImageSize{0, 0},
                               {0, 5},
                               {5, 0},
                               {-1, 5},
                               {5, -1},
                               {kMaxImageSide + 1, 1},
                               {1, kMaxImageSide + 1},
                               {kHuge, kHuge},
                               {kHuge, 1}}) {
    const auto target = TargetSize(size, kShape, 280);
    ASSERT_FALSE(target) << Text(size);
    EXPECT_EQ(target.error().code, ErrorCode::kBadMedia);
  }
  EXPECT_EQ(TargetSize({0, 5}, kShape, 280).error().message,
            "an image of 0 x 5 pixels cannot be used; each side may be 1 to 262144 pixels long");
  EXPECT_TRUE(TargetSize({kMaxImageSide, kMaxImageSide}, kShape, 280));
  for (const int64_t budget : {int64_t{0}, int64_t{-70}, int64_t{71}, int64_t{256}, int64_t{1121}, kHuge}) {
    const auto target = TargetSize({640, 480}, kShape, budget);
    ASSERT_FALSE(target) << budget;
    EXPECT_EQ(target.error().code, ErrorCode::kUsage);
  }
  EXPECT_EQ(TargetSize({640, 480}, kShape, 256).error().message,
            "an image cannot have 256 tokens; 70, 140, 280, 560 or 1120 would work");
}

TEST(ImageInput, PatchesAreRowsOfRunsOfPixels) {
  const ImageSize size = {6, 4};
  std::vector<uint8_t> rgb(static_cast<size_t>(size.width * size.height * 3));
  std::iota(rgb.begin(), rgb.end(), uint8_t{0});
  ThreadPool pool(2);
  const PatchGrid grid = MakePatches({size, rgb}, 2, PixelScaling::kImage, {.pool = &pool});
  EXPECT_EQ(grid.columns, 3);
  EXPECT_EQ(grid.rows, 2);
  ASSERT_EQ(grid.values.size(), rgb.size());
  for (int64_t n = 0; n < grid.count(); ++n)
    for (int64_t dy = 0; dy < 2; ++dy)
      for (int64_t dx = 0; dx < 2; ++dx)
        for (int64_t channel = 0; channel < 3; ++channel) {
          const int64_t x = n % 3 * 2 + dx, y = n / 3 * 2 + dy;
          const auto want = static_cast<float>(rgb[static_cast<size_t>((y * 6 + x) * 3 + channel)]) * (1.0f / 255.0f);
          EXPECT_EQ(grid.values[static_cast<size_t>(n * 12 + (dy * 2 + dx) * 3 + channel)], want);
        }
}

TEST(ImageInput, FramesAreDividedAndImagesMultiplied) {
  std::vector<uint8_t> rgb(static_cast<size_t>(256 * 3));
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(i / 3);
  ThreadPool pool(1);
  const PatchGrid image = MakePatches({{256, 1}, rgb}, 1, PixelScaling::kImage, {.pool = &pool});
  const PatchGrid frame = MakePatches({{256, 1}, rgb}, 1, PixelScaling::kVideoFrame, {.pool = &pool});
  int differ = 0;
  for (size_t byte = 0; byte < 256; ++byte) {
    const float a = image.values[byte * 3], b = frame.values[byte * 3];
    EXPECT_EQ(b, static_cast<float>(byte) / 255.0f);
    EXPECT_LE(std::abs(std::bit_cast<int32_t>(a) - std::bit_cast<int32_t>(b)), 1) << byte;
    differ += a != b ? 1 : 0;
  }
  EXPECT_EQ(differ, 126);
  EXPECT_EQ(image.values.back(), 1.0f);
}

TEST(ImageInput, PreparesTheSameForAnyNumberOfThreads) {
  const ImageSize size = {201, 97};
  std::vector<uint8_t> rgb(static_cast<size_t>(size.width * size.height * 3));
  for (size_t i = 0; i < rgb.size(); ++i) rgb[i] = static_cast<uint8_t>(i * i / 7 + i % 251);
  ThreadPool one(1), three(3);
  const auto alone = PrepareImage({size, rgb}, kShape, 70, PixelScaling::kImage, {.pool = &one});
  const auto shared = PrepareImage({size, rgb}, kShape, 70, PixelScaling::kImage, {.pool = &three});
  ASSERT_TRUE(alone && shared);
  const auto target = TargetSize(size, kShape, 70);
  ASSERT_TRUE(target);
  EXPECT_EQ(alone->columns, target->width / 16);
  EXPECT_EQ(alone->rows, target->height / 16);
  EXPECT_EQ(alone->count(), SoftTokens(*target, kShape) * 9);
  EXPECT_EQ(alone->values, shared->values);
  EXPECT_FALSE(PrepareImage({size, rgb}, kShape, 71, PixelScaling::kImage, {.pool = &one}));
}

}  // namespace
}  // namespace carat::gemma
