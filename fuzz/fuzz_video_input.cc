// Frames of a video and their time stamps, for any numbers that a file or a user may give.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

#include "gemma/video_input.h"

namespace carat::gemma {

namespace {

struct Input {
  int64_t total = 0;
  double stated_rate = 0;
  FrameSampling sampling;
};

bool IsStamp(const std::string& stamp) {
  const size_t colon = stamp.find(':');
  if (colon == stamp.npos || colon < 2 || stamp.size() != colon + 3) return false;
  for (size_t i = 0; i < stamp.size(); ++i)
    if (i != colon && (stamp[i] < '0' || stamp[i] > '9')) return false;
  return stamp[colon + 1] < '6';
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input input;
  std::memcpy(&input.total, data, size < 8 ? size : 8);
  if (size >= 16) std::memcpy(&input.stated_rate, data + 8, 8);
  if (size >= 24) std::memcpy(&input.sampling.frames, data + 16, 8);
  if (size >= 32) std::memcpy(&input.sampling.frames_per_second, data + 24, 8);

  const double rate = FrameRate(input.stated_rate);
  if (!(rate > 0)) std::abort();
  const auto frames = SampleFrames(input.total, rate, input.sampling);
  if (!frames) {
    if (frames.error().message.empty()) std::abort();
    return 0;
  }
  if (frames->empty() || static_cast<int64_t>(frames->size()) > std::min(kMaxSampledFrames, input.total)) std::abort();
  for (size_t i = 0; i < frames->size(); ++i) {
    const int64_t frame = (*frames)[i], before = i == 0 ? -1 : (*frames)[i - 1];
    if (frame <= before || frame >= input.total || !IsStamp(TimeStamp(frame, rate))) std::abort();
  }
  if (frames->front() != 0 || VideoTokens(*frames, rate, 66) < static_cast<int64_t>(frames->size()) * 74) std::abort();
  return 0;
}

}  // namespace carat::gemma
