// Videos made with ffmpeg whose frames carry their number: 16 blocks side by side, white for a bit that is set.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "media/child_process.h"
#include "media/image.h"

namespace carat::testing_support {

inline bool HasFfmpeg() { return media::ChildProcess::Start({"ffmpeg", "-version"}, {}).has_value(); }

// Runs ffmpeg with these arguments; what it complains of, or nothing.
inline std::string RunFfmpeg(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), {"ffmpeg", "-nostdin", "-loglevel", "error", "-y"});
  const auto child = media::ChildProcess::Start(arguments, {.seconds = 200});
  if (!child) return child.error().message;
  const Status finished = (*child)->Finish();
  return finished ? "" : finished.error().message;
}

inline constexpr int64_t kNumberBits = 16, kBlock = 8, kNumberHeight = 32;  // a frame is 128 by 32

// `frames` of them at `rate` per second, written as the options and the name's ending say.
inline std::string MakeNumberedVideo(const std::filesystem::path& path, int64_t frames,
                                     const std::vector<std::string>& options, const std::string& rate = "30000/1001") {
  std::vector<std::string> arguments = {
      "-f",
      "lavfi",
      "-i",
      "nullsrc=s=128x32:r=" + rate + ",format=yuv420p,geq=lum='255*mod(floor(N/pow(2,floor(X/8))),2)':cb=128:cr=128",
      "-frames:v",
      std::to_string(frames)};
  arguments.insert(arguments.end(), options.begin(), options.end());
  arguments.push_back(path.string());
  return RunFfmpeg(arguments);
}

// The number that a frame carries, from its left end to its right, or from its bottom to its top if it stands upright.
inline int64_t NumberOf(const media::Image& frame) {
  const bool upright = frame.height > frame.width;
  int64_t number = 0;
  for (int64_t bit = 0; bit < kNumberBits; ++bit) {
    const int64_t along = bit * kBlock + kBlock / 2, across = kNumberHeight / 2;
    const int64_t pixel = upright ? (frame.height - 1 - along) * frame.width + across : across * frame.width + along;
    const auto green = static_cast<size_t>(3 * pixel + 1);
    if (green < frame.rgb.size() && frame.rgb[green] > 127) number |= int64_t{1} << bit;
  }
  return number;
}

}  // namespace carat::testing_support
