// The ffmpeg and ffprobe commands: told to read one file and nothing else, their output checked like a stranger's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "media/child_process.h"
#include "media/image.h"

namespace carat::media {

// What the commands shall read.
struct FfmpegInput {
  std::string url;           // "file:" and a path
  int descriptor = -1;       // what ChildProcess::kInput is there, if the path is that
  std::string_view formats;  // containers that may be in it, by ffmpeg's names
};
inline constexpr std::string_view kPictureFormats =
    "mov,tiff_pipe,jpegxl_pipe,j2k_pipe,bmp_pipe,psd_pipe,exr_pipe,hdr_pipe,qoi_pipe,dds_pipe,dpx_pipe,pcx_pipe,sgi_"
    "pipe,"
    "sunrast_pipe,pam_pipe,pbm_pipe,pgm_pipe,ppm_pipe,pfm_pipe,xbm_pipe,xpm_pipe,xwd_pipe,ico,apng,webp_pipe,avif";
inline constexpr std::string_view kVideoFormats =
    "mov,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,apng,h264,hevc,m4v,mjpeg,ivf,mxf,rm,dv,av1,obu,nut,"
    "yuv4mpegpipe,wtv,nsv,swf,smjpeg,h261,h263,vc1,amv,webp_pipe";

// Starts `program` ("ffmpeg" or "ffprobe"): options that bound what it opens, `before`, the input, `after`.
// Errors: those of ChildProcess::Start.
Result<std::unique_ptr<ChildProcess>> StartFfmpeg(const std::string& program, const FfmpegInput& input,
                                                  const std::vector<std::string>& before,
                                                  const std::vector<std::string>& after, const ChildLimits& limits);

// An error of a child with the file's name before it, and without the URL that stands for it.
std::unexpected<Error> FailedFor(const std::string& name, const FfmpegInput& input, const Error& error);

// Fills a buffer as far as there are bytes: fewer than asked for at the end.
using ReadBytes = std::function<Result<size_t>(std::span<std::byte>)>;

// The next picture of a row of PPM files of 8 bits, the form in which ffmpeg hands over pixels; none at the end.
// Errors: kBadMedia, if it is none, or cut short, or larger than the limit; those of `read`.
Result<std::optional<Image>> ReadPpm(const ReadBytes& read, const ImageLimits& limits);

// A picture that no decoder here reads. Without the file's name in errors, as in decoders.h.
Result<Image> DecodeWithFfmpeg(std::span<const std::byte> bytes, const ImageLimits& limits);

}  // namespace carat::media
