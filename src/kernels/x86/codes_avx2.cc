// The code formats, static rounding, and the exact products of both.
#include "kernels/x86/avx2.h"
#include "kernels/x86/vector_avx2.h"
#include "quant/codes.h"

namespace carat::kernels::avx2 {
namespace {

using quant::Type;

CARAT_INLINE __m256i Load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
CARAT_INLINE void Store32(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// Plane p of 32 packed bytes: their p-th codes as unsigned numbers.
template <int kBits>
CARAT_INLINE __m256i PlaneOf(__m256i packed, int p) {
  return _mm256_and_si256(_mm256_srli_epi16(packed, kBits * p), _mm256_set1_epi8((1 << kBits) - 1));
}

// 32 packed bytes to the codes in their order.
template <int kBits>
CARAT_INLINE void Unpack32(__m256i packed, int8_t* codes) {
  const __m256i offset = _mm256_set1_epi8(1 << (kBits - 1));
  const __m256i p0 = PlaneOf<kBits>(packed, 0), p1 = PlaneOf<kBits>(packed, 1);
  __m256i parts[8 / kBits];  // interleaved within each half of a register
  if constexpr (kBits == 4) {
    parts[0] = _mm256_unpacklo_epi8(p0, p1);
    parts[1] = _mm256_unpackhi_epi8(p0, p1);
  } else {
    const __m256i p2 = PlaneOf<kBits>(packed, 2), p3 = PlaneOf<kBits>(packed, 3);
    const __m256i low01 = _mm256_unpacklo_epi8(p0, p1), high01 = _mm256_unpackhi_epi8(p0, p1);
    const __m256i low23 = _mm256_unpacklo_epi8(p2, p3), high23 = _mm256_unpackhi_epi8(p2, p3);
    parts[0] = _mm256_unpacklo_epi16(low01, low23);
    parts[1] = _mm256_unpackhi_epi16(low01, low23);
    parts[2] = _mm256_unpacklo_epi16(high01, high23);
    parts[3] = _mm256_unpackhi_epi16(high01, high23);
  }
  constexpr int kHalf = 128 / kBits;  // codes in half of the packed bytes
  for (int i = 0; i < 8 / kBits; ++i) {
    const __m256i part = _mm256_sub_epi8(parts[i], offset);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + 16 * i), _mm256_castsi256_si128(part));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(codes + kHalf + 16 * i), _mm256_extracti128_si256(part, 1));
  }
}

}  // namespace

template <Type kType>
void UnpackCodes(const std::byte* packed, int64_t n, int8_t* codes) {
  constexpr int kBits = quant::CodeBits(kType);
  int64_t k = 0;
  if constexpr (kBits == 8) {
    for (; k + 32 <= n; k += 32) Store32(codes + k, Load32(packed + k));
    for (; k < n; ++k) codes[k] = static_cast<int8_t>(packed[k]);
  } else {
    constexpr int64_t kStep = 256 / kBits;
    for (; k + kStep <= n; k += kStep) Unpack32<kBits>(Load32(packed + k * kBits / 8), codes + k);
    for (; k < n; ++k) {
      const int byte = static_cast<int>(packed[k * kBits / 8]);
      codes[k] = static_cast<int8_t>(((byte >> (k * kBits % 8)) & ((1 << kBits) - 1)) - (1 << (kBits - 1)));
    }
  }
}

void ScaleCodes(const int8_t* codes, float scale, int64_t n, float* y) {
  const __m256 factor = _mm256_set1_ps(scale);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + i));
    _mm256_storeu_ps(y + i, _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(eight)), factor));
  }
  for (; i < n; ++i) y[i] = static_cast<float>(codes[i]) * scale;
}

