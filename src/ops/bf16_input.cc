#include "ops/bf16_input.h"

#include <algorithm>

#include "kernels/kernels.h"

namespace carat::ops {

namespace {
constexpr int64_t kTile = kernels::kBf16TileTokens;
}  // namespace

Bf16Input::Bf16Input(const Context& context) : context_(context), rows_(static_cast<size_t>(context.pool->size())) {}

void Bf16Input::Reserve(int64_t max_tokens, int64_t max_cols) {
  if (max_tokens == 1) return rounded_.Reserve(static_cast<size_t>(max_cols));
  rounded_.Reserve(static_cast<size_t>((max_tokens + kTile - 1) / kTile * kTile * max_cols));
  for (AlignedBuffer<uint16_t>& rows : rows_) rows.Reserve(static_cast<size_t>(kTile * max_cols));
}

MemoryUse Bf16Input::scratch() const {
  MemoryUse use = rounded_.memory();
  for (const AlignedBuffer<uint16_t>& rows : rows_) use += rows.memory();
  return use;
}

void Bf16Input::Round(const float* x, int64_t tokens, int64_t cols) {
  if (ready_) return;
  ready_ = true;
  const kernels::Bf16Products& bf16 = *context_.kernels->bf16;
  if (tokens == 1) return bf16.round(x, cols, rounded_.data());
  context_.pool->ParallelFor((tokens + kTile - 1) / kTile, [&](int64_t tile, int worker) {
    uint16_t* rows = rows_[static_cast<size_t>(worker)].data();
    const int64_t first = tile * kTile, count = std::min(kTile, tokens - first);
    for (int64_t r = 0; r < count; ++r) bf16.round(x + (first + r) * cols, cols, rows + r * cols);
    bf16.pack_tile(rows, count, cols, rounded_.data() + first * cols);
  });
}

}  // namespace carat::ops
