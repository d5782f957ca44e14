// Real videos, made here with ffmpeg: the frames that come are those that were asked for, by the numbers that they
// carry.
#include "media/video.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "tests/support/fetched_data.h"
#include "tests/support/numbered_video.h"
#include "tests/support/pictures.h"
#include "tests/support/sha256.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using media::Image;
using media::ProbeVideo;
using media::ReadVideoFrames;
using media::VideoInfo;
using testing_support::MakeNumberedVideo;
using testing_support::NumberOf;
using testing_support::RunFfmpeg;

class VideoTest : public testing::Test {
 protected:
  void SetUp() override {
    if (testing_support::HasFfmpeg()) return;
    if (testing_support::DataIsRequired()) FAIL() << "ffmpeg is not installed";
    GTEST_SKIP() << "ffmpeg is not installed";
  }
};

fs::path Temporary(const std::string& name) {
  const auto* test = testing::UnitTest::GetInstance()->current_test_info();
  return fs::path(testing::TempDir()) / (std::string(test->name()) + "-" + name);
}

// The numbers of the frames of these indices.
std::vector<int64_t> Numbers(const fs::path& path, const VideoInfo& info, const std::vector<int64_t>& indices) {
  std::vector<int64_t> numbers;
  const Status status = ReadVideoFrames(path, info, indices, [&](int64_t position, const Image& frame) -> Status {
    EXPECT_EQ(position, static_cast<int64_t>(numbers.size()));
    EXPECT_EQ(frame.width, info.width);
    EXPECT_EQ(frame.height, info.height);
    numbers.push_back(NumberOf(frame));
    return {};
  });
  EXPECT_TRUE(status) << status.error().message;
  return numbers;
}

std::string FaultOf(const fs::path& path) {
  const auto info = ProbeVideo(path);
  if (info) return "";
  EXPECT_EQ(info.error().code, ErrorCode::kBadMedia);
  EXPECT_TRUE(info.error().message.starts_with(path.string() + ": ")) << info.error().message;
  return info.error().message.substr(path.string().size() + 2);
}

TEST_F(VideoTest, EveryCodecGivesTheFramesAskedFor) {
  const struct {
    const char* name;
    std::vector<std::string> options;
  } cases[] = {{"h264.mp4", {"-c:v", "libx264", "-g", "12", "-bf", "3"}},
               {"hevc.mkv", {"-c:v", "libx265", "-preset", "ultrafast", "-x265-params", "log-level=none"}},
               {"mpeg4.avi", {"-c:v", "mpeg4", "-bf", "2", "-q:v", "2"}},
               {"vp8.webm", {"-c:v", "libvpx", "-b:v", "500k"}},
               {"vp9.webm", {"-c:v", "libvpx-vp9", "-cpu-used", "8", "-b:v", "500k"}},
               {"mjpeg.mkv", {"-c:v", "mjpeg", "-q:v", "2"}},
               {"h264.ts", {"-c:v", "libx264", "-bf", "2"}},
               {"bare.h264", {"-c:v", "libx264"}}};
  const std::vector<int64_t> indices = {0, 1, 6, 7, 8, 20, 38, 39};
  for (const auto& video : cases) {
    SCOPED_TRACE(video.name);
    const fs::path path = Temporary(video.name);
    ASSERT_EQ(MakeNumberedVideo(path, 40, video.options), "");
    const auto info = ProbeVideo(path);
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(info->frames, 40);
    EXPECT_EQ(info->width, 128);
    EXPECT_EQ(info->height, 32);
    // Matroska rounds times to milliseconds.
    EXPECT_NEAR(info->fps, 30000.0 / 1001, path.extension() == ".mkv" || path.extension() == ".webm" ? 0.02 : 1e-9);
    EXPECT_EQ(info->seconds, 40 / info->fps);
    EXPECT_FALSE(info->has_audio);
    EXPECT_EQ(Numbers(path, *info, indices), indices);
  }
}