namespace {

// Eight codes as floats. Maximum and minimum give their second operand where there is a NaN.
CARAT_INLINE __m256 RoundToCodes(__m256 x, __m256 scale) {
  const __m256 rounded = _mm256_round_ps(_mm256_div_ps(x, scale), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  return _mm256_min_ps(_mm256_set1_ps(127.0f), _mm256_max_ps(_mm256_set1_ps(-128.0f), rounded));
}

// 32 codes; notes the lanes that met a NaN, and adds the codes to eight sums.
CARAT_INLINE __m256i Quantize32(const __m256 x[4], __m256 scale, __m256& nan, __m256i& sums) {
  __m256i q[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256 code = RoundToCodes(x[i], scale);
    const __m256 no_number = _mm256_cmp_ps(code, code, _CMP_UNORD_Q);
    nan = _mm256_or_ps(nan, no_number);
    q[i] = _mm256_cvtps_epi32(_mm256_andnot_ps(no_number, code));
    sums = _mm256_add_epi32(sums, q[i]);
  }
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

}  // namespace

StaticRow QuantizeStatic(const float* x, int64_t n, float scale, int8_t* codes) {
  const __m256 step = _mm256_set1_ps(scale);
  __m256 nan = _mm256_setzero_ps();
  __m256i sums = _mm256_setzero_si256();
  __m256 v[4];
  int64_t i = 0;
  for (; i + 32 <= n; i += 32) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) v[j] = _mm256_loadu_ps(x + i + 8 * j);
    Store32(codes + i, Quantize32(v, step, nan, sums));
  }
  if (i < n) {
    for (int j = 0; j < 4; ++j) v[j] = LoadF32::LoadFirst(x + i + 8 * j, n - i - 8 * j);
    alignas(32) int8_t last[32];
    Store32(last, Quantize32(v, step, nan, sums));
    for (int j = 0; i < n; ++i, ++j) codes[i] = last[j];
  }
  return {.scale = _mm256_movemask_ps(nan) != 0 ? __builtin_nanf("") : scale, .sum = AddLanes(sums)};
}

StaticRow QuantizeDynamic(const float* x, int64_t n, int8_t* codes) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 largest = _mm256_set1_ps(kA8Smallest);  // the second operand of maximum: a NaN leaves it alone
  for (int64_t i = 0; i < n; i += 8)
    largest = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_maskload_ps(x + i, FirstLanes(n - i))), largest);
  __m128 four = _mm_max_ps(_mm256_castps256_ps128(largest), _mm256_extractf128_ps(largest, 1));
  four = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return QuantizeStatic(x, n, _mm_cvtss_f32(_mm_max_ss(four, _mm_movehdup_ps(four))) / 127.0f, codes);
}

void RoundStatic(float* x, int64_t n, float scale) {
  const __m256 step = _mm256_set1_ps(scale);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, _mm256_mul_ps(RoundToCodes(_mm256_loadu_ps(x + i), step), step));
  if (i < n) {
    const __m256 last = _mm256_mul_ps(RoundToCodes(LoadF32::LoadFirst(x + i, n - i), step), step);
    _mm256_maskstore_ps(x + i, FirstLanes(n - i), last);
  }
}

namespace {

// The even bytes of 64 (remainder 0), or the odd ones.
CARAT_INLINE __m256i EveryOther(__m256i a, __m256i b, int remainder) {
  const __m256i low = _mm256_set1_epi16(0x00ff);
  const __m256i both = remainder == 0 ? _mm256_packus_epi16(_mm256_and_si256(a, low), _mm256_and_si256(b, low))
                                      : _mm256_packus_epi16(_mm256_srli_epi16(a, 8), _mm256_srli_epi16(b, 8));
  return _mm256_permute4x64_epi64(both, _MM_SHUFFLE(3, 1, 2, 0));
}

// Deals 32 * kPlanes codes to 32 of each plane.
template <int kPlanes>
CARAT_INLINE void Deal32(const int8_t* codes, int64_t plane, int8_t* out) {
  __m256i v[4];
  for (int i = 0; i < kPlanes; ++i) v[i] = Load32(codes + 32 * i);
  if constexpr (kPlanes == 2) {
    const __m256i a = v[0], b = v[1];
    for (int i = 0; i < 2; ++i) v[i] = EveryOther(a, b, i);
  } else if constexpr (kPlanes == 4) {
    const __m256i even0 = EveryOther(v[0], v[1], 0), even1 = EveryOther(v[2], v[3], 0);
    const __m256i odd0 = EveryOther(v[0], v[1], 1), odd1 = EveryOther(v[2], v[3], 1);
    for (int i = 0; i < 2; ++i) {
      v[2 * i] = EveryOther(even0, even1, i);
      v[2 * i + 1] = EveryOther(odd0, odd1, i);
    }
  }
  for (int i = 0; i < kPlanes; ++i) Store32(out + i * plane, v[i]);
}

template <int kPlanes>
CARAT_INLINE void Deal(const int8_t* codes, int64_t n, int64_t plane, int8_t* out) {
  int64_t at = 0;  // in a plane
  for (; (at + 32) * kPlanes <= n; at += 32) Deal32<kPlanes>(codes + at * kPlanes, plane, out + at);
  for (; at < plane; at += 32) {
    int8_t last[32 * kPlanes] = {};
    for (int64_t i = at * kPlanes; i < n && i < (at + 32) * kPlanes; ++i) last[i - at * kPlanes] = codes[i];
    Deal32<kPlanes>(last, plane, out + at);
  }
}

}  // namespace

