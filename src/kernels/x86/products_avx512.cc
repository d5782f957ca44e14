// Products of weights and activations.
#include "kernels/x86/avx512.h"
#include "kernels/x86/float_tile_avx512.h"

namespace carat::kernels::avx512 {

void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride) {
  FloatProducts<LoadF32>(w, w_stride, rows, x, x_stride, tokens, k, y, y_stride);
}

}  // namespace carat::kernels::avx512
