// JPEG: bytes of any kind become a picture that is all there, or an error of one line.
#include "fuzz/decoded_image.h"
#include "media/decoders.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  carat::CheckDecoded(carat::media::DecodeJpeg(std::as_bytes(std::span(data, size)), carat::kFuzzImageLimits));
  return 0;
}
