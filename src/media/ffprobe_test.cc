#include "media/ffprobe.h"

#include <gtest/gtest.h>

#include <string>

namespace carat::media {
namespace {

constexpr const char* kSound = R"({"codec_type":"audio","time_base":"1/44100"})";
constexpr const char* kCover = R"({"codec_type":"video","width":500,"height":500,"disposition":{"attached_pic":1}})";

std::string Video(const std::string& more = "") {
  return R"({"codec_type":"video","width":128,"height":32,"time_base":"1/30000","avg_frame_rate":"30000/1001",)"
         R"("disposition":{"attached_pic":0})" +
         more + "}";
}

std::string Streams(const std::string& streams) { return R"({"streams":[)" + streams + "]}"; }

std::string Fault(const std::string& json) {
  const auto stream = ParseStreams(json, "v.mp4");
  if (stream) return "";
  EXPECT_EQ(stream.error().code, ErrorCode::kBadMedia);
  EXPECT_TRUE(stream.error().message.starts_with("v.mp4: ")) << stream.error().message;
  return stream.error().message;
}

#define EXPECT_FAULT(json, part) EXPECT_NE(Fault(json).find(part), std::string::npos) << "'" << Fault(json) << "'"

TEST(ParseStreams, FindsTheVideo) {
  const auto stream = ParseStreams(Streams(kSound + std::string(",") + kCover + "," + Video()), "v");
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ(stream->width, 128);
  EXPECT_EQ(stream->height, 32);
  EXPECT_EQ(stream->time_unit.denominator, 30000);
  EXPECT_EQ(stream->average_rate.value(), 30000.0 / 1001);
  EXPECT_TRUE(stream->has_audio);
  const auto silent = ParseStreams(Streams(Video()), "v");
  ASSERT_TRUE(silent);
  EXPECT_FALSE(silent->has_audio);
}

TEST(ParseStreams, TurnsTheSize) {
  const struct {
    const char* angle;
    bool on_its_side;
  } cases[] = {{"90", true}, {"-90", true}, {"270", true}, {"90.5", true}, {"0", false}, {"180", false}, {"45", false}};
  for (const auto& turned : cases) {
    const auto stream = ParseStreams(
        Streams(Video(R"(,"side_data_list":[{"side_data_type":"x"},{"rotation":)" + std::string(turned.angle) + "}]")),
        "v");
    ASSERT_TRUE(stream) << stream.error().message;
    EXPECT_EQ(stream->width, turned.on_its_side ? 32 : 128) << turned.angle;
  }
}

TEST(ParseStreams, DoesWithoutWhatIsMissing) {
  const auto stream = ParseStreams(
      Streams(R"({"codec_type":"video","width":8,"height":8,"avg_frame_rate":"0/0","r_frame_rate":"25/1"})"), "v");
  ASSERT_TRUE(stream) << stream.error().message;
  EXPECT_EQ(stream->average_rate.value(), 25);
  EXPECT_EQ(stream->time_unit.numerator, 0);
}

TEST(ParseStreams, RefusesWhatHasNoVideo) {
  EXPECT_FAULT(Streams(""), "v.mp4: no video in it");
  EXPECT_FAULT(Streams(kSound), "v.mp4: no video in it, only sound");
  EXPECT_FAULT(Streams(kCover), "v.mp4: no video in it");
}

TEST(ParseStreams, RefusesEveryTruncationAndOddValues) {
  const std::string whole = Streams(Video());
  for (size_t size = 0; size < whole.size(); ++size) EXPECT_NE(Fault(whole.substr(0, size)), "") << size;
  EXPECT_FAULT("[]", "no list of streams");
  EXPECT_FAULT(R"({"streams":{}})", "no list of streams");
  EXPECT_FAULT(Streams("1"), "a stream that is no object");
  EXPECT_FAULT(Streams(R"({"codec_type":7})"), "codec_type");
  EXPECT_FAULT(Streams(R"({"codec_type":"video","height":8})"), "width");
  EXPECT_FAULT(Streams(R"({"codec_type":"video","width":0,"height":8})"), "width");
  EXPECT_FAULT(Streams(R"({"codec_type":"video","width":8,"height":"8"})"), "height");
  EXPECT_FAULT(Streams(Video(R"(,"side_data_list":[{"rotation":"x"}])")), "rotation");
}

PacketCounter Count(std::string_view lines, size_t piece) {
  PacketCounter counter;
  for (size_t at = 0; at < lines.size(); at += piece) counter.Add(lines.substr(at, piece));
  counter.Finish();
  return counter;
}

TEST(PacketCounter, CountsFramesInPiecesOfAnySize) {
  // The first is cut away by an edit; an empty line and a field more, as for transport streams; out of order.
  const std::string lines = "-1001,1001,KD\n0,1001,K_\n\n3003,1001,__,\n1001,1001,__\n2002,1001,__";
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, lines.size()}) {
    const PacketCounter counter = Count(lines, piece);
    EXPECT_EQ(counter.frames(), 4);
    EXPECT_EQ(counter.Seconds({.numerator = 1, .denominator = 30000}), 4004.0 / 30000);
    EXPECT_FALSE(counter.Seconds({}));
  }
}

TEST(PacketCounter, DoesNotCountWhatIsOnlyReferredTo) {
  const PacketCounter counter = Count("0,33,K_\n33,33,__\n33,33,__\n67,33,__\n", 5);
  EXPECT_EQ(counter.frames(), 3);
  EXPECT_EQ(counter.Seconds({.numerator = 1, .denominator = 1000}), 0.1);
  EXPECT_EQ(Count("N/A,33,K_\nN/A,33,__\n", 5).frames(), 2);
}

TEST(PacketCounter, KnowsWhenItDoesNotKnowTheTime) {
  const Fraction unit{.numerator = 1, .denominator = 25};
  for (const char* lines : {"N/A,1,K_\n1,1,__\n", "0,1,K_\n1,N/A,__\n", "0,-1,K_\n", "0,0,K_\n", "",
                            "9223372036854775807,1,K_\n", "99999999999999999999,1,K_\n"})
    EXPECT_FALSE(Count(lines, 3).Seconds(unit)) << lines;
  EXPECT_EQ(Count("N/A,1,K_\n1,1,__\n", 3).frames(), 2);
}

TEST(PacketCounter, IsNotImpressedByNonsense) {
  EXPECT_EQ(Count(std::string(100'000, 'x'), 1000).frames(), 0);
  EXPECT_EQ(Count("a,b\n,\n,,\n", 1).frames(), 0);
}

}  // namespace
}  // namespace carat::media
