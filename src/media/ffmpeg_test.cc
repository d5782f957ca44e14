#include "media/ffmpeg.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

namespace carat::media {
namespace {

using namespace std::string_literals;

// Reads from a string.
ReadBytes From(std::string_view& text) {
  return [&text](std::span<std::byte> out) -> Result<size_t> {
    const size_t count = std::min(out.size(), text.size());
    std::copy_n(reinterpret_cast<const std::byte*>(text.data()), count, out.data());
    text.remove_prefix(count);
    return count;
  };
}

const std::string kTwoFrames =
    "P6\n2 1\n255\nabcdef"
    "P6\n1 2\n255\nghijkl";

TEST(ReadPpm, ReadsOneFrameAfterTheOther) {
  std::string_view text = kTwoFrames;
  const auto first = ReadPpm(From(text), {});
  ASSERT_TRUE(first && *first);
  EXPECT_EQ((*first)->width, 2);
  EXPECT_EQ((*first)->height, 1);
  EXPECT_EQ(std::string((*first)->rgb.begin(), (*first)->rgb.end()), "abcdef");
  const auto second = ReadPpm(From(text), {});
  ASSERT_TRUE(second && *second);
  EXPECT_EQ((*second)->height, 2);
  const auto third = ReadPpm(From(text), {});
  ASSERT_TRUE(third);
  EXPECT_FALSE(*third);
}

std::string Fault(std::string_view text, const ImageLimits& limits = {}) {
  const auto frame = ReadPpm(From(text), limits);
  if (frame) return "";
  EXPECT_EQ(frame.error().code, ErrorCode::kBadMedia);
  return frame.error().message;
}

TEST(ReadPpm, RefusesEveryTruncation) {
  const std::string frame = kTwoFrames.substr(0, kTwoFrames.size() / 2);
  for (size_t size = 1; size < frame.size(); ++size) EXPECT_NE(Fault(frame.substr(0, size)), "") << size;
  EXPECT_EQ(Fault(frame.substr(0, 13)), "ffmpeg: a frame ends after 2 of 6 bytes");
}

TEST(ReadPpm, RefusesOtherHeaders) {
  for (const char* header :
       {"P5\n2 1\n255\n", "P6\n2\n255\n", "P6\n2 x\n255\n", "P6\n 2 1\n255\n", "P6\n2 1 1\n255\n", "P6\n2 1\n65535\n",
        "P6\n0 1\n255\n", "P6\n-2 1\n255\n", "P6\n99999999999999999999 1\n255\n"})
    EXPECT_NE(Fault(header + "abcdef"s), "") << header;
  EXPECT_NE(Fault(std::string(100, 'P')), "");
  EXPECT_NE(Fault("P6\n4000000000 4000000000\n255\n").find("more than the limit"), std::string::npos);
  EXPECT_NE(Fault("P6\n2 1\n255\nabcdef", {.pixels = 1}).find("more than the limit of 1"), std::string::npos);
}

TEST(ReadPpm, HandsOnTheReadersError) {
  const auto failing = [](std::span<std::byte>) -> Result<size_t> { return Fail(ErrorCode::kBadMedia, "broken pipe"); };
  const auto frame = ReadPpm(failing, {});
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().message, "broken pipe");
}

}  // namespace
}  // namespace carat::media
