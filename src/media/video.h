// Videos: what is in one, and chosen frames of it as a stream, by the ffmpeg and ffprobe commands (5.1 or later).
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "media/image.h"

namespace carat::media {

// Of the first video stream; cover pictures are none.
struct VideoInfo {
  int64_t frames = 0;             // at least 1; those that are shown, counted, whatever a header says
  double fps = 0;                 // frames by the time they fill, above 0. With variable rates: the average
  int64_t width = 0, height = 0;  // pixels of a frame, after turning it upright
  double seconds = 0;             // frames / fps
  bool has_audio = false;
};

// Reads through the whole file, without decoding it: what its header says of frames may be missing or wrong.
// Errors: kBadMedia, naming the file: no video in it, no frames, it ends before its header says, ffprobe is missing.
Result<VideoInfo> ProbeVideo(const std::filesystem::path& path);

// Called with a position in the list of indices (0, 1, ...) and that frame. An error ends the reading and is handed on.
using FrameSink = std::function<Status(int64_t position, Image frame)>;

// Decodes the video up to the last frame that is wanted, and hands over those of the given indices (ascending, each
// below info.frames), upright, one at a time: no more than one is in memory. `info` is what ProbeVideo said.
// Errors: kBadMedia, naming the file: also if it ends before a frame that is wanted, or takes ten minutes longer than
// it would take to watch; kInterrupted by Ctrl-C; the sink's.
Status ReadVideoFrames(const std::filesystem::path& path, const VideoInfo& info, std::span<const int64_t> indices,
                       const FrameSink& sink);

}  // namespace carat::media
