#include "ops/linear.h"

#include <algorithm>

#include "base/check.h"
#include "quant/codes.h"

namespace carat::ops {

namespace {

// A thread takes a strip of rows at a time, a panel or several. Of a large matrix each gets about 8, so that none waits
// long for another; strips of fewer rows than these would not be worth the hand-over.
constexpr int64_t kStripsPerThread = 8, kMinStripRows = 64;
// Of weights that are multiplied as floats, as many rows at a time as fit in a part of a core's second-level cache,
// where all tokens meet them before the next are unpacked.
constexpr int64_t kFloatPanelBytes = 256 * 1024, kFloatPanelStep = 4;

int64_t CeilDivide(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Have rows begin .. begin+rows-1 been copied?
bool IsCopied(const Matrix& w, int64_t begin, int64_t rows) {
  return w.copy != nullptr && begin + rows <= w.copy->filled_rows();
}

// Can kernels read these rows as floats where they lie?
bool AreFloats(const Matrix& w) {
  return w.type == quant::Type::kF32 && reinterpret_cast<uintptr_t>(w.data) % alignof(float) == 0;
}

}  // namespace

Linear::Linear(const Context& context)
    : context_(context),
      rounded_input_(context),
      bf16_input_(context),
      static_input_(context),
      panels_(static_cast<size_t>(context.pool->size())) {}

void Linear::Reserve(const Matrix& w, int64_t max_tokens) {
  const Class kind = ClassOf(w);
  if (UsesBf16(w))
    bf16_input_.Reserve(max_tokens, w.cols);
  else if (kind == Class::kBlocks)
    rounded_input_.Reserve(max_tokens, w.cols);
  if (kind == Class::kCodes) static_input_.Reserve(max_tokens, w.cols);
  for (Panel& panel : panels_) ReservePanel(w, max_tokens, panel);
}

void Linear::ReservePanel(const Matrix& w, int64_t tokens, Panel& panel) const {
  const Class kind = ClassOf(w);
  const int64_t rows = PanelRows(w);
  if (quant::IsCodes(w.type)) panel.scale.Reserve(static_cast<size_t>(rows * (w.cols / w.scales.group)));
  if (kind == Class::kFloats && !AreFloats(w)) panel.floats.Reserve(static_cast<size_t>(rows * w.cols));
  if (kind == Class::kFloats || (kind == Class::kCodes && tokens == 1)) return;
  const int64_t cols = kind == Class::kCodes ? CodeColumns(w.cols) : w.cols;
  const int64_t group = kind == Class::kCodes ? cols : kernels::GroupColumns(w.type);
  const auto reserve = [&](Rows& part, int64_t count) {
    part.codes.Reserve(static_cast<size_t>(count * cols));
    part.scale.Reserve(static_cast<size_t>(count * (cols / group)));
    if (kernels::HasOffset(w.type)) part.offset.Reserve(static_cast<size_t>(count * (cols / group)));
  };
  if (UsesBf16(w)) {
    reserve(panel.rows, 1);
    panel.bf16_rows.Reserve(static_cast<size_t>(rows * cols));
    if (tokens > 1) panel.bf16_packed.Reserve(static_cast<size_t>(rows * cols));
    return;
  }
  if (kind == Class::kBlocks) reserve(panel.rows, rows);  // codes are unpacked side by side at once
  reserve(panel.packed, rows);
}

MemoryUse Linear::scratch() const {
  MemoryUse use = rounded_input_.scratch();
  use += bf16_input_.scratch();
  use += static_input_.scratch();
  for (const Panel& panel : panels_) {
    use += panel.floats.memory();
    use += panel.scale.memory();
    use += panel.bf16_rows.memory();
    use += panel.bf16_packed.memory();
    for (const Rows* rows : {&panel.rows, &panel.packed})
      for (const MemoryUse& part : {rows->codes.memory(), rows->scale.memory(), rows->offset.memory()}) use += part;
  }
  return use;
}

Linear::Class Linear::ClassOf(const Matrix& w, bool exact) {
  if (w.input_scale != 0) return Class::kCodes;
  return !exact && quant::IsBlock(w.type) ? Class::kBlocks : Class::kFloats;
}

int64_t Linear::PanelRows(const Matrix& w) const {
  if (ClassOf(w) != Class::kFloats) return kernels::kPanelRows;
  const int64_t fitting = kFloatPanelBytes / static_cast<int64_t>(sizeof(float)) / std::max<int64_t>(w.cols, 1);
  return std::clamp(fitting / kFloatPanelStep * kFloatPanelStep, kFloatPanelStep, kMinStripRows);
}

void Linear::SetInput(const float* x, int64_t tokens, int64_t cols) {
  x_ = x;
  tokens_ = tokens;
  cols_ = cols;
  rounded_input_.Forget();
  bf16_input_.Forget();
  static_input_.Forget();
}

void Linear::Multiply(const Matrix& w, float* y, int64_t y_stride) {
  CHECK(w.cols == cols_);
  Reserve(w, tokens_);
  const Class kind = ClassOf(w);
  if (kind == Class::kCodes) static_input_.Round(w, x_, tokens_);
  if (UsesBf16(w))
    bf16_input_.Round(x_, tokens_, cols_);
  else if (kind == Class::kBlocks)
    rounded_input_.Round(x_, tokens_, cols_);
  if (tokens_ == 1 && w.copy != nullptr && copy_budget_ > 0) copy_budget_ -= w.copy->Fill(*context_.pool, copy_budget_);
  const int64_t panel_rows = PanelRows(w);
  const int64_t even_strip = CeilDivide(w.rows, kStripsPerThread * context_.pool->size());
  const int64_t strip_rows = CeilDivide(std::max(kMinStripRows, even_strip), panel_rows) * panel_rows;
  context_.pool->ParallelFor(CeilDivide(w.rows, strip_rows), [&](int64_t index, int worker) {
    Panel& panel = panels_[static_cast<size_t>(worker)];
    const int64_t end = std::min((index + 1) * strip_rows, w.rows);
    for (int64_t begin = index * strip_rows; begin < end; begin += panel_rows) {
      const int64_t rows = std::min(panel_rows, end - begin);
      if (kind == Class::kCodes)
        MultiplyStatic(w, begin, rows, panel, y + begin, y_stride);
      else if (UsesBf16(w))
        MultiplyBf16(w, begin, rows, panel, y + begin, y_stride);
      else if (kind == Class::kBlocks)
        MultiplyBlocks(w, begin, rows, panel, y + begin, y_stride);
      else
        MultiplyFloats(w, begin, rows, panel, y + begin, y_stride);
      if (w.output_scale != 0)
        for (int64_t t = 0; t < tokens_; ++t)
          context_.kernels->round_static(y + t * y_stride + begin, rows, w.output_scale);
    }
  });
}

// Rows of codes with their scales as floats.
kernels::CodeRows Linear::CodeRowsOf(const Matrix& w, int64_t begin, int64_t rows, Panel& panel) const {
  const auto decode = context_.kernels->decode[static_cast<size_t>(w.scales.type)];
  decode(w.row_scales(begin), panel.scale.data(), rows * (w.cols / w.scales.group));
  return {.packed = w.row(begin), .row_bytes = w.row_bytes, .scale = panel.scale.data()};
}

void Linear::MultiplyFloats(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride) {
  const auto gemv = context_.kernels->gemv_float[static_cast<size_t>(w.type)];
  if (tokens_ == 1 && gemv != nullptr) return gemv(w.row(begin), w.row_bytes, rows, x_, cols_, y);
  const auto codes_gemv = context_.kernels->gemv_codes_float[static_cast<size_t>(w.type)];
  if (tokens_ == 1 && codes_gemv != nullptr && w.scales.group == (w.type == quant::Type::kG4 ? quant::kG4Group : cols_))
    return codes_gemv(CodeRowsOf(w, begin, rows, panel), rows, x_, cols_, y);
  const float* weights = reinterpret_cast<const float*>(w.row(begin));
  if (!AreFloats(w)) {
    for (int64_t r = 0; r < rows; ++r)
      DecodeRow(*context_.kernels, w, w.row(begin + r), w.row_scales(begin + r), cols_,
                panel.floats.data() + r * cols_);
    weights = panel.floats.data();
  }
  context_.kernels->gemm_f32(weights, cols_, rows, x_, cols_, tokens_, cols_, y, y_stride);
}

void Linear::MultiplyBlocks(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride) {
  const kernels::Kernels& kernels = *context_.kernels;
  const auto type = static_cast<size_t>(w.type);
  const bool is_copied = IsCopied(w, begin, rows);
  if (tokens_ == 1 && is_copied)
    return kernels.gemv_interleaved[type](w.copy->rows(begin), w.row_bytes, rows, rounded_input_.row(), cols_, y);
  if (tokens_ == 1 && kernels.gemv_block[type] != nullptr)
    return kernels.gemv_block[type](w.row(begin), w.row_bytes, rows, rounded_input_.row(), cols_, y);
  const kernels::S8Panel packed = {.codes = panel.packed.codes.data(),
                                   .scale = panel.packed.scale.data(),
                                   .offset = kernels::HasOffset(w.type) ? panel.packed.offset.data() : nullptr,
                                   .group = kernels::GroupColumns(w.type)};
  if (is_copied)
    kernels.panel_interleaved[type](w.copy->rows(begin), w.row_bytes, rows, cols_, packed);
  else
    PackPanel(w, begin, rows, panel, packed);
  kernels.gemm_panel(packed, rows, rounded_input_.tiles(), tokens_, cols_, y, y_stride);
}

// By way of rows that are unpacked one after the other.
void Linear::PackPanel(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, const kernels::S8Panel& packed) {
  const auto unpack = context_.kernels->unpack[static_cast<size_t>(w.type)];
  const bool has_offset = packed.offset != nullptr;
  const kernels::S8Row first = {.codes = panel.rows.codes.data(),
                                .scale = panel.rows.scale.data(),
                                .offset = has_offset ? panel.rows.offset.data() : nullptr};
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t groups = r * (cols_ / packed.group);
    unpack(w.row(begin + r),
           {.codes = first.codes + r * cols_,
            .scale = first.scale + groups,
            .offset = has_offset ? first.offset + groups : nullptr},
           cols_);
  }
  context_.kernels->pack_panel(first, rows, cols_, packed);
}

void Linear::MultiplyBf16(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride) {
  const kernels::Bf16Products& bf16 = *context_.kernels->bf16;
  const auto type = static_cast<size_t>(w.type);
  const bool is_copied = IsCopied(w, begin, rows);
  if (tokens_ == 1 && is_copied)
    return bf16.gemv_interleaved[type](w.copy->rows(begin), w.row_bytes, rows, bf16_input_.row(), cols_, y);
  if (is_copied) {
    bf16.panel_interleaved[type](w.copy->rows(begin), w.row_bytes, rows, cols_, panel.bf16_packed.data());
  } else {
    const kernels::S8Row row = {.codes = panel.rows.codes.data(),
                                .scale = panel.rows.scale.data(),
                                .offset = kernels::HasOffset(w.type) ? panel.rows.offset.data() : nullptr};
    for (int64_t r = 0; r < rows; ++r) {
      context_.kernels->unpack[type](w.row(begin + r), row, cols_);
      bf16.widen(row, kernels::GroupColumns(w.type), cols_, panel.bf16_rows.data() + r * cols_);
    }
    if (tokens_ == 1) return bf16.gemv(panel.bf16_rows.data(), rows, bf16_input_.row(), cols_, y);
    bf16.pack_panel(panel.bf16_rows.data(), rows, cols_, panel.bf16_packed.data());
  }
  bf16.gemm(panel.bf16_packed.data(), rows, bf16_input_.tiles(), tokens_, cols_, y, y_stride);
}

void Linear::MultiplyStatic(const Matrix& w, int64_t begin, int64_t rows, Panel& panel, float* y, int64_t y_stride) {
  const kernels::Kernels& kernels = *context_.kernels;
  const auto type = static_cast<size_t>(w.type);
  const bool is_copied = IsCopied(w, begin, rows);
  kernels::CodeRows packed = CodeRowsOf(w, begin, rows, panel);
  if (is_copied) packed.packed = w.copy->rows(begin);
  if (tokens_ == 1 && is_copied) return kernels.gemv_codes_interleaved[type](packed, rows, static_input_.row(), y);
  if (tokens_ == 1) return kernels.gemv_codes[type](packed, rows, static_input_.row(), cols_, y);
  const int64_t columns = CodeColumns(cols_);
  const kernels::S8Panel unpacked = {
      .codes = panel.packed.codes.data(), .scale = panel.packed.scale.data(), .offset = nullptr, .group = columns};
  if (is_copied)
    kernels.panel_codes_interleaved[type](packed, rows, columns, unpacked);
  else
    kernels.pack_codes[type](packed, rows, cols_, unpacked);
  kernels.gemm_codes[type](unpacked, rows, static_input_.tiles(), tokens_, columns, y, y_stride);
}

}  // namespace carat::ops
