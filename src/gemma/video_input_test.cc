#include "gemma/video_input.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace carat::gemma {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
const double kNotANumber = std::nan("");

std::vector<int64_t> Taken(int64_t total, double rate, const FrameSampling& sampling = {}) {
  const auto frames = SampleFrames(total, FrameRate(rate), sampling);
  EXPECT_TRUE(frames) << frames.error().message;
  return frames ? *frames : std::vector<int64_t>();
}

ErrorCode Refusal(int64_t total, const FrameSampling& sampling) {
  const auto frames = SampleFrames(total, 30, sampling);
  EXPECT_FALSE(frames);
  return frames ? ErrorCode::kFailure : frames.error().code;
}

TEST(VideoInput, FramesAreSpreadEvenly) {
  EXPECT_EQ(Taken(10, 30, {.frames = 4}), (std::vector<int64_t>{0, 2, 5, 7}));
  EXPECT_EQ(Taken(1, 30), (std::vector<int64_t>{0}));
  const std::vector<int64_t> frames = Taken(451, 30);
  ASSERT_EQ(frames.size(), 32u);
  EXPECT_EQ(frames[1], 14);
  EXPECT_EQ(frames[31], 436);
  std::vector<int64_t> all(31);
  std::iota(all.begin(), all.end(), 0);
  EXPECT_EQ(Taken(31, 30), all) << "a short clip: every frame";
}

TEST(VideoInput, FramesPerSecond) {
  EXPECT_EQ(Taken(1800, 30, {.frames_per_second = 1}).size(), 60u);
  EXPECT_EQ(Taken(300, 30000.0 / 1001, {.frames_per_second = 2}).size(), 20u);
  EXPECT_EQ(Taken(10, 30, {.frames_per_second = 1}), (std::vector<int64_t>{0})) << "less than a second: one";
  EXPECT_EQ(Taken(90, 30, {.frames_per_second = 60}).size(), 90u) << "never more than there are";
  EXPECT_EQ(Taken(90, 30, {.frames_per_second = 1e300}).size(), 90u);
  EXPECT_EQ(Taken(90, 30, {.frames_per_second = 1e-300}).size(), 1u);
  EXPECT_EQ(Taken(48, 0, {.frames_per_second = 1}).size(), 2u) << "24 per second where the rate is not known";
}

TEST(VideoInput, UnknownRatesAre24) {
  EXPECT_EQ(FrameRate(29.97), 29.97);
  EXPECT_EQ(FrameRate(1.0 / 3600), 1.0 / 3600);
  for (const double none : {0.0, -1.0, kInfinity, -kInfinity, kNotANumber, 1e-300}) EXPECT_EQ(FrameRate(none), 24);
}

TEST(VideoInput, RefusesWhatCannotBe) {
  EXPECT_EQ(Refusal(0, {}), ErrorCode::kBadMedia);
  EXPECT_EQ(Refusal(-5, {}), ErrorCode::kBadMedia);
  EXPECT_EQ(Refusal(std::numeric_limits<int64_t>::max(), {}), ErrorCode::kBadMedia);
  for (const int64_t frames : {0, -1}) EXPECT_EQ(Refusal(10, {.frames = frames}), ErrorCode::kUsage);
  for (const double rate : {-1.0, kInfinity, kNotANumber})
    EXPECT_EQ(Refusal(10, {.frames_per_second = rate}), ErrorCode::kUsage);
  EXPECT_EQ(Refusal(1 << 20, {.frames = kMaxSampledFrames + 1}), ErrorCode::kDoesNotFit);
  EXPECT_EQ(Refusal(1 << 20, {.frames_per_second = 30}), ErrorCode::kDoesNotFit);
  EXPECT_EQ(Taken(int64_t{1} << 36, 30, {.frames = kMaxSampledFrames}).back(),
            (int64_t{1} << 36) / kMaxSampledFrames * (kMaxSampledFrames - 1));
}

TEST(VideoInput, StampsAreMinutesAndSeconds) {
  EXPECT_EQ(TimeStamp(0, 24), "00:00");
  EXPECT_EQ(TimeStamp(29, 30), "00:00");
  EXPECT_EQ(TimeStamp(30, 30), "00:01");
  EXPECT_EQ(TimeStamp(59, 1), "00:59");
  EXPECT_EQ(TimeStamp(60, 1), "01:00");
  EXPECT_EQ(TimeStamp(3599, 1), "59:59");
  EXPECT_EQ(TimeStamp(3600, 1), "60:00") << "no hours";
  EXPECT_EQ(TimeStamp(360000, 1), "6000:00");
  EXPECT_EQ(TimeStamp(int64_t{1} << 36, FrameRate(0x1p-31)).size(), 22u) << "no overflow";
}

TEST(VideoInput, AnExampleOfFifteenSeconds) {
  const std::vector<int64_t> frames = Taken(451, 30);
  std::string text;
  for (size_t i = 0; i < frames.size(); ++i) text += FrameLead(i, frames[i], 30) + "F";
  EXPECT_TRUE(text.starts_with("00:00 F 00:00 F 00:00 F 00:01 F 00:01 F 00:02 F")) << text;
  EXPECT_TRUE(text.ends_with(" 00:14 F 00:14 F")) << text;
  EXPECT_EQ(VideoTokens(frames, 30, 66), 2399);
  EXPECT_EQ(VideoTokens({}, 30, 66), 0);
}

}  // namespace
}  // namespace carat::gemma