void DealCodes(const int8_t* codes, int64_t n, int planes, int64_t plane, int8_t* out) {
  if (planes == 1) return Deal<1>(codes, n, plane, out);
  return planes == 2 ? Deal<2>(codes, n, plane, out) : Deal<4>(codes, n, plane, out);
}

namespace {

// The products of 32 packed bytes with a token's codes. Codes of 4 and 2 bits are unsigned here, which the 16 bits of
// vpmaddubsw's sums have room for: 2 planes of 2 * 15 * 128, or 4 of 2 * 3 * 128.
template <int kBits>
CARAT_INLINE __m256i Products(__m256i packed, const int8_t* token, int64_t plane) {
  __m256i pairs = _mm256_maddubs_epi16(PlaneOf<kBits>(packed, 0), Load32(token));
#pragma GCC unroll 4
  for (int p = 1; p < 8 / kBits; ++p)
    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(PlaneOf<kBits>(packed, p), Load32(token + p * plane)));
  return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}

// The same of 8-bit codes, which fill their range: -128 * -128 needs factors of 16 bits.
template <>
CARAT_INLINE __m256i Products<8>(__m256i packed, const int8_t* token, int64_t) {
  const __m256i codes = Load32(token);
  const auto half = [](__m256i a, __m256i b, int i) __attribute__((always_inline)) {
    const __m128i a_half = i == 0 ? _mm256_castsi256_si128(a) : _mm256_extracti128_si256(a, 1);
    const __m128i b_half = i == 0 ? _mm256_castsi256_si128(b) : _mm256_extracti128_si256(b, 1);
    return _mm256_madd_epi16(_mm256_cvtepi8_epi16(a_half), _mm256_cvtepi8_epi16(b_half));
  };
  return _mm256_add_epi32(half(packed, codes, 0), half(packed, codes, 1));
}

}  // namespace

// One row after the other, so that the memory is read as one stream.
template <Type kType>
void GemvCodes(const CodeRows& w, int64_t rows, const PlaneRow& x, int64_t k, float* y) {
  constexpr int kBits = quant::CodeBits(kType);
  const int64_t bytes = (k * kBits + 7) / 8;
  // What unsigned codes add too much. Sums wrap around on the way, if they must, and end exact.
  const uint32_t offset = kBits == 8 ? 0 : static_cast<uint32_t>(x.row.sum) << (kBits - 1);
  for (int64_t n = 0; n < rows; ++n) {
    const std::byte* row = w.packed + n * w.row_bytes;
    __m256i sum = _mm256_setzero_si256();
    int64_t at = 0;
    for (; at + 32 <= bytes; at += 32)
      sum = _mm256_add_epi32(sum, Products<kBits>(Load32(row + at), x.codes + at, x.plane));
    if (at < bytes) {  // what is beyond the end of a row meets activations of zero
      alignas(32) std::byte last[32] = {};
      for (int64_t i = 0; i < bytes - at; ++i) last[i] = row[at + i];
      sum = _mm256_add_epi32(sum, Products<kBits>(Load32(last), x.codes + at, x.plane));
    }
    const auto exact = static_cast<int32_t>(static_cast<uint32_t>(AddLanes(sum)) - offset);
    y[n] = static_cast<float>(exact) * (x.row.scale * w.scale[n]);
  }
}

