// Panels of unpacked weights by many tokens.
#include "kernels/x86/avx2.h"
#include "kernels/x86/panel.h"
#include "quant/codes.h"

namespace carat::kernels::avx2 {
namespace {

using quant::Type;

// A sum of products, added here and now: GCC would add up many products in a tree of its own, most of them in memory.
CARAT_INLINE __m256i Pinned(__m256i sum) {
  asm("" : "+x"(sum));
  return sum;
}

struct Avx2 {
  static constexpr int kRows = 8, kVectors = 1;
  using Floats = __m256;
  CARAT_INLINE static __m256i LoadInts(const int8_t* p) {
    return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
  }
  CARAT_INLINE static Floats Set(float x) { return _mm256_set1_ps(x); }
  CARAT_INLINE static Floats Load(const float* p) { return _mm256_load_ps(p); }
  CARAT_INLINE static void StoreFirst(float* p, int64_t count, Floats x) {
    _mm256_maskstore_ps(p, FirstLanes(count), x);
  }
  CARAT_INLINE static Floats Add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
  CARAT_INLINE static Floats Multiply(Floats a, float b) { return _mm256_mul_ps(a, _mm256_set1_ps(b)); }
  CARAT_INLINE static Floats Multiply(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
  CARAT_INLINE static Floats Fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
};

// Blocks. The products of bytes are |w| * (x with the sign of w): the first factor is unsigned, as vpmaddubsw wants it,
// and 2 * 128 * 127 fits its 16-bit sums.
struct Blocks : Avx2 {
  using Ints = __m256i;
  struct Codes {
    __m256i codes, magnitude;
  };
  CARAT_INLINE static Ints Start(int32_t) { return _mm256_setzero_si256(); }
  CARAT_INLINE static Codes LoadCodes(const int8_t* p) {
    const __m256i codes = LoadInts(p);
    return {codes, _mm256_abs_epi8(codes)};
  }
  CARAT_INLINE static Ints Dot(Ints sum, Codes w, int32_t token) {
    const __m256i pairs = _mm256_maddubs_epi16(w.magnitude, _mm256_sign_epi8(_mm256_set1_epi32(token), w.codes));
    return Pinned(_mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1))));
  }
  CARAT_INLINE static Floats ToFloats(Ints x) { return _mm256_cvtepi32_ps(x); }
};

// Codes of 4 or 2 bits, as unsigned numbers: sums of 32 columns, 8 of 2 * 15 * 128 to a lane, fit 16 bits.
struct Narrow : Avx2 {
  static constexpr uint32_t kLift = 8;
  using Ints = __m256i;
  using Part = __m256i;
  struct Codes {
    __m256i lifted;
  };
  CARAT_INLINE static Ints Start(int32_t lift) { return _mm256_set1_epi32(lift); }
  CARAT_INLINE static Codes LoadCodes(const int8_t* p) { return {_mm256_add_epi8(LoadInts(p), _mm256_set1_epi8(8))}; }
  CARAT_INLINE static Part Begin(Ints) { return _mm256_setzero_si256(); }
  CARAT_INLINE static Part Dot(Part part, Codes w, int32_t token) {
    return Pinned(_mm256_add_epi16(part, _mm256_maddubs_epi16(w.lifted, _mm256_set1_epi32(token))));
  }
  CARAT_INLINE static Ints End(Ints sum, Part part) {
    return _mm256_add_epi32(sum, _mm256_madd_epi16(part, _mm256_set1_epi16(1)));
  }
  CARAT_INLINE static Floats ToFloats(Ints x) { return _mm256_cvtepi32_ps(x); }
};

// Codes of 8 bits, which fill their range: -128 * -128 needs factors of 16 bits. Two sums of two columns each for a
// row, four rows to a register.
struct Wide : Avx2 {
  static constexpr uint32_t kLift = 0;
  struct Ints {
    __m256i low, high;
  };
  using Part = Ints;
  using Codes = Ints;
  CARAT_INLINE static Ints Start(int32_t) { return {_mm256_setzero_si256(), _mm256_setzero_si256()}; }
  CARAT_INLINE static Codes LoadCodes(const int8_t* p) {
    const __m256i codes = LoadInts(p);
    return {_mm256_cvtepi8_epi16(_mm256_castsi256_si128(codes)),
            _mm256_cvtepi8_epi16(_mm256_extracti128_si256(codes, 1))};
  }
  CARAT_INLINE static Part Begin(Ints sum) { return sum; }
  CARAT_INLINE static Part Dot(Part sum, Codes w, int32_t token) {
    const __m256i four = _mm256_cvtepi8_epi16(_mm_set1_epi32(token));
    return {Pinned(_mm256_add_epi32(sum.low, _mm256_madd_epi16(w.low, four))),
            Pinned(_mm256_add_epi32(sum.high, _mm256_madd_epi16(w.high, four)))};
  }
  CARAT_INLINE static Ints End(Ints, Part part) { return part; }
  CARAT_INLINE static Floats ToFloats(Ints x) {
    const __m256i rows = _mm256_hadd_epi32(x.low, x.high);  // 0 1 4 5 2 3 6 7
    return _mm256_cvtepi32_ps(_mm256_permute4x64_epi64(rows, _MM_SHUFFLE(3, 1, 2, 0)));
  }
};

}  // namespace

void PackPanel(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel) { x86::PackPanel(w, rows, k, 0, panel); }

void PackTile(const A8Row& x, int64_t tokens, int64_t k, A8Block* tile) {
  const int64_t blocks = k / 32;
  for (int64_t block = 0; block < blocks; ++block) {
    A8Block& to = tile[block];
    x86::InterleaveTokens(x.codes + 32 * block, tokens, k, to.codes);
    for (int64_t t = 0; t < kTileTokens; ++t) {
      const bool inside = t < tokens;
      const int64_t from = t * blocks + block;
      to.scale[t] = inside ? x.scale[from] : 0.0f;
      to.lift32[t] = inside ? x.lift32[from] : 0;
      for (int half = 0; half < 2; ++half) to.lift16[half][t] = inside ? x.lift16[2 * from + half] : 0;
    }
  }
}

void PackCodeTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile) {
  auto* to = reinterpret_cast<int8_t(*)[kTileTokens][4]>(tile);
  for (int64_t i = 0; i < k; i += 32) x86::InterleaveTokens(codes + i, tokens, k, to + i / 4);
}

void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  x86::GemmPanel<Blocks>(w, rows, tiles, tokens, k, y, y_stride);
}

template <Type kType>
void PackCodes(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel) {
  x86::PackCodes<quant::CodeBits(kType)>(w, rows, k, 0, panel);
}

template <Type kType>
void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  if constexpr (kType == Type::kC8)
    x86::CodeProducts<Wide>(w, rows, x, tokens, k, y, y_stride);
  else
    x86::CodeProducts<Narrow>(w, rows, x, tokens, k, y, y_stride);
}

template void PackCodes<Type::kC8>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void PackCodes<Type::kC4>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void PackCodes<Type::kC2>(const CodeRows&, int64_t, int64_t, const S8Panel&);
template void GemmCodes<Type::kC8>(const S8Panel&, int64_t, const CodeTiles&, int64_t, int64_t, float*, int64_t);
template void GemmCodes<Type::kC4>(const S8Panel&, int64_t, const CodeTiles&, int64_t, int64_t, float*, int64_t);
template void GemmCodes<Type::kC2>(const S8Panel&, int64_t, const CodeTiles&, int64_t, int64_t, float*, int64_t);

}  // namespace carat::kernels::avx2
