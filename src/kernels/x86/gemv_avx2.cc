// One token with weights as they lie in memory.
#include "kernels/x86/avx2.h"
#include "kernels/x86/float_tile_avx2.h"
#include "kernels/x86/gemv.h"
#include "quant/blocks.h"

namespace carat::kernels::avx2 {

namespace {

struct Level {
  // The products of bytes are |w| * (x with the sign of w): the first factor is unsigned, as vpmaddubsw wants it, and
  // 2 * 128 * 127 fits its 16-bit sums.
  CARAT_INLINE static __m256i SumsOfFour(__m256i codes, __m256i magnitude, __m256i token) {
    const __m256i pairs = _mm256_maddubs_epi16(magnitude, _mm256_sign_epi8(token, codes));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
  template <typename Block>
  CARAT_INLINE static __m256 Add(const Block* w, const Columns& x, __m256 lanes) {
    return AddColumns<Level>(w, x, 8, lanes);
  }
};

}  // namespace

template <typename Block>
void Gemv(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y) {
  DotRows<Level, Block>(w, row_bytes, rows, x, k, y);
}

#define CARAT_INSTANTIATE(Block) \
  template void Gemv<Block>(const std::byte*, int64_t, int64_t, const A8Row&, int64_t, float*);
CARAT_FOR_EACH_BLOCK(CARAT_INSTANTIATE)
#undef CARAT_INSTANTIATE

namespace {

// Row by row, for the sake of one stream (see gemv.h).
template <typename Load>
CARAT_INLINE void FloatRows(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k, float* y) {
  for (int64_t n = 0; n < rows; ++n)
    FloatTile<1, 1, Load>(reinterpret_cast<const typename Load::Element*>(w + n * row_bytes), 0, x, 0, k, y + n, 0);
}

}  // namespace

void GemvF32(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k, float* y) {
  FloatRows<LoadF32>(w, row_bytes, rows, x, k, y);
}

void GemvF16(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k, float* y) {
  FloatRows<LoadF16>(w, row_bytes, rows, x, k, y);
}

void GemvBf16(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k, float* y) {
  FloatRows<LoadBf16>(w, row_bytes, rows, x, k, y);
}

}  // namespace carat::kernels::avx2
