// Normalisation, activation functions, conversions. The formulas are those of reference/elementwise.cc, lane by lane.
#include "kernels/exp_constants.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/exp_avx2.h"
#include "kernels/x86/float_tile_avx2.h"

namespace carat::kernels::avx2 {
namespace {

CARAT_INLINE __m256 Tanh(__m256 x) {
  const __m256 sign = _mm256_set1_ps(-0.0f), one = _mm256_set1_ps(1.0f);
  const __m256 magnitude = _mm256_andnot_ps(sign, x);
  const __m256 square = _mm256_mul_ps(x, x);
  __m256 p = _mm256_set1_ps(kTanhPoly[0]);
  for (int i = 1; i < 5; ++i) p = _mm256_fmadd_ps(p, square, _mm256_set1_ps(kTanhPoly[i]));
  const __m256 small = _mm256_fmadd_ps(_mm256_mul_ps(p, square), x, x);
  const __m256 e = Exp(_mm256_mul_ps(_mm256_set1_ps(2.0f), magnitude));
  const __m256 large = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0f), _mm256_add_ps(e, one)));
  const __m256 large_signed = _mm256_or_ps(_mm256_andnot_ps(sign, large), _mm256_and_ps(sign, x));
  return _mm256_blendv_ps(large_signed, small, _mm256_cmp_ps(magnitude, _mm256_set1_ps(kTanhSmall), _CMP_LT_OQ));
}

CARAT_INLINE __m256 Gelu(__m256 z) {
  const __m256 one = _mm256_set1_ps(1.0f);
  const __m256 cubic = _mm256_fmadd_ps(_mm256_set1_ps(kGeluCubic), _mm256_mul_ps(z, z), one);
  const __m256 minus_2u = _mm256_mul_ps(_mm256_set1_ps(kGeluMinus2), _mm256_mul_ps(z, cubic));
  return _mm256_div_ps(z, _mm256_add_ps(one, Exp(minus_2u)));
}

CARAT_INLINE float NormScale(const float* x, float eps, int64_t n) {
  float squares = 0;
  FloatTile<1, 1, LoadF32>(x, 0, x, 0, n, &squares, 0);
  return 1.0f / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(squares / static_cast<float>(n) + eps)));
}

}  // namespace

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  const __m256 scale = _mm256_set1_ps(NormScale(x, eps, n));
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i inside = FirstLanes(n - i);
    __m256 value = _mm256_mul_ps(_mm256_maskload_ps(x + i, inside), scale);
    if (weight != nullptr) value = _mm256_mul_ps(value, _mm256_maskload_ps(weight + i, inside));
    _mm256_maskstore_ps(y + i, inside, value);
  }
}

void AddRmsNorm(const float* delta, const float* weight, float eps, int64_t n, float* x) {
  const __m256 scale = _mm256_set1_ps(NormScale(delta, eps, n));
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i inside = FirstLanes(n - i);
    const __m256 value = _mm256_mul_ps(_mm256_mul_ps(_mm256_maskload_ps(delta + i, inside), scale),
                                       _mm256_maskload_ps(weight + i, inside));
    _mm256_maskstore_ps(x + i, inside, _mm256_add_ps(_mm256_maskload_ps(x + i, inside), value));
  }
}

void GeluMul(const float* gate, const float* up, int64_t n, float* out) {
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i inside = FirstLanes(n - i);
    const __m256 value = Gelu(_mm256_maskload_ps(gate + i, inside));
    _mm256_maskstore_ps(out + i, inside, _mm256_mul_ps(value, _mm256_maskload_ps(up + i, inside)));
  }
}

void SoftCap(float* x, int64_t n, float cap) {
  const __m256 caps = _mm256_set1_ps(cap);
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i inside = FirstLanes(n - i);
    const __m256 value = Tanh(_mm256_div_ps(_mm256_maskload_ps(x + i, inside), caps));
    _mm256_maskstore_ps(x + i, inside, _mm256_mul_ps(caps, value));
  }
}

void ToF16(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i),
                     _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT));
  for (; i < n; ++i)
    y[i] = static_cast<uint16_t>(_mm_cvtsi128_si32(_mm_cvtps_ph(_mm_set_ss(x[i]), _MM_FROUND_TO_NEAREST_INT)));
}

}  // namespace carat::kernels::avx2
