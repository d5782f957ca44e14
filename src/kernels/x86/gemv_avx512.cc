// One token with weights as they lie in memory. Vectors of 32 bytes: the memory is the limit.
#include "kernels/x86/avx512.h"
#include "kernels/x86/gemv.h"
#include "quant/blocks.h"

namespace carat::kernels::avx512 {
namespace {

// As avx2::SumsOfFour, by vpdpbusd.
struct SumsOfFour {
  CARAT_INLINE static __m256i Of(__m256i codes, __m256i magnitude, __m256i token) {
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), magnitude, _mm256_sign_epi8(token, codes));
  }
};

}  // namespace

template <typename Block>
void Gemv(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y) {
  avx2::DotRows<SumsOfFour, Block>(w, row_bytes, rows, x, k, y);
}

#define CARAT_INSTANTIATE(Block) \
  template void Gemv<Block>(const std::byte*, int64_t, int64_t, const A8Row&, int64_t, float*);
CARAT_INSTANTIATE(quant::BlockQ4_0)
CARAT_INSTANTIATE(quant::BlockQ4_1)
CARAT_INSTANTIATE(quant::BlockQ5_0)
CARAT_INSTANTIATE(quant::BlockQ5_1)
CARAT_INSTANTIATE(quant::BlockQ8_0)
CARAT_INSTANTIATE(quant::BlockIQ4_NL)
CARAT_INSTANTIATE(quant::BlockQ2_K)
CARAT_INSTANTIATE(quant::BlockQ3_K)
CARAT_INSTANTIATE(quant::BlockQ4_K)
CARAT_INSTANTIATE(quant::BlockQ5_K)
CARAT_INSTANTIATE(quant::BlockQ6_K)
CARAT_INSTANTIATE(quant::BlockIQ4_XS)
#undef CARAT_INSTANTIATE

}  // namespace carat::kernels::avx512
