// Sizes, resized pixels, patches, frames and time stamps against those of transformers' default processors: the set of
// tools/reference/vision_input.py, and a larger one where it is at hand.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "gemma/image_input.h"
#include "gemma/video_input.h"
#include "media/image.h"
#include "tests/support/dump.h"
#include "tests/support/pictures.h"
#include "tests/support/sha256.h"

namespace carat::gemma {
namespace {

namespace fs = std::filesystem;
using testing_support::Dump;
using testing_support::Sha256;

const fs::path kOwn = fs::path(CARAT_SOURCE_DIR) / "tests/data/vision";
const fs::path kMore = fs::path(CARAT_SOURCE_DIR).parent_path() / "shared/golden/vision";

Json ReadJson(const fs::path& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  auto json = ParseJson(text.str(), path.string());
  EXPECT_TRUE(json) << json.error().message;
  return json ? *json : Json();
}

ImageSize SizeOf(const Json& pair) { return {.width = pair.at(0), .height = pair.at(1)}; }

// The pictures of vision_input.py, from their formulas.
std::vector<uint8_t> Picture(const std::string& kind, ImageSize size) {
  std::vector<uint8_t> rgb;
  rgb.reserve(static_cast<size_t>(size.width * size.height * 3));
  for (uint32_t y = 0; y < size.height; ++y)
    for (uint32_t x = 0; x < size.width; ++x)
      for (uint32_t channel = 0; channel < 3; ++channel) {
        if (kind == "waves") {
          rgb.push_back(static_cast<uint8_t>((x * x * (channel + 1) + y * y * 3 + x * y * (2 * channel + 1)) >> 7));
        } else {
          uint32_t mixed = (x * 2654435761U) ^ (y * 2246822519U) ^ (channel * 3266489917U);
          mixed = (mixed ^ mixed >> 15) * 2246822519U;
          rgb.push_back(static_cast<uint8_t>(mixed >> 24));
        }
      }
  return rgb;
}

std::string Sha256OfFloats(const std::vector<float>& values) {
  return Sha256({reinterpret_cast<const uint8_t*>(values.data()), values.size() * sizeof(float)});
}

TEST(VisionInputGolden, PicturesBecomeTheReferencesPatches) {
  ThreadPool pool(2);
  const ops::Context context = {.pool = &pool};
  const Dump resized_pixels(kOwn / "resized.safetensors");
  int stored = 0;
  const Json rows = ReadJson(kOwn / "pictures.json");
  EXPECT_GE(rows.size(), 15u);
  for (const Json& row : rows) {
    const std::string name = row.at("name");
    SCOPED_TRACE(name);
    const ImageSize size = SizeOf(row.at("size"));
    const PatchShape shape = {.patch = row.at("patch"), .pooling = 3};
    const std::vector<uint8_t> rgb = Picture(row.at("kind"), size);
    const auto target = TargetSize(size, shape, row.at("budget"));
    ASSERT_TRUE(target);
    ASSERT_EQ(*target, SizeOf(row.at("resized")));
    const std::vector<uint8_t> resized = Resample({size, rgb}, *target, context);
    if (resized_pixels.Has(name)) {
      const auto want = resized_pixels.Values<uint8_t>(name);
      ASSERT_EQ(resized.size(), want.size());
      for (size_t i = 0; i < want.size(); ++i) ASSERT_EQ(resized[i], want[i]) << "value " << i;
      ++stored;
    }
    EXPECT_EQ(Sha256(resized), row.at("resized_sha256").get<std::string>());
    const PatchGrid image = MakePatches({*target, resized}, shape.patch, PixelScaling::kImage, context);
    const PatchGrid frame = MakePatches({*target, resized}, shape.patch, PixelScaling::kVideoFrame, context);
    EXPECT_EQ(Sha256OfFloats(image.values), row.at("image_patches_sha256").get<std::string>());
    EXPECT_EQ(Sha256OfFloats(frame.values), row.at("frame_patches_sha256").get<std::string>());
  }
  EXPECT_EQ(stored, 2);
}

// Rows of width, height, budget, target width, target height, and perhaps more.
size_t CheckSizes(const Json& rows) {
  for (const Json& row : rows) {
    const auto target = TargetSize(SizeOf(row), PatchShape(), row.at(2));
    EXPECT_TRUE(target && target->width == row.at(3) && target->height == row.at(4)) << row;
  }
  return rows.size();
}

TEST(VisionInputGolden, SizesAreTheReferences) { EXPECT_GE(CheckSizes(ReadJson(kOwn / "sizes.json")), 100u); }

TEST(VisionInputGolden, FramesAndStampsAreTheReferences) {
  const Json rows = ReadJson(kOwn / "video-times.json");
  EXPECT_GE(rows.size(), 40u);
  for (const Json& row : rows) {
    SCOPED_TRACE(row);
    const double rate = FrameRate(row.at("fps").is_null() ? 0 : row.at("fps").get<double>());
    FrameSampling sampling;
    if (!row.at("frames").is_null()) sampling.frames = row.at("frames");
    if (!row.at("frames_per_second").is_null()) sampling.frames_per_second = row.at("frames_per_second");
    const auto frames = SampleFrames(row.at("total"), rate, sampling);
    ASSERT_TRUE(frames) << frames.error().message;
    EXPECT_EQ(*frames, row.at("indices").get<std::vector<int64_t>>());
    std::string text;
    for (size_t i = 0; i < frames->size(); ++i) text += FrameLead(i, (*frames)[i], rate) + "<v>";
    EXPECT_EQ(text, row.at("text").get<std::string>());
  }
}

TEST(VisionInputGolden, MoreSizes) {
  if (!fs::exists(kMore / "sizes.json")) GTEST_SKIP() << "no shared data";
  EXPECT_GE(CheckSizes(ReadJson(kMore / "sizes.json").at("rows")), 500u);
}

TEST(VisionInputGolden, MoreFramesAndStamps) {
  if (!fs::exists(kMore / "video-times.json")) GTEST_SKIP() << "no shared data";
  const Json file = ReadJson(kMore / "video-times.json");
  size_t checked = 0;
  for (const Json& row : file.at("rows")) {
    SCOPED_TRACE(row);
    // Where the reference refuses because it wants more frames than there are, the file has what Carat does, or
    // nothing.
    const Json& answer = row.contains("short_clip") ? row.at("short_clip") : row;
    if (!answer.contains("indices")) continue;
    const double rate = FrameRate(row.at("fps").is_null() ? 0 : row.at("fps").get<double>());
    FrameSampling sampling;
    if (!row.at("num_frames").is_null()) sampling.frames = row.at("num_frames");
    if (!row.at("sample_fps").is_null()) sampling.frames_per_second = row.at("sample_fps");
    const auto frames = SampleFrames(row.at("total_frames"), rate, sampling);
    ASSERT_TRUE(frames) << frames.error().message;
    EXPECT_EQ(*frames, answer.at("indices").get<std::vector<int64_t>>());
    std::vector<std::string> stamps;
    for (const int64_t frame : *frames) stamps.push_back(TimeStamp(frame, rate));
    EXPECT_EQ(stamps, answer.at("stamps").get<std::vector<std::string>>());
    ++checked;
  }
  EXPECT_GE(checked, 90u);
}

// Real files of many kinds, each at one or more budgets: from bytes to patches.
TEST(VisionInputGolden, MorePictures) {
  if (!fs::exists(kMore / "preprocess")) GTEST_SKIP() << "no shared data";
  ThreadPool pool(2);
  const ops::Context context = {.pool = &pool};
  std::map<std::string, media::Image> decoded;
  for (const testing_support::Picture& picture : testing_support::PicturesIn(kMore)) {
    auto image = media::ReadImage(picture.path);
    ASSERT_TRUE(image) << image.error().message;
    decoded.emplace(picture.name, std::move(*image));
  }
  int checked = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(kMore / "preprocess")) {
    if (entry.path().extension() != ".json") continue;
    SCOPED_TRACE(entry.path());
    const Json row = ReadJson(entry.path());
    const media::Image& image = decoded.at(row.at("picture"));
    const ImageSize size = {image.width, image.height};
    ASSERT_EQ(size, SizeOf(row.at("source")));
    const auto target = TargetSize(size, PatchShape(), row.at("budget"));
    ASSERT_TRUE(target);
    ASSERT_EQ(*target, SizeOf(row.at("resized")));
    EXPECT_EQ(SoftTokens(*target, PatchShape()), row.at("soft_tokens"));
    const std::vector<uint8_t> resized = Resample({size, image.rgb}, *target, context);
    EXPECT_EQ(Sha256(resized), row.at("resized_sha256").get<std::string>());
    const PatchGrid grid = MakePatches({*target, resized}, PatchShape().patch, PixelScaling::kImage, context);
    const Dump dump(fs::path(entry.path()).replace_extension(".safetensors"));
    const auto index = dump.Values<int32_t>("patch.index"), position = dump.Values<int32_t>("patch.position");
    const auto values = dump.Values<float>("patch.values");
    const size_t width = values.size() / index.size();
    for (size_t i = 0; i < index.size(); ++i) {
      EXPECT_EQ(index[i], position[2 * i + 1] * grid.columns + position[2 * i]);
      const float* patch = grid.values.data() + static_cast<size_t>(index[i]) * width;
      for (size_t j = 0; j < width; ++j) ASSERT_EQ(patch[j], values[i * width + j]) << "patch " << index[i] << " " << j;
    }
    ++checked;
  }
  EXPECT_GE(checked, 60);
}

}  // namespace
}  // namespace carat::gemma
