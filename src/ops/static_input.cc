#include "ops/static_input.h"

#include "quant/codes.h"

namespace carat::ops {

namespace {

int64_t PlaneBytes(int64_t cols, int planes) {
  const int64_t codes = (cols + planes - 1) / planes;
  return (codes + kernels::kPlaneStep - 1) / kernels::kPlaneStep * kernels::kPlaneStep;
}

}  // namespace

StaticInput::StaticInput(const Context& context, int64_t max_tokens, int64_t max_cols)
    : context_(context),
      dealt_(
          static_cast<size_t>(max_tokens * 4 * PlaneBytes(max_cols, 4))),  // the most that any number of planes takes
      scales_(static_cast<size_t>(max_tokens)),
      sums_(static_cast<size_t>(max_tokens)) {
  for (int worker = 0; worker < context.pool->size(); ++worker) codes_.emplace_back(static_cast<size_t>(max_cols));
}

uint64_t StaticInput::scratch_bytes() const {
  uint64_t bytes = dealt_.resident_bytes() + scales_.resident_bytes() + sums_.resident_bytes();
  for (const AlignedBuffer<int8_t>& codes : codes_) bytes += codes.resident_bytes();
  return bytes;
}

kernels::PlaneRows StaticInput::Round(const Matrix& w, const float* x, int64_t tokens) {
  const int planes = 8 / quant::CodeBits(w.type);
  if (scale_ != w.input_scale || planes_ != planes) {
    scale_ = w.input_scale;
    planes_ = planes;
    plane_ = PlaneBytes(w.cols, planes);
    dealt_.Reserve(static_cast<size_t>(tokens * planes * plane_));
    context_.pool->ParallelFor(tokens, [&](int64_t t, int worker) {
      AlignedBuffer<int8_t>& codes = codes_[static_cast<size_t>(worker)];
      codes.Reserve(static_cast<size_t>(w.cols));
      scales_.data()[t] = context_.kernels->quantize_static(x + t * w.cols, w.cols, scale_, codes.data());
      sums_.data()[t] =
          context_.kernels->deal_codes(codes.data(), w.cols, planes, plane_, dealt_.data() + t * planes * plane_);
    });
  }
  return {.codes = dealt_.data(),
          .codes_stride = planes_ * plane_,
          .plane = plane_,
          .scale = scales_.data(),
          .sum = sums_.data()};
}

}  // namespace carat::ops
