// EXIF: bytes of any kind give an orientation; turned by it, a picture keeps its pixels.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "media/orientation.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace carat::media;
  const int orientation = ExifOrientation(std::as_bytes(std::span(data, size)));
  if (orientation < 1 || orientation > 8) std::abort();
  // A picture of the same bytes.
  const auto width = static_cast<int64_t>(1 + size % 7), height = static_cast<int64_t>(size / 3) / width;
  if (height < 1) return 0;
  const Image image{.width = width, .height = height, .rgb = {data, data + 3 * width * height}};
  Image upright = Upright(image, orientation);
  if (upright.width != (orientation >= 5 ? height : width) || upright.rgb.size() != image.rgb.size()) std::abort();
  std::vector<uint8_t> stored = image.rgb;
  std::ranges::sort(stored);
  std::ranges::sort(upright.rgb);
  if (stored != upright.rgb) std::abort();
  return 0;
}
