// PNG with libpng: every colour type and depth becomes 8-bit RGB.
#include <png.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "base/try.h"
#include "media/decoders.h"
#include "media/orientation.h"

namespace carat::media {
namespace {

// One picture on its way. libpng reports errors by a jump out of it; so each function that calls it sets where to, and
// has no objects of its own that the jump would skip the destructors of.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes);
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool ReadHeader();
  bool ReadRows(uint8_t* rgb);
  int Orientation() const;

  int64_t width() const { return png_get_image_width(png_, info_); }
  int64_t height() const { return png_get_image_height(png_, info_); }
  std::unexpected<Error> Failure() const;  // after one of the functions above returned false

 private:
  [[noreturn]] static void Jump(png_structp png, png_const_charp message);
  static void Read(png_structp png, png_bytep out, size_t size);

  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int64_t rows_ = 0;  // read, of all passes
  int64_t rows_in_all_ = 0;
  char message_[256] = "out of memory";
};

PngReader::PngReader(std::span<const std::byte> bytes) : bytes_(bytes) {
  const auto ignore = [](png_structp, png_const_charp) {};
  png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, Jump, ignore);
  if (png_ != nullptr) info_ = png_create_info_struct(png_);
}

void PngReader::Jump(png_structp png, png_const_charp message) {
  auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
  std::snprintf(reader->message_, sizeof(reader->message_), "%s", message);
  png_longjmp(png, 1);
}

void PngReader::Read(png_structp png, png_bytep out, size_t size) {
  auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
  if (size > reader->bytes_.size() - reader->position_) png_error(png, "the file ends too early");
  std::memcpy(out, reader->bytes_.data() + reader->position_, size);
  reader->position_ += size;
}

bool PngReader::ReadHeader() {
  if (info_ == nullptr) return false;
  if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(cert-err52-cpp): libpng is written in C
  png_set_read_fn(png_, this, Read);
  // Texts, profiles, time stamps and the like are not even unpacked.
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
  constexpr png_byte kExif[] = "eXIf";
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_AS_DEFAULT, kExif, 1);
  png_read_info(png_, info_);
  return true;
}

bool PngReader::ReadRows(uint8_t* rgb) {
  if (setjmp(png_jmpbuf(png_)) != 0) return false;  // NOLINT(cert-err52-cpp)
  png_set_palette_to_rgb(png_);
  png_set_expand_gray_1_2_4_to_8(png_);
  png_set_strip_16(png_);  // the high byte; png_set_scale_16 would round
  png_set_gray_to_rgb(png_);
  png_set_strip_alpha(png_);
  const int passes = png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  const auto stride = static_cast<size_t>(width()) * 3;
  if (png_get_rowbytes(png_, info_) != stride) png_error(png_, "a colour type that is none");
  rows_in_all_ = passes * height();
  for (int pass = 0; pass < passes; ++pass) {
    for (int64_t y = 0; y < height(); ++y, ++rows_) png_read_row(png_, rgb + y * stride, nullptr);
  }
  png_read_end(png_, info_);  // eXIf may stand behind the pixels
  return true;
}

int PngReader::Orientation() const {
  png_uint_32 size = 0;
  png_bytep exif = nullptr;
  if (png_get_eXIf_1(png_, info_, &size, &exif) == 0) return 1;
  return ExifOrientation(std::as_bytes(std::span(exif, size)));
}

std::unexpected<Error> PngReader::Failure() const {
  const std::string where = rows_in_all_ == 0
                                ? "in its header"
                                : "after row " + std::to_string(rows_) + " of " + std::to_string(rows_in_all_);
  return Fail(ErrorCode::kBadMedia, "damaged PNG, " + where + ": " + message_);
}

}  // namespace

Result<Image> DecodePng(std::span<const std::byte> bytes, const ImageLimits& limits) {
  PngReader reader(bytes);
  if (!reader.ReadHeader()) return reader.Failure();
  TRY_ASSIGN(Image image, NewImage(reader.width(), reader.height(), limits));
  if (!reader.ReadRows(image.rgb.data())) return reader.Failure();
  return Upright(std::move(image), reader.Orientation());
}

}  // namespace carat::media
