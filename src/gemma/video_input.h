// A video as the model reads it: frames that go through the vision tower like images, each behind its time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "carat/result.h"

namespace carat::gemma {

inline constexpr int64_t kDefaultVideoFrames = 32;
inline constexpr int64_t kDefaultFrameBudget = 70;  // soft tokens of a frame (gemma/image_input.h)
// Of one video. More would not fit the model's context: a frame is some 40 tokens at least.
inline constexpr int64_t kMaxSampledFrames = 4096;

// Which frames of a video are taken, evenly spaced and never more than there are.
struct FrameSampling {
  int64_t frames = kDefaultVideoFrames;
  double frames_per_second = 0;  // if not 0: as many as this makes, in place of `frames`
};

// The average frame rate of a video, given what its file says (0: nothing): the reference assumes 24 where it does not
// know. Numbers that are no rate count as nothing.
double FrameRate(double stated);

// The frames to take of a video that has `total` at `rate` (FrameRate) per second: floor(i * total / n) for
// i = 0 .. n-1, ascending. Errors: kUsage for a sampling that asks for nothing, kBadMedia for a video without frames,
// kDoesNotFit beyond kMaxSampledFrames.
Result<std::vector<int64_t>> SampleFrames(int64_t total, double rate, const FrameSampling& sampling);

// When a frame is seen: "MM:SS", rounded down, with more digits from 100 minutes on.
std::string TimeStamp(int64_t frame, double rate);

// The text in front of the i-th frame taken. Each of its characters is one token.
std::string FrameLead(size_t i, int64_t frame, double rate);

// Tokens of a whole video in a prompt: leads, `soft_tokens` for each frame, and the two markers around them.
int64_t VideoTokens(std::span<const int64_t> frames, double rate, int64_t soft_tokens);

}  // namespace carat::gemma
