// JPEG with libjpeg-turbo: its accurate DCT and smooth ("fancy") upsampling of colour, which are its defaults, and what
// the reference decodes with.
// clang-format off
#include <cstdio>  // what jpeglib.h lacks
#include <jpeglib.h>
#include <jerror.h>  // leans on jpeglib.h
// clang-format on

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>
#include <vector>

#include "base/try.h"
#include "media/decoders.h"
#include "media/orientation.h"

namespace carat::media {
namespace {

// Passes over the picture in a progressive file, of which real ones have some ten: a small file could order thousands.
constexpr int kMostScans = 100;

// One picture on its way. libjpeg reports errors by a jump out of it; so each function that calls it sets where to, and
// has no objects of its own that the jump would skip the destructors of.
class JpegReader {
 public:
  explicit JpegReader(std::span<const std::byte> bytes);
  ~JpegReader() { jpeg_destroy_decompress(&info_); }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  bool ReadHeader();
  // `line` has room for a row of four components.
  bool ReadRows(uint8_t* rgb, uint8_t* line);
  int Orientation() const;  // after ReadHeader, before ReadRows, which lets go of it

  int64_t width() const { return info_.image_width; }
  int64_t height() const { return info_.image_height; }
  std::unexpected<Error> Failure() const;  // after one of the functions above returned false

 private:
  [[noreturn]] static void Jump(j_common_ptr info);
  static void Warn(j_common_ptr info, int level);
  static void CountScans(j_common_ptr info);
  static JpegReader& Of(j_common_ptr info) { return *static_cast<JpegReader*>(info->client_data); }

  std::span<const std::byte> bytes_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf failed_{};
  char message_[JMSG_LENGTH_MAX] = {};
};

JpegReader::JpegReader(std::span<const std::byte> bytes) : bytes_(bytes) {
  info_.err = jpeg_std_error(&errors_);
  errors_.error_exit = Jump;
  errors_.emit_message = Warn;
  progress_.progress_monitor = CountScans;
}

void JpegReader::Jump(j_common_ptr info) {
  JpegReader& reader = Of(info);
  reader.errors_.format_message(info, reader.message_);
  std::longjmp(reader.failed_, 1);  // NOLINT(cert-err52-cpp)
}

// libjpeg only warns of data that it has to make up. A remark that harms no pixel (stray bytes between segments, an
// unknown version) stays one.
void JpegReader::Warn(j_common_ptr info, int level) {
  if (level >= 0) return;  // a trace message
  constexpr int kDamage[] = {JWRN_JPEG_EOF, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_ARITH_BAD_CODE, JWRN_MUST_RESYNC};
  if (std::ranges::find(kDamage, info->err->msg_code) != std::end(kDamage)) Jump(info);
}

void JpegReader::CountScans(j_common_ptr info) {
  JpegReader& reader = Of(info);
  if (reader.info_.input_scan_number <= kMostScans) return;
  std::snprintf(reader.message_, sizeof(reader.message_), "more than %d scans", kMostScans);
  std::longjmp(reader.failed_, 1);  // NOLINT(cert-err52-cpp)
}

bool JpegReader::ReadHeader() {
  if (setjmp(failed_) != 0) return false;  // NOLINT(cert-err52-cpp): libjpeg is written in C
  info_.client_data = this;
  jpeg_create_decompress(&info_);
  info_.progress = &progress_;
  jpeg_save_markers(&info_, JPEG_APP0 + 1, 0xFFFF);  // EXIF
  jpeg_mem_src(&info_, reinterpret_cast<const unsigned char*>(bytes_.data()), bytes_.size());
  jpeg_read_header(&info_, TRUE);
  return true;
}

// Four colours are stored inverted, as Adobe does: what is left of the light, first behind cyan, magenta or yellow, and
// then behind black.
void CmykToRgb(const uint8_t* cmyk, int64_t pixels, uint8_t* rgb) {
  for (int64_t i = 0; i < pixels; ++i) {
    const int black = cmyk[4 * i + 3];
    for (int c = 0; c < 3; ++c) rgb[3 * i + c] = static_cast<uint8_t>((cmyk[4 * i + c] * black + 127) / 255);
  }
}

bool JpegReader::ReadRows(uint8_t* rgb, uint8_t* line) {
  if (setjmp(failed_) != 0) return false;  // NOLINT(cert-err52-cpp)
  const bool four_colours = info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK;
  info_.out_color_space = four_colours ? JCS_CMYK : JCS_RGB;
  jpeg_start_decompress(&info_);
  while (info_.output_scanline < info_.output_height) {
    uint8_t* out = rgb + int64_t{info_.output_scanline} * info_.output_width * 3;
    JSAMPROW row = four_colours ? line : out;
    jpeg_read_scanlines(&info_, &row, 1);
    if (four_colours) CmykToRgb(line, info_.output_width, out);
  }
  jpeg_finish_decompress(&info_);
  return true;
}

int JpegReader::Orientation() const {
  for (const jpeg_marker_struct* marker = info_.marker_list; marker != nullptr; marker = marker->next) {
    const auto data = std::as_bytes(std::span(marker->data, marker->data_length));
    if (data.size() >= 6 && std::memcmp(data.data(), "Exif\0\0", 6) == 0) return ExifOrientation(data);
  }
  return 1;
}

std::unexpected<Error> JpegReader::Failure() const {
  std::string where = "in its header";
  if (info_.output_scanline > 0)
    where = "after row " + std::to_string(info_.output_scanline) + " of " + std::to_string(info_.output_height);
  else if (info_.input_scan_number > 0)
    where = "in scan " + std::to_string(info_.input_scan_number);
  return Fail(ErrorCode::kBadMedia, "damaged JPEG, " + where + ": " + message_);
}

}  // namespace

Result<Image> DecodeJpeg(std::span<const std::byte> bytes, const ImageLimits& limits) {
  JpegReader reader(bytes);
  if (!reader.ReadHeader()) return reader.Failure();
  TRY_ASSIGN(Image image, NewImage(reader.width(), reader.height(), limits));
  const int orientation = reader.Orientation();
  std::vector<uint8_t> line(4 * image.width);
  if (!reader.ReadRows(image.rgb.data(), line.data())) return reader.Failure();
  return Upright(std::move(image), orientation);
}

}  // namespace carat::media
