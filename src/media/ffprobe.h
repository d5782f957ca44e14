// What ffprobe prints about a video, read with distrust.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "carat/result.h"

namespace carat::media {

struct Fraction {
  int64_t numerator = 0, denominator = 1;  // the denominator is above 0
  double value() const { return static_cast<double>(numerator) / static_cast<double>(denominator); }
};

// Of the first video stream.
struct VideoStream {
  int64_t width = 0, height = 0;  // pixels, upright
  Fraction time_unit;             // seconds
  Fraction average_rate;          // frames per second by the header; 0 if unknown
  bool has_audio = false;         // in the file
};

// What to ask for (-show_entries). Tags are left out: anyone may have written anything there, and twice.
inline constexpr const char* kStreamEntries =
    "stream=codec_type,width,height,avg_frame_rate,r_frame_rate,time_base:stream_disposition=attached_pic:"
    "stream_side_data=rotation";
// Reads the answer (-of json). Errors: kBadMedia, beginning with `name`: not what ffprobe prints; no video stream.
Result<VideoStream> ParseStreams(std::string_view json, const std::string& name);

inline constexpr const char* kPacketEntries = "packet=pts,duration,flags";
// Counts the lines of packets (-of csv=p=0), times in time units, that come in pieces of any size. A packet is a frame,
// unless it is marked as one that is not to be shown, or has the time of the packet before it: VP8 keeps frames that
// are only there for others to refer to.
class PacketCounter {
 public:
  void Add(std::string_view piece);
  void Finish();  // of the last line

  int64_t frames() const { return frames_; }
  // From the beginning of the first frame to the end of the last, in seconds, as torchcodec computes it: from both ends
  // in seconds. None if a frame's time is unknown.
  std::optional<double> Seconds(const Fraction& time_unit) const;

 private:
  void AddLine(std::string_view line);

  std::string line_;  // begun
  int64_t frames_ = 0;
  std::optional<int64_t> last_time_;
  int64_t begin_ = INT64_MAX, end_ = INT64_MIN;
  bool timed_ = true;
};

}  // namespace carat::media
