// Panels of unpacked weights by many tokens.
#include "kernels/x86/avx2.h"
#include "kernels/x86/panel.h"

namespace carat::kernels::avx2 {
namespace {

// The products of bytes are |w| * (x with the sign of w): the first factor is unsigned, as vpmaddubsw wants it, and
// 2 * 128 * 127 fits its 16-bit sums.
struct Ssse3 {
  static constexpr int kRows = 8, kVectors = 1;
  using Ints = __m256i;
  using Floats = __m256;
  struct Codes {
    __m256i codes, magnitude;
  };
  CARAT_INLINE static Ints Start(int32_t) { return _mm256_setzero_si256(); }
  CARAT_INLINE static Codes LoadCodes(const int8_t* p) {
    const __m256i codes = _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
    return {codes, _mm256_abs_epi8(codes)};
  }
  CARAT_INLINE static Ints Dot(Ints sum, Codes w, int32_t token) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(_mm256_set1_epi32(token), w.codes));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  CARAT_INLINE static Floats ToFloats(Ints x) { return _mm256_cvtepi32_ps(x); }
  CARAT_INLINE static Floats Set(float x) { return _mm256_set1_ps(x); }
  CARAT_INLINE static Floats Load(const float* p) { return _mm256_load_ps(p); }
  CARAT_INLINE static void StoreFirst(float* p, int64_t count, Floats x) {
    _mm256_maskstore_ps(p, FirstLanes(count), x);
  }
  CARAT_INLINE static Floats Add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  CARAT_INLINE static Floats Multiply(Floats a, float b) { return _mm256_mul_ps(a, _mm256_set1_ps(b)); }
  CARAT_INLINE static Floats Fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
};

}  // namespace

void PackPanel(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel) { x86::PackPanel(w, rows, k, 0, panel); }

void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  x86::GemmPanel<Ssse3>(w, rows, tiles, tokens, k, y, y_stride);
}

}  // namespace carat::kernels::avx2
