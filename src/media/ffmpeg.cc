#include "media/ffmpeg.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "base/try.h"
#include "media/decoders.h"
#include "media/orientation.h"

namespace carat::media {
namespace {

std::unexpected<Error> BadFrame(const std::string& what) { return Fail(ErrorCode::kBadMedia, "ffmpeg: " + what); }

// One line of a PPM header, without its end; short, for ffmpeg writes no comments. Empty at the end of the stream.
Result<std::string> ReadHeaderLine(const ReadBytes& read) {
  constexpr size_t kLongest = 32;
  std::string line;
  for (;;) {
    std::byte byte{};
    TRY_ASSIGN(const size_t got, read(std::span(&byte, 1)));
    if (got == 0)
      return line.empty() ? Result<std::string>(line) : BadFrame("its output ends in the header of a frame");
    if (byte == std::byte{'\n'} && !line.empty()) return line;
    line += static_cast<char>(byte);
    if (line.size() > kLongest) return BadFrame("its output is not a PPM picture");
  }
}

// "640 480".
Result<std::array<int64_t, 2>> ParseSize(const std::string& line) {
  std::array<int64_t, 2> size{};
  const char* end = line.data() + line.size();
  const auto width = std::from_chars(line.data(), end, size[0]);
  if (width.ec != std::errc{} || width.ptr == end || *width.ptr != ' ') return BadFrame("a frame without a size");
  const auto height = std::from_chars(width.ptr + 1, end, size[1]);
  if (height.ec != std::errc{} || height.ptr != end) return BadFrame("a frame without a size");
  return size;
}

// Bytes as a file that has a descriptor but no name. ffmpeg can seek in it, which containers such as AVIF need.
Result<Descriptor> MakeFile(std::span<const std::byte> bytes) {
  Descriptor file(::memfd_create("picture", MFD_CLOEXEC));
  while (file.fd() >= 0 && !bytes.empty()) {
    const ssize_t written = ::write(file.fd(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) file.Close();
    bytes = bytes.subspan(written > 0 ? written : 0);
  }
  if (file.fd() < 0) return Fail(ErrorCode::kFailure, std::string("no memory for ffmpeg: ") + std::strerror(errno));
  return file;
}

}  // namespace

Result<std::unique_ptr<ChildProcess>> StartFfmpeg(const std::string& program, const FfmpegInput& input,
                                                  const std::vector<std::string>& before,
                                                  const std::vector<std::string>& after, const ChildLimits& limits) {
  std::vector<std::string> arguments = {program, "-hide_banner", "-loglevel", "error"};
  if (program == "ffmpeg") arguments.emplace_back("-nostdin");
  // A playlist or a script of file names, which is a "video" too, could name other files and hosts.
  arguments.insert(arguments.end(), {"-protocol_whitelist", "file", "-format_whitelist", std::string(input.formats)});
  arguments.insert(arguments.end(), before.begin(), before.end());
  arguments.insert(arguments.end(), {"-i", input.url});
  arguments.insert(arguments.end(), after.begin(), after.end());
  return ChildProcess::Start(arguments, limits, input.descriptor);
}

std::unexpected<Error> FailedFor(const std::string& name, const FfmpegInput& input, const Error& error) {
  std::string message = error.message;
  const std::string url = input.url + ": ";
  for (size_t at = message.find(url); at != std::string::npos; at = message.find(url, at))
    message.erase(at, url.size());
  const size_t refused = message.find("Format not on whitelist");
  if (refused != std::string::npos)
    message.replace(refused, std::string::npos, "not a kind of file that is opened here");
  return Fail(error.code, name + ": " + message);
}

Result<std::optional<Image>> ReadPpm(const ReadBytes& read, const ImageLimits& limits) {
  TRY_ASSIGN(const std::string kind, ReadHeaderLine(read));
  if (kind.empty()) return std::nullopt;
  if (kind != "P6") return BadFrame("its output is not a PPM picture");
  TRY_ASSIGN(const std::string size_line, ReadHeaderLine(read));
  TRY_ASSIGN(const auto size, ParseSize(size_line));
  TRY_ASSIGN(const std::string depth, ReadHeaderLine(read));
  if (depth != "255") return BadFrame("a frame that has not 8 bits");
  TRY_ASSIGN(Image image, NewImage(size[0], size[1], limits));
  TRY_ASSIGN(const size_t got, read(std::as_writable_bytes(std::span(image.rgb))));
  if (got < image.rgb.size())
    return BadFrame("a frame ends after " + std::to_string(got) + " of " + std::to_string(image.rgb.size()) + " bytes");
  return image;
}

Result<Image> DecodeWithFfmpeg(std::span<const std::byte> bytes, const ImageLimits& limits) {
  constexpr double kSeconds = 60;
  TRY_ASSIGN(const Descriptor file, MakeFile(bytes));
  const FfmpegInput input{.url = "file:/proc/self/fd/" + std::to_string(ChildProcess::kInput),
                          .descriptor = file.fd(),
                          .formats = kPictureFormats};
  const auto child =
      StartFfmpeg("ffmpeg", input, {"-max_pixels", std::to_string(limits.pixels)},
                  {"-map", "0:v:0", "-frames:v", "1", "-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "pipe:1"},
                  {.seconds = kSeconds, .output_bytes = 3 * limits.pixels + 64});
  const std::string neither = "neither JPEG, PNG, WebP, GIF nor BMP, and ";
  if (!child && child.error().code == ErrorCode::kNotFound)
    return Fail(ErrorCode::kBadMedia, neither + "anything else needs the ffmpeg command, which is not installed");
  if (!child) return std::unexpected(child.error());
  TRY_ASSIGN(std::optional<Image> image,
             ReadPpm([&](std::span<std::byte> out) { return (*child)->Read(out); }, limits));
  if (const Status finished = (*child)->Finish(); !finished)
    return FailedFor(neither + "ffmpeg cannot read it either", input, finished.error());
  if (!image) return Fail(ErrorCode::kBadMedia, neither + "ffmpeg finds no picture in it");
  // A TIFF file is what an EXIF block is, and ffmpeg does not look at its orientation.
  return Upright(std::move(*image), ExifOrientation(bytes));
}

}  // namespace carat::media
