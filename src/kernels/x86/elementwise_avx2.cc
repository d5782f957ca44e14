// Normalisation, activation functions, conversions. The formulas are those of reference/elementwise.cc, lane by lane.
#include "kernels/exp_constants.h"
#include "kernels/x86/avx2.h"
#include "kernels/x86/float_tile_avx2.h"

namespace carat::kernels::avx2 {
namespace {

CARAT_INLINE __m256 Exp(__m256 x) {
  const __m256 shift = _mm256_set1_ps(kRoundShift);
  const __m256 shifted = _mm256_fmadd_ps(x, _mm256_set1_ps(kLog2E), shift);
  const __m256 n = _mm256_sub_ps(shifted, shift);
  __m256 r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2High), x);
  r = _mm256_fmadd_ps(n, _mm256_set1_ps(-kLn2Low), r);
  __m256 p = _mm256_set1_ps(kExpPoly[0]);
  for (int i = 1; i < 6; ++i) p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(kExpPoly[i]));
  p = _mm256_add_ps(_mm256_fmadd_ps(p, _mm256_mul_ps(r, r), r), _mm256_set1_ps(1.0f));
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_castps_si256(shifted), _mm256_set1_epi32(127)), 23);
  const __m256 result = _mm256_mul_ps(p, _mm256_castsi256_ps(power));
  const __m256 low = _mm256_cmp_ps(x, _mm256_set1_ps(kExpLowest), _CMP_LT_OQ);
  const __m256 high = _mm256_cmp_ps(x, _mm256_set1_ps(kExpHighest), _CMP_GT_OQ);
  const __m256 infinity = _mm256_castsi256_ps(_mm256_set1_epi32(static_cast<int>(kInfinityBits)));
  return _mm256_blendv_ps(_mm256_andnot_ps(low, result), infinity, high);
}

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

}  // namespace

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y) {
  float squares = 0;
  FloatTile<1, 1, LoadF32>(x, 0, x, 0, n, &squares, 0);
  const __m128 mean = _mm_set_ss(squares / static_cast<float>(n) + eps);
  const __m256 scale = _mm256_set1_ps(1.0f / _mm_cvtss_f32(_mm_sqrt_ss(mean)));
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i inside = FirstLanes(n - i);
    __m256 value = _mm256_mul_ps(_mm256_maskload_ps(x + i, inside), scale);
    if (weight != nullptr) value = _mm256_mul_ps(value, _mm256_maskload_ps(weight + i, inside));
    _mm256_maskstore_ps(y + i, inside, value);
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

void Softmax(float* x, int64_t n) {
  __m256 largest = _mm256_set1_ps(x[0]);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) largest = _mm256_max_ps(_mm256_loadu_ps(x + i), largest);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  float max = _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four)));
  for (; i < n; ++i) max = x[i] > max ? x[i] : max;

  __m256 sum[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  const __m256 maxes = _mm256_set1_ps(max);
  for (i = 0; i < n; i += 16)
    for (int half = 0; half < 2; ++half) {
      float* p = x + i + 8 * half;
      const __m256i inside = FirstLanes(n - i - 8 * half);
      const __m256 e = Exp(_mm256_sub_ps(_mm256_maskload_ps(p, inside), maxes));
      _mm256_maskstore_ps(p, inside, e);
      sum[half] = _mm256_add_ps(sum[half], _mm256_and_ps(e, _mm256_castsi256_ps(inside)));
    }
  const __m256 total = _mm256_set1_ps(TreeSum(sum[0], sum[1]));
  for (i = 0; i < n; i += 8) {
    const __m256i inside = FirstLanes(n - i);
    _mm256_maskstore_ps(x + i, inside, _mm256_div_ps(_mm256_maskload_ps(x + i, inside), total));
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
