// GIF with giflib: the first frame on its screen, as a viewer shows it first.
#include <gif_lib.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "base/try.h"
#include "media/decoders.h"

namespace carat::media {
namespace {

struct Source {
  std::span<const std::byte> bytes;
  size_t position = 0;
};

int Read(GifFileType* gif, GifByteType* out, int size) {
  auto* source = static_cast<Source*>(gif->UserData);
  const size_t count = std::min<size_t>(size, source->bytes.size() - source->position);
  std::memcpy(out, source->bytes.data() + source->position, count);
  source->position += count;
  return static_cast<int>(count);
}

struct CloseGif {
  void operator()(GifFileType* gif) const { DGifCloseFile(gif, nullptr); }
};
using Gif = std::unique_ptr<GifFileType, CloseGif>;

std::unexpected<Error> Damaged(const std::string& where, const std::string& what) {
  return Fail(ErrorCode::kBadMedia, "damaged GIF, " + where + ": " + what);
}

std::string LastError(const GifFileType* gif) {
  const char* text = GifErrorString(gif->Error);
  return text == nullptr ? "unknown error" : text;
}

// Reads up to the first frame. Returns the index that is transparent in it, or -1.
Result<int> FindFrame(GifFileType* gif) {
  int transparent = NO_TRANSPARENT_COLOR;
  for (;;) {
    GifRecordType record = UNDEFINED_RECORD_TYPE;
    if (DGifGetRecordType(gif, &record) != GIF_OK) return Damaged("before its first frame", LastError(gif));
    if (record == TERMINATE_RECORD_TYPE) return Damaged("at its end", "it has no frame");
    if (record == IMAGE_DESC_RECORD_TYPE) {
      if (DGifGetImageDesc(gif) != GIF_OK) return Damaged("in its first frame", LastError(gif));
      return transparent;
    }
    int code = 0;
    GifByteType* block = nullptr;  // its first byte is its length
    if (DGifGetExtension(gif, &code, &block) != GIF_OK) return Damaged("before its first frame", LastError(gif));
    GraphicsControlBlock control{};
    if (block != nullptr && code == GRAPHICS_EXT_FUNC_CODE &&
        DGifExtensionToGCB(block[0], block + 1, &control) == GIF_OK)
      transparent = control.TransparentColor;
    while (block != nullptr)
      if (DGifGetExtensionNext(gif, &block) != GIF_OK) return Damaged("before its first frame", LastError(gif));
  }
}

void Fill(Image& image, const GifColorType& colour) {
  for (size_t i = 0; i < image.rgb.size(); i += 3) {
    image.rgb[i] = colour.Red;
    image.rgb[i + 1] = colour.Green;
    image.rgb[i + 2] = colour.Blue;
  }
}

// The order in which a frame stores its rows: from the top, or every eighth, then the rows between, then those between.
std::vector<int> RowOrder(int height, bool interlaced) {
  std::vector<int> order;
  const auto add = [&](int first, int step) {
    for (int y = first; y < height; y += step) order.push_back(y);
  };
  if (!interlaced) {
    add(0, 1);
    return order;
  }
  add(0, 8);
  add(4, 8);
  add(2, 4);
  add(1, 2);
  return order;
}

// What of the frame lies outside of the screen is not seen, and what is transparent leaves the screen as it is.
Status DrawFrame(GifFileType* gif, int transparent, Image& screen) {
  const GifImageDesc& frame = gif->Image;
  const ColorMapObject* colours = frame.ColorMap != nullptr ? frame.ColorMap : gif->SColorMap;
  if (colours == nullptr) return Damaged("in its first frame", "it has no palette");
  std::vector<GifPixelType> line(frame.Width);
  int rows = 0;
  for (const int row : RowOrder(frame.Height, frame.Interlace)) {
    const std::string where = "after row " + std::to_string(rows++) + " of " + std::to_string(frame.Height);
    if (DGifGetLine(gif, line.data(), frame.Width) != GIF_OK) return Damaged(where, LastError(gif));
    const int64_t y = int64_t{frame.Top} + row;
    for (int64_t i = 0; i < frame.Width; ++i) {
      const int64_t x = frame.Left + i;
      if (line[i] == transparent || x >= screen.width || y >= screen.height) continue;
      if (line[i] >= colours->ColorCount) return Damaged(where, "a colour that is not in the palette");
      const GifColorType& colour = colours->Colors[line[i]];
      uint8_t* pixel = screen.rgb.data() + (y * screen.width + x) * 3;
      pixel[0] = colour.Red;
      pixel[1] = colour.Green;
      pixel[2] = colour.Blue;
    }
  }
  return {};
}

}  // namespace

Result<Image> DecodeGif(std::span<const std::byte> bytes, const ImageLimits& limits) {
  Source source{bytes};
  int error = 0;
  const Gif gif(DGifOpen(&source, Read, &error));
  if (gif == nullptr) {
    const char* text = GifErrorString(error);
    return Damaged("in its header", text == nullptr ? "unknown error" : text);
  }
  TRY_ASSIGN(const int transparent, FindFrame(gif.get()));
  const GifImageDesc& frame = gif->Image;
  TRY(CheckSize(frame.Width, frame.Height, limits));  // all of it is decoded, also what lies outside of the screen
  TRY_ASSIGN(Image screen, NewImage(gif->SWidth, gif->SHeight, limits));
  const ColorMapObject* colours = gif->SColorMap;
  if (colours != nullptr && gif->SBackGroundColor < colours->ColorCount)
    Fill(screen, colours->Colors[gif->SBackGroundColor]);
  TRY(DrawFrame(gif.get(), transparent, screen));
  return screen;
}

}  // namespace carat::media
