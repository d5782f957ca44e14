// What every decoder of pictures promises, whatever the bytes.
#pragma once

#include <cstdlib>
#include <string>

#include "media/image.h"

namespace carat {

// Small: time goes into odd files, not into large ones.
inline constexpr media::ImageLimits kFuzzImageLimits{.bytes = 1 << 20, .pixels = 1 << 16};

inline void CheckDecoded(const Result<media::Image>& image) {
  if (image) {
    const auto pixels = static_cast<uint64_t>(image->width) * static_cast<uint64_t>(image->height);
    if (image->width < 1 || image->height < 1 || pixels > kFuzzImageLimits.pixels) std::abort();
    if (image->rgb.size() != 3 * pixels) std::abort();
  } else {
    const std::string& message = image.error().message;
    if (image.error().code != ErrorCode::kBadMedia || message.empty()) std::abort();
    if (message.find('\n') != std::string::npos) std::abort();
  }
}

}  // namespace carat
