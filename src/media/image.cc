#include "media/image.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include "base/try.h"
#include "media/decoders.h"
#include "media/ffmpeg.h"

namespace carat::media {
namespace {

using Decoder = Result<Image> (*)(std::span<const std::byte>, const ImageLimits&);

bool Has(std::span<const std::byte> bytes, size_t offset, std::string_view magic) {
  return bytes.size() >= offset + magic.size() && std::memcmp(bytes.data() + offset, magic.data(), magic.size()) == 0;
}

// By the first bytes, never by the name.
Decoder DecoderOf(std::span<const std::byte> bytes) {
  if (Has(bytes, 0, "\xFF\xD8\xFF")) return DecodeJpeg;
  if (Has(bytes, 0, "\x89PNG\r\n\x1A\n")) return DecodePng;
  if (Has(bytes, 0, "RIFF") && Has(bytes, 8, "WEBP")) return DecodeWebp;
  if (Has(bytes, 0, "GIF87a") || Has(bytes, 0, "GIF89a")) return DecodeGif;
  if (Has(bytes, 0, "BM")) return DecodeBmp;
  return DecodeWithFfmpeg;
}

// All of the file, or one byte more than `most_bytes`. Read, not mapped: it may be a pipe, and someone may cut a
// picture short while it is decoded.
Result<std::vector<std::byte>> ReadFile(const std::filesystem::path& path, uint64_t most_bytes) {
  constexpr size_t kPiece = size_t{1} << 20;
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  ssize_t got = fd < 0 ? -1 : 1;
  std::vector<std::byte> bytes;
  while (got > 0 && bytes.size() <= most_bytes) {
    const size_t before = bytes.size(), room = std::min<uint64_t>(kPiece, most_bytes + 1 - before);
    bytes.resize(before + room);
    do got = ::read(fd, bytes.data() + before, room);
    while (got < 0 && errno == EINTR);
    bytes.resize(before + (got > 0 ? got : 0));
  }
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (got < 0) return Fail(ErrorCode::kBadMedia, path.string() + ": " + std::strerror(error));
  return bytes;
}

}  // namespace

Status CheckSize(int64_t width, int64_t height, const ImageLimits& limits) {
  const std::string size = std::to_string(width) + " by " + std::to_string(height) + " pixels";
  if (width < 1 || height < 1) return Fail(ErrorCode::kBadMedia, "a picture of " + size);
  if (static_cast<uint64_t>(width) > limits.pixels / static_cast<uint64_t>(height))
    return Fail(ErrorCode::kBadMedia, "a picture of " + size + ", more than the limit of " +
                                          std::to_string(limits.pixels) + "; " + std::string(limits.advice));
  return {};
}

Result<Image> NewImage(int64_t width, int64_t height, const ImageLimits& limits) {
  TRY(CheckSize(width, height, limits));
  return Image{.width = width, .height = height, .rgb = std::vector<uint8_t>(width * height * 3)};
}

Result<Image> DecodeImage(std::span<const std::byte> bytes, const std::string& name, const ImageLimits& limits) {
  const auto named = [&](const Error& error) { return Fail(error.code, name + ": " + error.message); };
  if (bytes.empty()) return named({ErrorCode::kBadMedia, "an empty file is no picture"});
  if (bytes.size() > limits.bytes)
    return named({ErrorCode::kBadMedia, "a picture of " + std::to_string(bytes.size()) +
                                            " bytes, more than the limit of " + std::to_string(limits.bytes)});
  Result<Image> image = DecoderOf(bytes)(bytes, limits);
  if (!image) return named(image.error());
  return image;
}

Result<Image> ReadImage(const std::filesystem::path& path, const ImageLimits& limits) {
  TRY_ASSIGN(const std::vector<std::byte> bytes, ReadFile(path, limits.bytes));
  return DecodeImage(bytes, path.string(), limits);
}

}  // namespace carat::media
