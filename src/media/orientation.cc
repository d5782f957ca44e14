#include "media/orientation.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

namespace carat::media {
namespace {

// Numbers of a TIFF structure, whose first two bytes say their order.
class TiffReader {
 public:
  TiffReader(std::span<const std::byte> bytes, bool little_endian) : bytes_(bytes), little_endian_(little_endian) {}

  // The unsigned number of `size` bytes at `offset`; nothing if it is not all there.
  std::optional<uint32_t> Number(uint64_t offset, int size) const {
    if (offset + size > bytes_.size()) return std::nullopt;
    uint32_t number = 0;
    for (int i = 0; i < size; ++i) {
      const uint64_t at = offset + (little_endian_ ? size - 1 - i : i);
      number = number << 8 | static_cast<uint32_t>(bytes_[at]);
    }
    return number;
  }

 private:
  std::span<const std::byte> bytes_;
  bool little_endian_;
};

bool StartsWith(std::span<const std::byte> bytes, const char* start, size_t size) {
  return bytes.size() >= size && std::memcmp(bytes.data(), start, size) == 0;
}

}  // namespace

int ExifOrientation(std::span<const std::byte> exif) {
  constexpr uint32_t kOrientationTag = 0x0112, kShort = 3, kLong = 4;
  constexpr int kEntryBytes = 12;  // tag (2), type (2), count (4), value (4)
  if (StartsWith(exif, "Exif\0\0", 6)) exif = exif.subspan(6);
  const bool little_endian = StartsWith(exif, "II*\0", 4);
  if (!little_endian && !StartsWith(exif, "MM\0*", 4)) return 1;
  const TiffReader tiff(exif, little_endian);
  const uint64_t directory = tiff.Number(4, 4).value_or(0);
  const uint32_t entries = tiff.Number(directory, 2).value_or(0);
  for (uint32_t i = 0; i < entries; ++i) {
    const uint64_t entry = directory + 2 + uint64_t{i} * kEntryBytes;
    const std::optional<uint32_t> tag = tiff.Number(entry, 2);
    if (!tag) return 1;
    if (*tag != kOrientationTag) continue;
    const uint32_t type = tiff.Number(entry + 2, 2).value_or(0);
    if (type != kShort && type != kLong) return 1;
    const uint32_t value = tiff.Number(entry + 8, type == kShort ? 2 : 4).value_or(1);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Image Upright(Image image, int orientation) {
  if (orientation <= 1 || orientation > 8) return image;
  const int64_t width = image.width, height = image.height;
  // The stored pixel that comes first, and the steps to its right and lower neighbours, in pixels.
  struct Walk {
    int64_t first, right, down;
  };
  const Walk walks[] = {
      {.first = width - 1, .right = -1, .down = width},             // 2: mirrored left to right
      {.first = width * height - 1, .right = -1, .down = -width},   // 3: upside down
      {.first = (height - 1) * width, .right = 1, .down = -width},  // 4: mirrored top to bottom
      {.first = 0, .right = width, .down = 1},                      // 5: rows are columns
      {.first = (height - 1) * width, .right = -width, .down = 1},  // 6: to be turned clockwise
      {.first = width * height - 1, .right = -width, .down = -1},   // 7: 5 upside down
      {.first = width - 1, .right = width, .down = -1},             // 8: to be turned anticlockwise
  };
  const Walk walk = walks[orientation - 2];
  Image upright{.width = width, .height = height, .rgb = std::vector<uint8_t>(image.rgb.size())};
  if (orientation >= 5) std::swap(upright.width, upright.height);
  uint8_t* out = upright.rgb.data();
  for (int64_t y = 0; y < upright.height; ++y) {
    for (int64_t x = 0; x < upright.width; ++x, out += 3)
      std::memcpy(out, image.rgb.data() + 3 * (walk.first + x * walk.right + y * walk.down), 3);
  }
  return upright;
}

}  // namespace carat::media
