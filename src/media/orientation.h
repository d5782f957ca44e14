// Which way up a picture is meant to be seen: EXIF's orientation, and nothing else of EXIF.
#pragma once

#include <cstddef>
#include <span>

#include "media/image.h"

namespace carat::media {

// The orientation (1 to 8) that an EXIF block gives: a TIFF structure, with or without "Exif\0\0" before it. A block
// that is damaged or says nothing gives 1, "as stored": it is a remark about the picture, not the picture.
int ExifOrientation(std::span<const std::byte> exif);

// The picture as `orientation` wants it shown: 2, 4, 5 and 7 mirror it; 5 to 8 exchange width and height.
Image Upright(Image image, int orientation);

}  // namespace carat::media
