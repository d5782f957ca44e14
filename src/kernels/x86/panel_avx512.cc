// Panels of unpacked weights by many tokens.
#include "kernels/x86/avx512.h"
#include "kernels/x86/panel.h"
#include "kernels/x86/vector_avx512.h"
#include "quant/codes.h"

namespace carat::kernels::avx512 {
namespace {

using quant::Type;

// vpdpbusd wants an unsigned factor: codes + 128. The sums begin with what that adds too much.
struct Vnni {
  static constexpr int kRows = 16, kVectors = 2;
  static constexpr uint32_t kLift = 128;
  using Ints = __m512i;
  using Part = Ints;
  using Floats = __m512;
  struct Codes {
    __m512i lifted;
  };
  CARAT_INLINE static Ints Start(int32_t lift) { return _mm512_set1_epi32(lift); }
  CARAT_INLINE static Codes LoadCodes(const int8_t* p) { return {_mm512_load_si512(p)}; }
  CARAT_INLINE static Ints Dot(Ints sum, Codes codes, int32_t token) {
    return _mm512_dpbusd_epi32(sum, codes.lifted, _mm512_set1_epi32(token));
  }
  CARAT_INLINE static Part Begin(Ints sum) { return sum; }
  CARAT_INLINE static Ints End(Ints, Part part) { return part; }
  CARAT_INLINE static Floats ToFloats(Ints x) { return _mm512_cvtepi32_ps(x); }
  CARAT_INLINE static Floats Set(float x) { return _mm512_set1_ps(x); }
  CARAT_INLINE static Floats Load(const float* p) { return _mm512_load_ps(p); }
  CARAT_INLINE static void StoreFirst(float* p, int64_t count, Floats x) {
    _mm512_mask_storeu_ps(p, FirstLanes(count), x);
  }
  CARAT_INLINE static Floats Add(Floats a, Floats b) { return _mm512_add_ps(a, b); }
  CARAT_INLINE static Floats Multiply(Floats a, float b) { return _mm512_mul_ps(a, _mm512_set1_ps(b)); }
  CARAT_INLINE static Floats Multiply(Floats a, Floats b) { return _mm512_mul_ps(a, b); }
  CARAT_INLINE static Floats Fma(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
};

}  // namespace

void PackPanel(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel) {
  x86::PackPanel(w, rows, k, 0x80808080u, panel);
}

void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  x86::GemmPanel<Vnni>(w, rows, tiles, tokens, k, y, y_stride);
}

template <Type kType>
void PackCodes(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel) {
  x86::PackCodes<quant::CodeBits(kType)>(w, rows, k, 128, panel);
}

void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  x86::CodeProducts<Vnni>(w, rows, x, tokens, k, y, y_stride);
}

template void PackCodes<Type::kC8>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void PackCodes<Type::kC4>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void PackCodes<Type::kC2>(const CodeRows&, int64_t, int64_t, const S8Panel&);

}  // namespace carat::kernels::avx512
