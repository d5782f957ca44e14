#include "ops/static_input.h"

#include <algorithm>

#include "quant/codes.h"

namespace carat::ops {

namespace {

int64_t RoundUp(int64_t count, int64_t step) { return (count + step - 1) / step * step; }

int64_t PlaneBytes(int64_t cols, int planes) { return RoundUp((cols + planes - 1) / planes, kernels::kPlaneStep); }

}  // namespace

StaticInput::StaticInput(const Context& context)
    : context_(context), unpacked_(static_cast<size_t>(context.pool->size())) {}

void StaticInput::Reserve(int64_t max_tokens, int64_t max_cols) {
  const int64_t tile = context_.kernels->code_tile_tokens, rows = RoundUp(max_tokens, tile);
  // A single token takes most with four planes.
  codes_.Reserve(static_cast<size_t>(std::max(4 * PlaneBytes(max_cols, 4), rows * CodeColumns(max_cols))));
  rows_.Reserve(static_cast<size_t>(rows));
  for (AlignedBuffer<int8_t>& unpacked : unpacked_)
    unpacked.Reserve(static_cast<size_t>(std::min(max_tokens, tile) * CodeColumns(max_cols)));
}

MemoryUse StaticInput::scratch() const {
  MemoryUse use = codes_.memory();
  use += rows_.memory();
  for (const AlignedBuffer<int8_t>& rows : unpacked_) use += rows.memory();
  return use;
}

void StaticInput::Round(const Matrix& w, const float* x, int64_t tokens) {
  const int planes = tokens == 1 ? 8 / quant::CodeBits(w.type) : 0;
  if (scale_ == w.input_scale && planes_ == planes) return;
  scale_ = w.input_scale;
  planes_ = planes;
  if (planes != 0)
    Deal(x, w.cols, planes);
  else
    Pack(x, tokens, w.cols);
}

void StaticInput::Deal(const float* x, int64_t cols, int planes) {
  plane_ = PlaneBytes(cols, planes);
  int8_t* codes = unpacked_[0].data();
  rows_.data()[0] = context_.kernels->quantize_static(x, cols, scale_, codes);
  context_.kernels->deal_codes(codes, cols, planes, plane_, codes_.data());
}

void StaticInput::Pack(const float* x, int64_t tokens, int64_t cols) {
  const int64_t columns = CodeColumns(cols), tile_tokens = context_.kernels->code_tile_tokens;
  context_.pool->ParallelFor(RoundUp(tokens, tile_tokens) / tile_tokens, [&](int64_t tile, int worker) {
    int8_t* codes = unpacked_[static_cast<size_t>(worker)].data();
    const int64_t first = tile * tile_tokens, count = std::min(tile_tokens, tokens - first);
    kernels::StaticRow* rows = rows_.data() + first;
    for (int64_t r = 0; r < count; ++r) {
      int8_t* row = codes + r * columns;
      rows[r] = context_.kernels->quantize_static(x + (first + r) * cols, cols, scale_, row);
      std::fill(row + cols, row + columns, int8_t{0});
    }
    std::fill(rows + count, rows + tile_tokens, kernels::StaticRow{});
    context_.kernels->pack_code_tile(codes, count, columns, codes_.data() + first * columns);
  });
}

}  // namespace carat::ops
