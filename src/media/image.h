// Pictures: the bytes of a file become 8-bit RGB, upright.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"

namespace carat::media {

struct Image {
  int64_t width = 0, height = 0;  // pixels
  std::vector<uint8_t> rgb;       // [height][width][3], the upper left corner first
};

// What is refused unseen. The pixels take 3 bytes each, and up to 9 more while a progressive JPEG is decoded.
struct ImageLimits {
  uint64_t bytes = uint64_t{128} << 20;         // of the file
  uint64_t pixels = 100'000'000;                // width times height
  std::string_view advice = "make it smaller";  // to whoever has more pixels
};

// Whether a picture of that size has pixels, and not too many. Error: kBadMedia.
Status CheckSize(int64_t width, int64_t height, const ImageLimits& limits);

// Decodes what the bytes say they are, whatever the file is called: JPEG, PNG, WebP, GIF (the first frame) and BMP
// here, anything else (AVIF, HEIC, TIFF, ...) by the `ffmpeg` command if there is one. Orientation in EXIF is applied;
// alpha is dropped, so that stored colours show; gamma and ICC profiles are ignored; of 16 bits the high byte counts.
// These are the choices of the reference (see README.md). `name` is for messages.
// Error: kBadMedia, on one line, naming `name`. Any thread may call it.
Result<Image> DecodeImage(std::span<const std::byte> bytes, const std::string& name, const ImageLimits& limits = {});

// The same of a file. Errors: also kBadMedia if it cannot be read.
Result<Image> ReadImage(const std::filesystem::path& path, const ImageLimits& limits = {});

}  // namespace carat::media
