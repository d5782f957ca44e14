// BMP, read here: uncompressed rows behind a header. A library for it would be a dependency that is larger than this,
// and the ffmpeg command is not on every board that stores its pictures so.
#include <bit>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "base/try.h"
#include "media/decoders.h"

namespace carat::media {
namespace {

std::unexpected<Error> Damaged(const std::string& what) { return Fail(ErrorCode::kBadMedia, "damaged BMP: " + what); }

// The little-endian number of `size` bytes at `offset`, which must be there.
uint32_t Number(std::span<const std::byte> bytes, size_t offset, int size) {
  uint32_t number = 0;
  for (int i = size - 1; i >= 0; --i) number = number << 8 | static_cast<uint32_t>(bytes[offset + i]);
  return number;
}

// Where a colour stands in a pixel of 16 or 32 bits.
struct Channel {
  uint32_t mask = 0;
  int shift = 0;

  uint8_t Of(uint32_t pixel) const {
    const uint64_t most = mask >> shift;
    return most == 0 ? 0 : static_cast<uint8_t>(uint64_t{(pixel & mask) >> shift} * 255 / most);
  }
};

Result<Channel> ChannelOf(uint32_t mask) {
  const Channel channel{.mask = mask, .shift = mask == 0 ? 0 : std::countr_zero(mask)};
  const uint64_t most = mask >> channel.shift;
  if ((most & (most + 1)) != 0) return Damaged("the bits of a colour do not stand together");
  return channel;
}

struct Header {
  int64_t width = 0, height = 0;
  bool top_down = false;
  int bits = 0;  // of a pixel: 1, 4 or 8 of an index into the palette, or 16, 24 or 32
  Channel red, green, blue;
  size_t palette = 0;  // where it begins
  int colours = 0, colour_bytes = 4;
  size_t rows = 0;  // where they begin
};

constexpr size_t kFileHeader = 14, kCoreHeader = 12, kInfoHeader = 40;

Status ReadMasks(std::span<const std::byte> bytes, uint32_t compression, Header& header) {
  constexpr uint32_t kNone = 0, kBitFields = 3;
  uint32_t red = 0xFF0000, green = 0xFF00, blue = 0xFF;
  if (header.bits == 16) red = 0x7C00, green = 0x3E0, blue = 0x1F;
  if (compression == kBitFields && header.bits >= 16 && header.bits != 24) {
    constexpr size_t kMasks = kFileHeader + kInfoHeader;
    if (bytes.size() < kMasks + 12) return Damaged("it ends in its header");
    red = Number(bytes, kMasks, 4);
    green = Number(bytes, kMasks + 4, 4);
    blue = Number(bytes, kMasks + 8, 4);
  } else if (compression != kNone) {
    return Fail(ErrorCode::kBadMedia, "BMP with compression " + std::to_string(compression) +
                                          ", which Carat does not read; save it uncompressed, or as PNG");
  }
  TRY_ASSIGN(header.red, ChannelOf(red));
  TRY_ASSIGN(header.green, ChannelOf(green));
  TRY_ASSIGN(header.blue, ChannelOf(blue));
  return {};
}

Status ReadPaletteSize(std::span<const std::byte> bytes, uint32_t used, Header& header) {
  if (header.bits > 8) return {};
  const uint32_t most = uint32_t{1} << header.bits;
  header.colours = static_cast<int>(used == 0 || used > most ? most : used);
  if (header.palette + static_cast<size_t>(header.colours) * header.colour_bytes > bytes.size())
    return Damaged("it ends in its palette");
  return {};
}

Result<Header> ReadHeader(std::span<const std::byte> bytes) {
  if (bytes.size() < kFileHeader + kCoreHeader) return Damaged("it ends in its header");
  Header header;
  header.rows = Number(bytes, 10, 4);
  const uint32_t size = Number(bytes, kFileHeader, 4);
  header.palette = kFileHeader + size_t{size};
  uint32_t compression = 0, colours_used = 0;
  if (size == kCoreHeader) {
    header.width = Number(bytes, 18, 2);
    header.height = Number(bytes, 20, 2);
    header.bits = static_cast<int>(Number(bytes, 24, 2));
    header.colour_bytes = 3;
  } else {
    if (size < kInfoHeader) return Damaged("its header has " + std::to_string(size) + " bytes");
    if (bytes.size() < kFileHeader + kInfoHeader) return Damaged("it ends in its header");
    header.width = static_cast<int32_t>(Number(bytes, 18, 4));
    const int64_t height = static_cast<int32_t>(Number(bytes, 22, 4));
    header.height = std::abs(height);
    header.top_down = height < 0;
    header.bits = static_cast<int>(Number(bytes, 28, 2));
    compression = Number(bytes, 30, 4);
    colours_used = Number(bytes, 46, 4);
  }
  if (header.bits != 1 && header.bits != 4 && header.bits != 8 && header.bits != 16 && header.bits != 24 &&
      header.bits != 32)
    return Damaged("a pixel has " + std::to_string(header.bits) + " bits");
  TRY(ReadMasks(bytes, compression, header));
  TRY(ReadPaletteSize(bytes, colours_used, header));
  return header;
}

// One row of `width` pixels.
Status ReadRow(std::span<const std::byte> bytes, const Header& header, size_t row, uint8_t* rgb) {
  for (int64_t x = 0; x < header.width; ++x, rgb += 3) {
    if (header.bits > 8) {
      const int size = header.bits / 8;
      const uint32_t pixel = Number(bytes, row + x * size, size);
      rgb[0] = header.red.Of(pixel);
      rgb[1] = header.green.Of(pixel);
      rgb[2] = header.blue.Of(pixel);
      continue;
    }
    const int64_t bit = x * header.bits;
    const uint32_t byte = Number(bytes, row + bit / 8, 1);
    const uint32_t index = byte >> (8 - header.bits - bit % 8) & ((1U << header.bits) - 1);  // the high bits come first
    if (index >= static_cast<uint32_t>(header.colours)) return Damaged("a colour that is not in the palette");
    const size_t colour = header.palette + index * header.colour_bytes;
    for (int c = 0; c < 3; ++c) rgb[c] = static_cast<uint8_t>(bytes[colour + 2 - c]);  // blue, green, red
  }
  return {};
}

}  // namespace

Result<Image> DecodeBmp(std::span<const std::byte> bytes, const ImageLimits& limits) {
  TRY_ASSIGN(const Header header, ReadHeader(bytes));
  TRY_ASSIGN(Image image, NewImage(header.width, header.height, limits));
  const size_t stride = (static_cast<size_t>(header.width) * header.bits + 31) / 32 * 4;
  for (int64_t i = 0; i < header.height; ++i) {
    const size_t row = header.rows + i * stride;
    if (row + stride > bytes.size())
      return Damaged("it ends after row " + std::to_string(i) + " of " + std::to_string(header.height));
    const int64_t y = header.top_down ? i : header.height - 1 - i;
    TRY(ReadRow(bytes, header, row, image.rgb.data() + y * header.width * 3));
  }
  return image;
}

}  // namespace carat::media
