// One function per format. They are given bytes that begin as the format does; their errors (kBadMedia) say what is
// wrong and how far they got, without the name of the file.
#pragma once

#include <cstddef>
#include <span>

#include "media/image.h"

namespace carat::media {

// A black picture, after CheckSize: nothing large is allocated before.
Result<Image> NewImage(int64_t width, int64_t height, const ImageLimits& limits);

Result<Image> DecodeJpeg(std::span<const std::byte> bytes, const ImageLimits& limits);  // libjpeg-turbo
Result<Image> DecodePng(std::span<const std::byte> bytes, const ImageLimits& limits);   // libpng
Result<Image> DecodeWebp(std::span<const std::byte> bytes, const ImageLimits& limits);  // libwebp
Result<Image> DecodeGif(std::span<const std::byte> bytes, const ImageLimits& limits);   // giflib
Result<Image> DecodeBmp(std::span<const std::byte> bytes, const ImageLimits& limits);   // our own

}  // namespace carat::media
