// Normalisation and activation functions. The formulas are those of reference/elementwise.cc, lane by lane.
#include "kernels/x86/avx512.h"
#include "kernels/x86/exp_avx512.h"
#include "kernels/x86/float_tile_avx512.h"

namespace carat::kernels::avx512 {
namespace {

CARAT_INLINE __m512 Gelu(__m512 z) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 cubic = _mm512_fmadd_ps(_mm512_set1_ps(kGeluCubic), _mm512_mul_ps(z, z), one);
  const __m512 minus_2u = _mm512_mul_ps(_mm512_set1_ps(kGeluMinus2), _mm512_mul_ps(z, cubic));
  return _mm512_div_ps(z, _mm512_add_ps(one, Exp(minus_2u)));
}

CARAT_INLINE float NormScale(const float* x, float eps, int64_t n) {
  float squares = 0;
  FloatTile<1, 1, LoadF32>(x, 0, x, 0, n, &squares, 0);
  return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(squares / static_cast<float>(n) + eps)));
}

}  // namespace

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  const __m512 scale = _mm512_set1_ps(NormScale(x, eps, n));
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 inside = FirstLanes(n - i);
    __m512 value = _mm512_mul_ps(_mm512_maskz_loadu_ps(inside, x + i), scale);
    if (weight != nullptr) value = _mm512_mul_ps(value, _mm512_maskz_loadu_ps(inside, weight + i));
    _mm512_mask_storeu_ps(y + i, inside, value);
  }
}

void AddRmsNorm(const float* delta, const float* weight, float eps, int64_t n, float* x) {
  const __m512 scale = _mm512_set1_ps(NormScale(delta, eps, n));
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 inside = FirstLanes(n - i);
    const __m512 value = _mm512_mul_ps(_mm512_mul_ps(_mm512_maskz_loadu_ps(inside, delta + i), scale),
                                       _mm512_maskz_loadu_ps(inside, weight + i));
    _mm512_mask_storeu_ps(x + i, inside, _mm512_add_ps(_mm512_maskz_loadu_ps(inside, x + i), value));
  }
}

void GeluMul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += 16) {
    const __mmask16 inside = FirstLanes(n - i);
    const __m512 value = Gelu(_mm512_maskz_loadu_ps(inside, gate + i));
    _mm512_mask_storeu_ps(out + i, inside, _mm512_mul_ps(value, _mm512_maskz_loadu_ps(inside, up + i)));
  }
}

}  // namespace carat::kernels::avx512
