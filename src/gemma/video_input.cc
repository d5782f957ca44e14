#include "gemma/video_input.h"

#include <algorithm>
#include <cmath>

#include "base/try.h"

namespace carat::gemma {

namespace {

constexpr double kAssumedRate = 24;
// Below one frame in 60 years: rates of files are fractions of 32-bit integers.
constexpr double kSlowestRate = 0x1p-31;
constexpr int64_t kMostFrames = int64_t{1} << 36;  // with any rate, minutes fit 64 bits

// How many frames a sampling asks for, at most `total`.
Result<int64_t> FrameCount(int64_t total, double rate, const FrameSampling& sampling) {
  if (sampling.frames_per_second != 0) {
    if (!(sampling.frames_per_second > 0) || !std::isfinite(sampling.frames_per_second))
      return Fail(ErrorCode::kUsage, "frames per second must be a number above 0");
    const double wanted = static_cast<double>(total) / rate * sampling.frames_per_second;
    return wanted >= static_cast<double>(total) ? total : std::max<int64_t>(1, static_cast<int64_t>(wanted));
  }
  if (sampling.frames < 1) return Fail(ErrorCode::kUsage, "a video must have 1 frame or more");
  return std::min(sampling.frames, total);
}

std::string TwoDigits(int64_t number) { return (number < 10 ? "0" : "") + std::to_string(number); }

}  // namespace

double FrameRate(double stated) { return std::isfinite(stated) && stated >= kSlowestRate ? stated : kAssumedRate; }

Result<std::vector<int64_t>> SampleFrames(int64_t total, double rate, const FrameSampling& sampling) {
  if (total < 1 || total > kMostFrames)
    return Fail(ErrorCode::kBadMedia, "a video of " + std::to_string(total) + " frames cannot be used");
  TRY_ASSIGN(const int64_t count, FrameCount(total, rate, sampling));
  if (count > kMaxSampledFrames)
    return Fail(ErrorCode::kDoesNotFit, std::to_string(count) + " frames of a video are too many; at most " +
                                            std::to_string(kMaxSampledFrames) + " would work");
  std::vector<int64_t> frames;
  for (int64_t i = 0; i < count; ++i) frames.push_back(i * total / count);
  return frames;
}

std::string TimeStamp(int64_t frame, double rate) {
  const double seconds = static_cast<double>(frame) / rate;
  return TwoDigits(static_cast<int64_t>(seconds / 60)) + ":" + TwoDigits(static_cast<int64_t>(std::fmod(seconds, 60)));
}

std::string FrameLead(size_t i, int64_t frame, double rate) {
  return (i > 0 ? " " : "") + TimeStamp(frame, rate) + " ";
}

int64_t VideoTokens(std::span<const int64_t> frames, double rate, int64_t soft_tokens) {
  int64_t tokens = 0;
  for (size_t i = 0; i < frames.size(); ++i)
    tokens += static_cast<int64_t>(FrameLead(i, frames[i], rate).size()) + soft_tokens + 2;
  return tokens;
}

}  // namespace carat::gemma
