// Sizes of images and resampling: any picture gets a size within its budget, or a refusal; any resampling gives the
// bytes of the plain one.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/thread_pool.h"
#include "gemma/image_input.h"
#include "tests/support/plain_resample.h"

namespace carat::gemma {

namespace {

template <typename T>
T Take(const uint8_t*& data, size_t& size) {
  T value = {};
  const size_t bytes = size < sizeof(T) ? size : sizeof(T);
  std::memcpy(&value, data, bytes);
  data += bytes;
  size -= bytes;
  return value;
}

void CheckSize(ImageSize source, int64_t budget) {
  constexpr PatchShape kShape;
  const auto target = TargetSize(source, kShape, budget);
  if (!target) {
    if (target.error().message.empty()) std::abort();
    return;
  }
  if (target->width % kShape.unit() != 0 || target->height % kShape.unit() != 0) std::abort();
  const int64_t tokens = SoftTokens(*target, kShape);
  if (tokens < 1 || tokens > budget) std::abort();
  // The budget is filled: one more column and row would not fit.
  if ((target->width / kShape.unit() + 1) * (target->height / kShape.unit() + 1) < budget) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto width = Take<int64_t>(data, size), height = Take<int64_t>(data, size);
  CheckSize({width, height}, Take<int16_t>(data, size));
  for (const int64_t budget : kImageBudgets) {
    CheckSize({width, height}, budget);
    CheckSize({1 + (width & 0xfff), 1 + (height & 0xfff)}, budget);
  }
  const int64_t longest = 1 + Take<uint8_t>(data, size) % 2 * 2000;  // squares, or strips
  const ImageSize from = {.width = 1 + Take<uint16_t>(data, size) % (longest + 100),
                          .height = 1 + Take<uint16_t>(data, size) % (2000 / longest + 100)};
  const ImageSize to = {.width = 1 + Take<uint8_t>(data, size), .height = 1 + Take<uint8_t>(data, size) % 64};
  std::vector<uint8_t> rgb(static_cast<size_t>(from.width * from.height * 3), 255);
  for (size_t i = 0; i < rgb.size() && size > 0; ++i) rgb[i] = data[i % size];
  ThreadPool pool(1);
  const std::vector<uint8_t> resized = Resample({from, rgb}, to, {.pool = &pool});
  if (resized != testing_support::PlainResample({from, rgb}, to)) std::abort();
  return 0;
}

}  // namespace carat::gemma
