// WebP with libwebp: lossy, lossless, with alpha (dropped), and the first frame of an animation.
#include <webp/decode.h>
#include <webp/demux.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string>

#include "base/try.h"
#include "media/decoders.h"
#include "media/orientation.h"

namespace carat::media {
namespace {

std::unexpected<Error> Damaged(const std::string& what) { return Fail(ErrorCode::kBadMedia, "damaged WebP: " + what); }

struct DeleteDemuxer {
  void operator()(WebPDemuxer* demuxer) const { WebPDemuxDelete(demuxer); }
};
using Demuxer = std::unique_ptr<WebPDemuxer, DeleteDemuxer>;

Result<Demuxer> Open(std::span<const std::byte> bytes) {
  const WebPData data{reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()};
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  Demuxer demuxer(WebPDemuxPartial(&data, &state));
  if (state == WEBP_DEMUX_DONE && demuxer != nullptr) return demuxer;
  if (state == WEBP_DEMUX_PARSE_ERROR) return Damaged("its chunks do not fit together");
  return Damaged("it ends after " + std::to_string(bytes.size()) + " bytes, before its picture does");
}

int Orientation(const WebPDemuxer* demuxer) {
  WebPChunkIterator chunk{};
  int orientation = 1;
  if (WebPDemuxGetChunk(demuxer, "EXIF", 1, &chunk) != 0)
    orientation = ExifOrientation(std::as_bytes(std::span(chunk.chunk.bytes, chunk.chunk.size)));
  WebPDemuxReleaseChunkIterator(&chunk);
  return orientation;
}

std::string StatusText(VP8StatusCode status) {
  switch (status) {
    case VP8_STATUS_NOT_ENOUGH_DATA:
    case VP8_STATUS_SUSPENDED:
      return "its pixels end too early";
    case VP8_STATUS_OUT_OF_MEMORY:
      return "out of memory";
    default:
      return "its pixels cannot be decoded";
  }
}

Result<Image> DecodeFrame(const WebPData& data, int64_t width, int64_t height, const ImageLimits& limits) {
  TRY_ASSIGN(Image image, NewImage(width, height, limits));
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0) return Damaged("this libwebp is not the one that Carat was built with");
  config.output.colorspace = MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA = {.rgba = image.rgb.data(), .stride = static_cast<int>(width * 3), .size = image.rgb.size()};
  const VP8StatusCode status = WebPDecode(data.bytes, data.size, &config);
  const bool as_announced = config.output.width == width && config.output.height == height;
  WebPFreeDecBuffer(&config.output);
  if (status != VP8_STATUS_OK) return Damaged(StatusText(status));
  if (!as_announced) return Damaged("its pixels are not as many as its header says");
  return image;
}

// The frame on its canvas, whose colour the file gives (as bytes: blue, green, red, alpha).
Result<Image> OnCanvas(Image frame, const WebPIterator& place, const WebPDemuxer* demuxer, const ImageLimits& limits) {
  const int64_t width = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH);
  const int64_t height = WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT);
  if (frame.width == width && frame.height == height) return frame;
  if (place.x_offset + frame.width > width || place.y_offset + frame.height > height)
    return Damaged("its frame is larger than its canvas");
  TRY_ASSIGN(Image canvas, NewImage(width, height, limits));
  const uint32_t colour = WebPDemuxGetI(demuxer, WEBP_FF_BACKGROUND_COLOR);
  for (size_t i = 0; i < canvas.rgb.size(); ++i) canvas.rgb[i] = static_cast<uint8_t>(colour >> (16 - 8 * (i % 3)));
  for (int64_t y = 0; y < frame.height; ++y) {
    const auto* row = frame.rgb.data() + y * frame.width * 3;
    std::copy_n(row, frame.width * 3, canvas.rgb.data() + ((place.y_offset + y) * width + place.x_offset) * 3);
  }
  return canvas;
}

}  // namespace

Result<Image> DecodeWebp(std::span<const std::byte> bytes, const ImageLimits& limits) {
  TRY_ASSIGN(const Demuxer demuxer, Open(bytes));
  WebPIterator frame{};
  const std::unique_ptr<WebPIterator, decltype(&WebPDemuxReleaseIterator)> release(&frame, WebPDemuxReleaseIterator);
  if (WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) return Damaged("it has no picture");
  TRY_ASSIGN(Image image, DecodeFrame(frame.fragment, frame.width, frame.height, limits));
  TRY_ASSIGN(image, OnCanvas(std::move(image), frame, demuxer.get(), limits));
  return Upright(std::move(image), Orientation(demuxer.get()));
}

}  // namespace carat::media
