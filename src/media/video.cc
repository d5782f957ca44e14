#include "media/video.h"

#include <algorithm>
#include <array>
#include <string>
#include <system_error>
#include <vector>

#include "base/try.h"
#include "media/decoders.h"
#include "media/ffmpeg.h"
#include "media/ffprobe.h"

namespace carat::media {
namespace {

constexpr ImageLimits kFrameLimits{};
// The first video stream that is no cover picture.
constexpr const char* kStream = "V:0";
// Packets are counted at the speed of the disk: a slow card holds some 20 GB in this time.
constexpr double kProbeSeconds = 600;

FfmpegInput InputOf(const std::filesystem::path& path) {
  return {.url = "file:" + path.string(), .formats = kVideoFormats};
}

// Starts a command on the file. Errors say that a video needs it.
Result<std::unique_ptr<ChildProcess>> Start(const std::string& program, const std::filesystem::path& path,
                                            const std::vector<std::string>& before,
                                            const std::vector<std::string>& after, const ChildLimits& limits) {
  auto child = StartFfmpeg(program, InputOf(path), before, after, limits);
  if (!child && child.error().code == ErrorCode::kNotFound)
    return Fail(ErrorCode::kBadMedia,
                path.string() + ": a video needs the " + program + " command, which is not installed");
  if (!child) return FailedFor(path.string(), InputOf(path), child.error());
  return child;
}

// Hands over what ffprobe prints, piece by piece. Returns what it complains of while it goes on.
Result<std::string> RunProbe(const std::filesystem::path& path, const std::vector<std::string>& options,
                             const std::function<void(std::string_view)>& add) {
  constexpr uint64_t kMostBytes = uint64_t{256} << 20;  // ten million packets
  TRY_ASSIGN(const auto child,
             Start("ffprobe", path, options, {}, {.seconds = kProbeSeconds, .output_bytes = kMostBytes}));
  std::array<char, 65536> piece;
  for (;;) {
    const Result<size_t> got = child->Read(std::as_writable_bytes(std::span(piece)));
    if (!got) return FailedFor(path.string(), InputOf(path), got.error());
    add({piece.data(), *got});
    if (*got < piece.size()) break;
  }
  if (const Status finished = child->Finish(); !finished)
    return FailedFor(path.string(), InputOf(path), finished.error());
  return child->Complaints();
}

// An expression that is true for the frames of these runs of consecutive numbers. ffmpeg nests a sum as deeply as it is
// long, and no deeper than 100: so halves are added in brackets.
struct Run {
  int64_t first, last;
};
std::string IsOneOf(std::span<const Run> runs) {
  if (runs.size() == 1) return "between(n," + std::to_string(runs[0].first) + "," + std::to_string(runs[0].last) + ")";
  const size_t half = runs.size() / 2;
  return "(" + IsOneOf(runs.first(half)) + "+" + IsOneOf(runs.subspan(half)) + ")";
}

// Passes the frames of these numbers, in the size that was announced.
std::string Filter(const VideoInfo& info, std::span<const int64_t> indices) {
  std::vector<Run> runs;
  for (const int64_t index : indices) {
    if (runs.empty() || index != runs.back().last + 1) runs.push_back({.first = index, .last = index});
    runs.back().last = index;
  }
  return "select='" + IsOneOf(runs) + "',scale=" + std::to_string(info.width) + ":" + std::to_string(info.height);
}

Status CheckIndices(std::span<const int64_t> indices, const VideoInfo& info) {
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < (i == 0 ? 0 : indices[i - 1] + 1) || indices[i] >= info.frames)
      return Fail(ErrorCode::kUsage, "frame " + std::to_string(indices[i]) + " of a video of " +
                                         std::to_string(info.frames) + " frames, or out of order");
  }
  return {};
}

}  // namespace

Result<VideoInfo> ProbeVideo(const std::filesystem::path& path) {
  const std::string name = path.string();
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    return Fail(
        ErrorCode::kBadMedia,
        name + ": " + (std::filesystem::exists(path, error) ? "not a file; a video is read from one" : "no such file"));
  std::string json;
  TRY(RunProbe(path, {"-show_entries", kStreamEntries, "-of", "json"}, [&](std::string_view piece) { json += piece; }));
  TRY_ASSIGN(const VideoStream stream, ParseStreams(json, name));
  if (const Status size = CheckSize(stream.width, stream.height, kFrameLimits); !size)
    return Fail(ErrorCode::kBadMedia, name + ": frames that are " + size.error().message);
  PacketCounter counter;
  TRY_ASSIGN(const std::string complaints,
             RunProbe(path, {"-select_streams", kStream, "-show_entries", kPacketEntries, "-of", "csv=p=0"},
                      [&](std::string_view piece) { counter.Add(piece); }));
  counter.Finish();
  for (const char* cut_short : {"partial file", "File ended prematurely"})  // in MP4 and Matroska
    if (complaints.contains(cut_short))
      return Fail(ErrorCode::kBadMedia,
                  name + ": damaged: it ends too early, after " + std::to_string(counter.frames()) + " frames");
  if (counter.frames() == 0) return Fail(ErrorCode::kBadMedia, name + ": a video without frames");
  VideoInfo info{
      .frames = counter.frames(), .width = stream.width, .height = stream.height, .has_audio = stream.has_audio};
  const std::optional<double> seconds = counter.Seconds(stream.time_unit);
  info.fps = seconds ? static_cast<double>(info.frames) / *seconds : stream.average_rate.value();
  if (info.fps <= 0) return Fail(ErrorCode::kBadMedia, name + ": a video that does not say how fast its frames follow");
  info.seconds = static_cast<double>(info.frames) / info.fps;
  return info;
}

Status ReadVideoFrames(const std::filesystem::path& path, const VideoInfo& info, std::span<const int64_t> indices,
                       const FrameSink& sink) {
  constexpr double kExtraSeconds = 600, kMostSeconds = 86400;
  constexpr uint64_t kHeaderBytes = 64;  // of a frame, and more
  TRY(CheckIndices(indices, info));
  if (indices.empty()) return {};
  const uint64_t frame_bytes =
      3 * static_cast<uint64_t>(info.width) * static_cast<uint64_t>(info.height) + kHeaderBytes;
  TRY_ASSIGN(const auto child, Start("ffmpeg", path, {"-max_pixels", std::to_string(kFrameLimits.pixels)},
                                     {"-map", std::string("0:") + kStream, "-vf", Filter(info, indices), "-frames:v",
                                      std::to_string(indices.size()), "-fps_mode", "passthrough", "-c:v", "ppm",
                                      "-pix_fmt", "rgb24", "-f", "image2pipe", "pipe:1"},
                                     {.seconds = std::min(info.seconds + kExtraSeconds, kMostSeconds),
                                      .output_bytes = frame_bytes * indices.size()}));
  const auto read = [&](std::span<std::byte> out) { return child->Read(out); };
  for (size_t i = 0; i < indices.size(); ++i) {
    Result<std::optional<Image>> frame = ReadPpm(read, kFrameLimits);
    if (!frame) return FailedFor(path.string(), InputOf(path), frame.error());
    if (!*frame) {
      if (const Status finished = child->Finish(); !finished)
        return FailedFor(path.string(), InputOf(path), finished.error());
      return Fail(ErrorCode::kBadMedia, path.string() + ": the video ends before frame " + std::to_string(indices[i]) +
                                            " of " + std::to_string(info.frames));
    }
    TRY(sink(static_cast<int64_t>(i), std::move(**frame)));
  }
  return {};
}

}  // namespace carat::media
