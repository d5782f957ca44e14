// From pixels to what the vision tower reads: the target size, and patches.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "carat/result.h"
#include "gemma/resample.h"
#include "ops/context.h"

namespace carat::gemma {

// How many soft tokens an image may become at most: the budgets that the models were trained with.
inline constexpr std::array<int64_t, 5> kImageBudgets = {70, 140, 280, 560, 1120};
inline constexpr int64_t kDefaultImageBudget = 280;

// How a tower cuts images, by its configuration.
struct PatchShape {
  int64_t patch = 16;   // pixels, the side of a patch
  int64_t pooling = 3;  // patches, the side of the block that becomes a soft token
  int64_t unit() const { return patch * pooling; }
};

// The largest size whose sides are multiples of the unit, which has at most `max_patches` patches and nearly the
// proportions of the source; an image is stretched to it, up or down. Sides of the source: 1 .. kMaxImageSide;
// max_patches: at least 2 * pooling^2. In doubles and in the reference's order of operations, since rounding decides.
ImageSize FitToPatches(ImageSize source, const PatchShape& shape, int64_t max_patches);

// The size that an image is resized to. Errors: kUsage for a budget that is none of kImageBudgets, kBadMedia for an
// image without pixels or with a side beyond kMaxImageSide.
Result<ImageSize> TargetSize(ImageSize source, const PatchShape& shape, int64_t budget);

// Soft tokens of an image of that size; its sides are multiples of the unit.
inline int64_t SoftTokens(ImageSize target, const PatchShape& shape) {
  return (target.width / shape.unit()) * (target.height / shape.unit());
}

// The processor scales images by byte * float(1/255) and video frames by byte / 255, which differ by an ulp for 126
// of the 256 bytes.
enum class PixelScaling : uint8_t { kImage, kVideoFrame };

// The patches of one image, row by row. Patch n lies at (x, y) = (n % columns, n / columns).
struct PatchGrid {
  int64_t columns = 0, rows = 0;
  std::vector<float> values;  // [rows * columns, 3 * patch * patch], in 0 .. 1; a patch is [dy][dx][channel]
  int64_t count() const { return columns * rows; }
};

// Cuts an image whose sides are multiples of `patch`.
PatchGrid MakePatches(const ImageView& image, int64_t patch, PixelScaling scaling, const ops::Context& context);

// All of it: an image, or a frame of a video, as the tower reads it. Errors: as TargetSize.
Result<PatchGrid> PrepareImage(const ImageView& image, const PatchShape& shape, int64_t budget, PixelScaling scaling,
                               const ops::Context& context);

}  // namespace carat::gemma
