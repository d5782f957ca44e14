#include "ops/rounded_input.h"

#include <algorithm>

namespace carat::ops {

namespace {
constexpr int64_t kTile = kernels::kTileTokens;

int64_t DealtCodes(int64_t cols) { return (cols + 127) / 128 * 128; }
}  // namespace

RoundedInput::RoundedInput(const Context& context)
    : context_(context), rows_(static_cast<size_t>(context.pool->size())) {}

MemoryUse RoundedInput::scratch() const {
  MemoryUse use = tiles_.memory();
  for (const Rows& rows : rows_)
    for (const MemoryUse& part :
         {rows.codes.memory(), rows.dealt.memory(), rows.scale.memory(), rows.lift32.memory(), rows.lift16.memory()})
      use += part;
  return use;
}

void RoundedInput::Rows::Reserve(int64_t rows, int64_t cols) {
  const auto count = static_cast<size_t>(rows * cols);
  codes.Reserve(count);
  dealt.Reserve(static_cast<size_t>(rows * DealtCodes(cols)));
  scale.Reserve(count / 32);
  lift32.Reserve(count / 32);
  lift16.Reserve(count / 16);
}

kernels::A8Row RoundedInput::Rows::At(int64_t row, int64_t cols) {
  return {.codes = codes.data() + row * cols,
          .dealt = dealt.data() + row * DealtCodes(cols),
          .scale = scale.data() + row * (cols / 32),
          .lift32 = lift32.data() + row * (cols / 32),
          .lift16 = lift16.data() + row * (cols / 16)};
}

void RoundedInput::Reserve(int64_t max_tokens, int64_t max_cols) {
  tiles_.Reserve(static_cast<size_t>((max_tokens + kTile - 1) / kTile * (max_cols / 32)));
  for (Rows& rows : rows_) rows.Reserve(std::min(max_tokens, kTile), max_cols);
}

void RoundedInput::Round(const float* x, int64_t tokens, int64_t cols) {
  if (ready_) return;
  ready_ = true;
  // A level multiplies a single token without a tile, of all types or of none.
  const bool packs = tokens > 1 || context_.kernels->gemv_block[static_cast<size_t>(quant::Type::kQ4_0)] == nullptr;
  context_.pool->ParallelFor((tokens + kTile - 1) / kTile, [&](int64_t tile, int worker) {
    Rows& rows = rows_[static_cast<size_t>(worker)];
    const int64_t count = std::min(kTile, tokens - tile * kTile);
    for (int64_t r = 0; r < count; ++r)
      context_.kernels->quantize_a8(x + (tile * kTile + r) * cols, cols, rows.At(r, cols));
    if (packs) context_.kernels->pack_tile(rows.At(0, cols), count, cols, tiles_.data() + tile * (cols / 32));
  });
}

}  // namespace carat::ops