TEST_F(VideoTest, VariableRatesNeitherDropNorRepeatFrames) {
  const fs::path path = Temporary("v.mp4");
  // Frames 0 to 9, then every third: 12, 15, ... 57.
  ASSERT_EQ(MakeNumberedVideo(path, 26,
                              {"-vf", "select='lt(n,10)+not(mod(n,3))'", "-fps_mode", "vfr", "-c:v", "libx264"}, "30"),
            "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->frames, 26);
  EXPECT_NEAR(info->fps, 26 / (58.0 / 30), 0.5);  // the last frame lasts as long as a container makes of it
  std::vector<int64_t> all(26), wanted(26);
  for (int64_t i = 0; i < 26; ++i) {
    all[i] = i;
    wanted[i] = i < 10 ? i : 12 + 3 * (i - 10);
  }
  EXPECT_EQ(Numbers(path, *info, all), wanted);
}

// A recording whose beginning was cut off without coding it anew: the file still has those frames, and counts them.
TEST_F(VideoTest, FramesThatAnEditHidesAreNone) {
  const fs::path whole = Temporary("whole.mp4"), path = Temporary("v.mp4");
  ASSERT_EQ(MakeNumberedVideo(whole, 90, {"-c:v", "libx264", "-g", "30"}, "30"), "");
  ASSERT_EQ(RunFfmpeg({"-ss", "1.3", "-i", whole.string(), "-c", "copy", path.string()}), "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->frames, 51);
  EXPECT_EQ(info->fps, 30);
  EXPECT_EQ(Numbers(path, *info, {0, 1, 50}), (std::vector<int64_t>{39, 40, 89}));
}

// VP8's frames that others refer to are packets too, but nobody sees them.
TEST_F(VideoTest, FramesForReferenceAreNone) {
  const fs::path path = Temporary("v.webm"), log = Temporary("passes");
  for (const char* pass : {"1", "2"})
    ASSERT_EQ(MakeNumberedVideo(path, 60,
                                {"-c:v", "libvpx", "-b:v", "200k", "-auto-alt-ref", "1", "-lag-in-frames", "20",
                                 "-pass", pass, "-passlogfile", log.string()}),
              "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->frames, 60);
  EXPECT_EQ(Numbers(path, *info, {0, 20, 40, 59}), (std::vector<int64_t>{0, 20, 40, 59}));
}

TEST_F(VideoTest, FramesAreTurnedUpright) {
  const fs::path lying = Temporary("lying.mp4"), path = Temporary("v.mp4");
  ASSERT_EQ(MakeNumberedVideo(lying, 30, {"-c:v", "libx264"}), "");
  ASSERT_EQ(RunFfmpeg({"-i", lying.string(), "-c", "copy", "-metadata:s:v", "rotate=90", path.string()}), "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->width, 32);
  EXPECT_EQ(info->height, 128);
  EXPECT_EQ(Numbers(path, *info, {0, 5, 29}), (std::vector<int64_t>{0, 5, 29}));
}

TEST_F(VideoTest, OneFrameIsAVideo) {
  const fs::path path = Temporary("v.mp4");
  ASSERT_EQ(MakeNumberedVideo(path, 1, {"-c:v", "libx264"}), "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->frames, 1);
  EXPECT_EQ(Numbers(path, *info, {0}), std::vector<int64_t>{0});
}

TEST_F(VideoTest, SoundIsSeenAndNotTakenForAVideo) {
  const fs::path sound = Temporary("sound.m4a"), silent = Temporary("silent.mp4"), both = Temporary("both.mp4");
  ASSERT_EQ(RunFfmpeg({"-f", "lavfi", "-i", "sine=d=1", sound.string()}), "");
  ASSERT_EQ(MakeNumberedVideo(silent, 30, {"-c:v", "libx264"}), "");
  ASSERT_EQ(RunFfmpeg({"-i", sound.string(), "-i", silent.string(), "-c", "copy", both.string()}), "");
  EXPECT_EQ(FaultOf(sound), "no video in it, only sound");
  const auto info = ProbeVideo(both);
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_TRUE(info->has_audio);
  EXPECT_EQ(Numbers(both, *info, {3, 29}), (std::vector<int64_t>{3, 29}));
}

TEST_F(VideoTest, AnHourIsReadAsFarAsItIsNeeded) {
  const fs::path path = Temporary("v.ts");
  constexpr int64_t kFrames = 3600, kWanted = 32;
  ASSERT_EQ(MakeNumberedVideo(path, kFrames, {"-c:v", "libx264", "-preset", "ultrafast"}, "1"), "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  ASSERT_EQ(info->frames, kFrames);
  EXPECT_NEAR(info->fps, 1, 0.001);
  std::vector<int64_t> indices(kWanted);
  for (int64_t i = 0; i < kWanted; ++i) indices[i] = i * kFrames / kWanted;
  EXPECT_EQ(Numbers(path, *info, indices), indices);
  // The second half is lost: nobody notices who stays in the first.
  fs::resize_file(path, fs::file_size(path) / 2);
  indices.resize(kWanted / 2 - 2);
  EXPECT_EQ(Numbers(path, *info, indices), indices);
  const Status late =
      ReadVideoFrames(path, *info, std::vector<int64_t>{5, 3500}, [](int64_t, const Image&) { return Status(); });
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().message, path.string() + ": the video ends before frame 3500 of 3600");
}

TEST_F(VideoTest, HundredsOfFramesCanBeChosen) {
  const fs::path path = Temporary("v.mkv");
  ASSERT_EQ(MakeNumberedVideo(path, 900, {"-c:v", "mjpeg", "-q:v", "2"}), "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  std::vector<int64_t> indices;
  for (int64_t i = 0; i < 900; i += i % 100 < 20 ? 1 : 2) indices.push_back(i);
  EXPECT_EQ(Numbers(path, *info, indices), indices);
}

TEST_F(VideoTest, DamagedAndOtherFilesAreRefused) {
  const fs::path video = Temporary("v.mp4"), fast = Temporary("fast.mp4"), list = Temporary("list.mp4");
  ASSERT_EQ(MakeNumberedVideo(video, 60, {"-c:v", "libx264"}), "");
  ASSERT_EQ(RunFfmpeg({"-i", video.string(), "-c", "copy", "-movflags", "+faststart", fast.string()}), "");
  const fs::path matroska = Temporary("v.mkv");
  ASSERT_EQ(RunFfmpeg({"-i", video.string(), "-c", "copy", matroska.string()}), "");
  for (const fs::path& path : {fast, matroska}) {
    fs::resize_file(path, fs::file_size(path) * 4 / 5);
    EXPECT_TRUE(FaultOf(path).starts_with("damaged: it ends too early, after ")) << FaultOf(path);
  }
  // A list of files is a video for ffmpeg.
  std::ofstream(list) << "ffconcat version 1.0\nfile " << video.filename().string() << "\n";
  EXPECT_EQ(FaultOf(list), "ffprobe: not a kind of file that is opened here");
  fs::resize_file(video, fs::file_size(video) / 2);
  EXPECT_EQ(FaultOf(video), "ffprobe: moov atom not found; Invalid data found when processing input");
  std::ofstream(list) << "Dear Sir or Madam,\n";
  EXPECT_TRUE(FaultOf(list).starts_with("ffprobe: ")) << FaultOf(list);
  std::ofstream(video, std::ios::trunc).flush();
  EXPECT_NE(FaultOf(video), "");
  EXPECT_EQ(FaultOf("/no/such/video.mp4"), "no such file");
  EXPECT_EQ(FaultOf(testing::TempDir()), "not a file; a video is read from one");
}

TEST_F(VideoTest, NamesAreNeitherOptionsNorUrls) {
  const fs::path made = Temporary("v.mp4"), before = fs::current_path();
  ASSERT_EQ(MakeNumberedVideo(made, 5, {"-c:v", "libx264"}), "");
  fs::current_path(testing::TempDir());
  for (const char* name : {"-i", "http:video", "concat:a|b", "two words.mp4", "frame%03d.mp4"}) {
    fs::copy_file(made, name, fs::copy_options::overwrite_existing);
    const auto info = ProbeVideo(name);
    ASSERT_TRUE(info) << info.error().message;
    EXPECT_EQ(Numbers(name, *info, {4}), std::vector<int64_t>{4});
    fs::remove(name);
  }
  fs::current_path(before);
}

TEST_F(VideoTest, TheSinkCanEndItAndIndicesAreChecked) {
  const fs::path path = Temporary("v.mp4");
  ASSERT_EQ(MakeNumberedVideo(path, 20, {"-c:v", "libx264"}), "");
  const auto info = ProbeVideo(path);
  ASSERT_TRUE(info) << info.error().message;
  int seen = 0;
  const auto sink = [&](int64_t, const Image&) -> Status {
    return ++seen < 2 ? Status() : Fail(ErrorCode::kInterrupted, "enough");
  };
  const Status ended = ReadVideoFrames(path, *info, std::vector<int64_t>{1, 2, 3}, sink);
  ASSERT_FALSE(ended);
  EXPECT_EQ(ended.error().message, "enough");
  EXPECT_EQ(seen, 2);
  EXPECT_TRUE(ReadVideoFrames(path, *info, {}, sink));
  for (const std::vector<int64_t>& indices : {std::vector<int64_t>{20}, {-1}, {3, 3}, {3, 2}}) {
    const Status refused = ReadVideoFrames(path, *info, indices, sink);
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kUsage);
  }
}

// Kinds that no decoder here reads.
TEST_F(VideoTest, OtherPicturesAreDecodedToo) {
  const fs::path folder = testing_support::OwnPictures() / "ffmpeg";
  const auto pictures = testing_support::PicturesIn(folder);
  EXPECT_GE(pictures.size(), 3u);
  for (const auto& picture : pictures) {
    const auto image = media::ReadImage(picture.path);
    ASSERT_TRUE(image) << image.error().message;
    EXPECT_EQ(image->width, picture.width) << picture.name;
    EXPECT_EQ(image->height, picture.height) << picture.name;
    EXPECT_EQ(testing_support::Sha256(image->rgb), picture.rgb_sha256) << picture.name;
    const auto refused = media::ReadImage(picture.path, {.pixels = 100});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, ErrorCode::kBadMedia);
  }
}

TEST(WithoutFfmpeg, AVideoAndOtherPicturesSayWhatTheyNeed) {
  const fs::path path = Temporary("v.mp4");
  std::ofstream(path) << "anything";
  const std::string before = testing_support::EnvironmentVariable("PATH");
  ::setenv("PATH", "/no/such/folder", 1);
  EXPECT_EQ(FaultOf(path), "a video needs the ffprobe command, which is not installed");
  const auto image = media::ReadImage(path);
  ::setenv("PATH", before.c_str(), 1);
  ASSERT_FALSE(image);
  EXPECT_EQ(image.error().code, ErrorCode::kBadMedia);
  EXPECT_EQ(image.error().message, path.string() +
                                       ": neither JPEG, PNG, WebP, GIF nor BMP, and anything else needs the "
                                       "ffmpeg command, which is not installed");
}

}  // namespace
}  // namespace carat
