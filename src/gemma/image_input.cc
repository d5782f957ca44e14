#include "gemma/image_input.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/check.h"
#include "base/try.h"

namespace carat::gemma {

namespace {

constexpr int64_t kChannels = 3;

// The value of each byte.
std::array<float, 256> ValuesOf(PixelScaling scaling) {
  constexpr auto kScale = static_cast<float>(1.0 / 255);
  std::array<float, 256> values{};
  for (size_t byte = 0; byte < values.size(); ++byte) {
    const auto whole = static_cast<float>(byte);
    values[byte] = scaling == PixelScaling::kImage ? whole * kScale : whole / 255;
  }
  return values;
}

}  // namespace

ImageSize FitToPatches(ImageSize source, const PatchShape& shape, int64_t max_patches) {
  CHECK(max_patches >= 2 * shape.pooling * shape.pooling);
  const int64_t unit = shape.unit();
  const auto width = static_cast<double>(source.width), height = static_cast<double>(source.height);
  const auto whole_units = [unit](double side) {
    return static_cast<int64_t>(std::floor(side / static_cast<double>(unit))) * unit;
  };
  const auto area = static_cast<double>(max_patches * shape.patch * shape.patch);
  const double factor = std::sqrt(area / static_cast<double>(source.width * source.height));
  ImageSize target = {.width = whole_units(factor * width), .height = whole_units(factor * height)};
  // Longer than the budget allows at the width of one unit: a strip, as long as it allows.
  const int64_t longest = max_patches / (shape.pooling * shape.pooling) * unit;
  if (target.height == 0)
    target = {.width = std::min(static_cast<int64_t>(width / height) * unit, longest), .height = unit};
  else if (target.width == 0)
    target = {.width = unit, .height = std::min(static_cast<int64_t>(height / width) * unit, longest)};
  return target;
}

Result<ImageSize> TargetSize(ImageSize source, const PatchShape& shape, int64_t budget) {
  if (std::ranges::find(kImageBudgets, budget) == kImageBudgets.end())
    return Fail(ErrorCode::kUsage,
                "an image cannot have " + std::to_string(budget) + " tokens; 70, 140, 280, 560 or 1120 would work");
  if (std::min(source.width, source.height) < 1 || std::max(source.width, source.height) > kMaxImageSide)
    return Fail(ErrorCode::kBadMedia,
                "an image of " + std::to_string(source.width) + " x " + std::to_string(source.height) +
                    " pixels cannot be used; each side may be 1 to " + std::to_string(kMaxImageSide) + " pixels long");
  return FitToPatches(source, shape, budget * shape.pooling * shape.pooling);
}

PatchGrid MakePatches(const ImageView& image, int64_t patch, PixelScaling scaling, const ops::Context& context) {
  const ImageSize size = image.size;
  CHECK(size.width % patch == 0 && size.height % patch == 0);
  CHECK(static_cast<int64_t>(image.rgb.size()) == size.width * size.height * kChannels);
  PatchGrid grid = {.columns = size.width / patch, .rows = size.height / patch, .values = {}};
  grid.values.resize(image.rgb.size());
  const std::array<float, 256> values = ValuesOf(scaling);
  const int64_t run = patch * kChannels;  // a row of a patch lies together in the image, too
  context.pool->ParallelFor(grid.rows, [&](int64_t row, int) {
    float* out = grid.values.data() + row * grid.columns * patch * run;
    for (int64_t column = 0; column < grid.columns; ++column)
      for (int64_t y = row * patch; y < (row + 1) * patch; ++y) {
        const uint8_t* in = image.rgb.data() + (y * grid.columns + column) * run;
        for (int64_t i = 0; i < run; ++i) *out++ = values[in[i]];
      }
  });
  return grid;
}

Result<PatchGrid> PrepareImage(const ImageView& image, const PatchShape& shape, int64_t budget, PixelScaling scaling,
                               const ops::Context& context) {
  TRY_ASSIGN(const ImageSize target, TargetSize(image.size, shape, budget));
  const std::vector<uint8_t> resized = Resample(image, target, context);
  return MakePatches({target, resized}, shape.patch, scaling, context);
}

}  // namespace carat::gemma