namespace {

template <int kRows>
CARAT_INLINE void FloatRows(const CodeRows& w, int64_t n0, const float* x, int64_t k, float* y) {
  const __m256i shifts[2] = {_mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14),
                             _mm256_setr_epi32(16, 18, 20, 22, 24, 26, 28, 30)};
  __m256 table[kRows], sum[kRows][2];
  for (int n = 0; n < kRows; ++n) {
    // A permutation looks at three bits of an index, of which the low two are the code.
    const __m256 codes = _mm256_setr_ps(-2, -1, 0, 1, -2, -1, 0, 1);
    table[n] = _mm256_mul_ps(codes, _mm256_set1_ps(w.scale[n0 + n]));
    sum[n][0] = sum[n][1] = _mm256_setzero_ps();
  }
  const std::byte* row = w.packed + n0 * w.row_bytes;
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      uint32_t word = 0;
      __builtin_memcpy(&word, row + n * w.row_bytes + i / 4, 4);
      const __m256i words = _mm256_set1_epi32(static_cast<int>(word));
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m256 weights = _mm256_permutevar8x32_ps(table[n], _mm256_srlv_epi32(words, shifts[half]));
        sum[n][half] = _mm256_fmadd_ps(weights, _mm256_loadu_ps(x + i + 8 * half), sum[n][half]);
      }
    }
  }
  if (i < k) {
    for (int n = 0; n < kRows; ++n) {
      uint32_t word = 0;
      __builtin_memcpy(&word, row + n * w.row_bytes + i / 4, static_cast<size_t>((k - i + 3) / 4));
      const __m256i words = _mm256_set1_epi32(static_cast<int>(word));
      for (int half = 0; half < 2; ++half) {
        const __m256 inside = _mm256_castsi256_ps(FirstLanes(k - i - 8 * half));
        const __m256 weights = _mm256_permutevar8x32_ps(table[n], _mm256_srlv_epi32(words, shifts[half]));
        const __m256 token = LoadF32::LoadFirst(x + i + 8 * half, k - i - 8 * half);
        sum[n][half] = _mm256_fmadd_ps(_mm256_and_ps(weights, inside), token, sum[n][half]);
      }
    }
  }
  for (int n = 0; n < kRows; ++n) y[n0 + n] = TreeSum(sum[n][0], sum[n][1]);
}

}  // namespace

void GemvC2Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y) {
  int64_t n = 0;
  for (; n + 4 <= rows; n += 4) FloatRows<4>(w, n, x, k, y);
  for (; n < rows; ++n) FloatRows<1>(w, n, x, k, y);
}

namespace {

// Eight codes as weights.
CARAT_INLINE __m256 Weights(__m128i codes, __m256 scale) {
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), scale);
}

// kRows rows in groups of 32 codes, each group with its scale.
template <int kRows>
CARAT_INLINE void GroupRows(const CodeRows& w, int64_t n0, const float* x, int64_t k, float* y) {
  const std::byte* row = w.packed + n0 * w.row_bytes;
  const float* scale = w.scale + n0 * (k / 32);
  __m256 sum[kRows][2];
  for (int n = 0; n < kRows; ++n) sum[n][0] = sum[n][1] = _mm256_setzero_ps();
  for (int64_t i = 0; i < k; i += 32) {
    __m256 token[4];
    for (int part = 0; part < 4; ++part) token[part] = _mm256_loadu_ps(x + i + 8 * part);
#pragma GCC unroll 2
    for (int n = 0; n < kRows; ++n) {
      const void* bytes = row + n * w.row_bytes + i / 2;
      const __m128i packed = _mm_loadu_si128(static_cast<const __m128i*>(bytes));
      const __m128i mask = _mm_set1_epi8(15), offset = _mm_set1_epi8(8);
      const __m128i even = _mm_sub_epi8(_mm_and_si128(packed, mask), offset);
      const __m128i odd = _mm_sub_epi8(_mm_and_si128(_mm_srli_epi16(packed, 4), mask), offset);
      const __m128i codes[2] = {_mm_unpacklo_epi8(even, odd), _mm_unpackhi_epi8(even, odd)};
      const __m256 group_scale = _mm256_set1_ps(scale[n * (k / 32) + i / 32]);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        sum[n][0] = _mm256_fmadd_ps(Weights(codes[half], group_scale), token[2 * half], sum[n][0]);
        const __m128i upper = _mm_srli_si128(codes[half], 8);
        sum[n][1] = _mm256_fmadd_ps(Weights(upper, group_scale), token[2 * half + 1], sum[n][1]);
      }
    }
  }
  for (int n = 0; n < kRows; ++n) y[n0 + n] = TreeSum(sum[n][0], sum[n][1]);
}

}  // namespace

void GemvG4Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y) {
  int64_t n = 0;
  for (; n + 4 <= rows; n += 4) GroupRows<4>(w, n, x, k, y);
  for (; n < rows; ++n) GroupRows<1>(w, n, x, k, y);
}

template void UnpackCodes<Type::kC8>(const std::byte*, int64_t, int8_t*);
template void UnpackCodes<Type::kC4>(const std::byte*, int64_t, int8_t*);
template void UnpackCodes<Type::kC2>(const std::byte*, int64_t, int8_t*);
template void GemvCodes<Type::kC8>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);
template void GemvCodes<Type::kC4>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);
template void GemvCodes<Type::kC2>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);

}  // namespace carat::kernels::avx2
