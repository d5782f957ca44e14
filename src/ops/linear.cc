#include "ops/linear.h"

#include <algorithm>

#include "base/check.h"

namespace carat::ops {

namespace {

// Bytes of unpacked weights that a panel may hold: small enough to stay in a core's L2 (256 KiB and up) beside the
// activations that stream past it, large enough that those are read few times.
constexpr int64_t kPanelBytes = 96 * 1024;
// The kernels' tiles are at most 4 rows high; more than 64 rows would leave too few panels to share out.
constexpr int64_t kMinRows = 4, kMaxRows = 64;

int64_t PanelRows(int64_t bytes_per_row) {
  return std::clamp(kPanelBytes / std::max<int64_t>(bytes_per_row, 1) / kMinRows * kMinRows, kMinRows, kMaxRows);
}

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Of a row of blocks, unpacked: one byte a code, and two floats for every 16 of them.
int64_t BlockBytes(int64_t cols) { return cols + cols / 2; }

}  // namespace

Linear::Linear(const Context& context, int64_t max_tokens, int64_t max_cols)
    : context_(context),
      static_input_(context, max_tokens, max_cols),
      panels_(static_cast<size_t>(context.pool->size())) {
  const auto inputs = static_cast<size_t>(max_tokens * max_cols);
  codes_.Reserve(inputs);
  scale_.Reserve(CeilDivide(inputs, 32));
  sum_.Reserve(CeilDivide(inputs, 16));
  for (Panel& panel : panels_) {
    // A panel of narrow rows holds up to kPanelBytes; of very wide ones, kMinRows rows.
    const auto widest = static_cast<size_t>(std::max<int64_t>(kPanelBytes, kMinRows * max_cols * 4));
    panel.floats.Reserve(widest / sizeof(float));
    panel.codes.Reserve(widest);
    panel.scale.Reserve(widest / 16);
    panel.offset.Reserve(widest / 16);
  }
}

void Linear::SetInput(const float* x, int64_t tokens, int64_t cols) {
  x_ = x;
  tokens_ = tokens;
  cols_ = cols;
  rounded_ = false;
  static_input_.Forget();
}

void Linear::Multiply(const Matrix& w, float* y, int64_t y_stride) {
  CHECK(w.cols == cols_);
  const bool exact_codes = w.input_scale != 0;
  const bool blocks = !exact_codes && !context_.exact && quant::IsBlock(w.type);
  kernels::PlaneRows static_x = {};
  if (exact_codes) static_x = static_input_.Round(w, x_, tokens_);
  if (blocks && !rounded_) RoundInput();
  const int64_t panel_rows = PanelRows(exact_codes ? w.row_bytes : blocks ? BlockBytes(cols_) : cols_ * 4);
  context_.pool->ParallelFor(CeilDivide(w.rows, panel_rows), [&](int64_t index, int worker) {
    const int64_t begin = index * panel_rows;
    const int64_t rows = std::min(panel_rows, w.rows - begin);
    Panel& panel = panels_[static_cast<size_t>(worker)];
    if (exact_codes)
      MultiplyStatic(w, static_x, begin, rows, panel, y + begin, y_stride);
    else if (blocks)
      MultiplyBlocks(w, begin, rows, panel, y + begin, y_stride);
    else
      MultiplyFloats(w, begin, rows, panel, y + begin, y_stride);
    if (w.output_scale != 0)
      for (int64_t t = 0; t < tokens_; ++t)
        context_.kernels->round_static(y + t * y_stride + begin, rows, w.output_scale);
  });
}

void Linear::RoundInput() {
  codes_.Reserve(static_cast<size_t>(tokens_ * cols_));
  scale_.Reserve(static_cast<size_t>(tokens_ * cols_ / 32));
  sum_.Reserve(static_cast<size_t>(tokens_ * cols_ / 16));
  context_.pool->ParallelFor(tokens_, [this](int64_t t, int) {
    context_.kernels->quantize_a8(x_ + t * cols_, cols_,
                                  {.codes = codes_.data() + t * cols_,
                                   .scale = scale_.data() + t * cols_ / 32,
                                   .scaled_sum = sum_.data() + t * cols_ / 16});
  });
  rounded_ = true;
}

void Linear::MultiplyFloats(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride) {
  const float* weights = reinterpret_cast<const float*>(w.row(begin));
  if (w.type != quant::Type::kF32 || reinterpret_cast<uintptr_t>(w.data) % alignof(float) != 0) {
    panel.floats.Reserve(static_cast<size_t>(rows * cols_));
    for (int64_t r = 0; r < rows; ++r)
      DecodeRow(*context_.kernels, w, w.row(begin + r), w.row_scales(begin + r), cols_,
                panel.floats.data() + r * cols_);
    weights = panel.floats.data();
  }
  context_.kernels->gemm_f32(weights, cols_, rows, x_, cols_, tokens_, cols_, y, y_stride);
}

void Linear::MultiplyBlocks(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride) {
  const int64_t groups = cols_ / 16;
  const auto unpack = context_.kernels->unpack[static_cast<size_t>(w.type)];
  for (int64_t r = 0; r < rows; ++r)
    unpack(w.row(begin + r),
           {.codes = panel.codes.data() + r * cols_,
            .scale = panel.scale.data() + r * groups,
            .offset = panel.offset.data() + r * groups},
           cols_);
  const kernels::S8Rows weights = {.codes = panel.codes.data(),
                                   .scale = panel.scale.data(),
                                   .offset = kernels::HasOffset(w.type) ? panel.offset.data() : nullptr,
                                   .codes_stride = cols_,
                                   .scale_stride = groups,
                                   .offset_stride = groups};
  const kernels::A8Rows x = {.codes = codes_.data(),
                             .scale = scale_.data(),
                             .scaled_sum = sum_.data(),
                             .codes_stride = cols_,
                             .scale_stride = cols_ / 32,
                             .sum_stride = groups};
  context_.kernels->gemm_s8(weights, rows, x, tokens_, cols_, y, y_stride);
}

void Linear::MultiplyStatic(const Matrix& w, const kernels::PlaneRows& x, int64_t begin, int64_t rows, Panel& panel,
                            float* y, int64_t y_stride) {
  for (int64_t r = 0; r < rows; ++r) panel.scale.data()[r] = ScaleAt(w.scales.type, w.row_scales(begin + r), 0);
  const kernels::CodeRows weights = {.packed = w.row(begin), .row_bytes = w.row_bytes, .scale = panel.scale.data()};
  context_.kernels->gemm_codes[static_cast<size_t>(w.type)](weights, rows, x, tokens_, cols_, y, y_stride);
}

}  // namespace carat::ops
