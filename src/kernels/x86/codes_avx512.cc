// Products of the code formats: exact ones with VNNI, and a single token's with floats.
#include "kernels/x86/avx512.h"
#include "kernels/x86/vector_avx512.h"
#include "quant/codes.h"

namespace carat::kernels::avx512 {
namespace {

using quant::Type;

CARAT_INLINE __m512i Load64(const void* p) { return _mm512_loadu_si512(p); }

// The first `count` of 64 bytes, zeros behind them; count >= 64: all.
CARAT_INLINE __m512i LoadFirst64(const void* p, int64_t count) {
  return _mm512_maskz_loadu_epi8(count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1, p);
}

// Plane p of 64 packed bytes: their p-th codes as unsigned numbers, code + 2^(kBits-1).
template <int kBits>
CARAT_INLINE __m512i PlaneOf(__m512i packed, int p) {
  if constexpr (kBits == 8)
    return _mm512_xor_si512(packed, _mm512_set1_epi8(-128));
  else
    return _mm512_and_si512(_mm512_srli_epi16(packed, static_cast<unsigned>(kBits * p)),
                            _mm512_set1_epi8((1 << kBits) - 1));
}

// Sums of unsigned codes to sums of codes. They wrap around on the way, if they must, and end exact.
template <int kBits>
CARAT_INLINE float Exact(int32_t sum, int32_t token_sum, float token_scale, float row_scale) {
  const uint32_t offset = static_cast<uint32_t>(token_sum) << (kBits - 1);
  return static_cast<float>(static_cast<int32_t>(static_cast<uint32_t>(sum) - offset)) * (token_scale * row_scale);
}

CARAT_INLINE __m256i Load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

// The same of 32 packed bytes.
template <int kBits>
CARAT_INLINE __m256i PlaneOf(__m256i packed, int p) {
  if constexpr (kBits == 8)
    return _mm256_xor_si256(packed, _mm256_set1_epi8(-128));
  else
    return _mm256_and_si256(_mm256_srli_epi16(packed, kBits * p), _mm256_set1_epi8((1 << kBits) - 1));
}

CARAT_INLINE int32_t AddLanes(__m256i lanes) {
  __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
  return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1))));
}

// One token, one row after the other: the memory is read as one stream. By 32 bytes: tensors of these files begin where
// they like, and of loads of 64 bytes each would then touch two cache lines.
template <int kBits>
CARAT_INLINE void GemvCodes(const CodeRows& w, int64_t rows, const PlaneRows& x, int64_t t, int64_t k, float* y) {
  constexpr int kPlanes = 8 / kBits;
  const int64_t bytes = (k * kBits + 7) / 8;
  const int8_t* token = x.codes + t * x.codes_stride;
  for (int64_t n = 0; n < rows; ++n) {
    const std::byte* row = w.packed + n * w.row_bytes;
    __m256i sum[kPlanes];  // so that products do not wait for each other
    for (int p = 0; p < kPlanes; ++p) sum[p] = _mm256_setzero_si256();
    const auto add = [&](__m256i packed, int64_t at) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int p = 0; p < kPlanes; ++p)
        sum[p] = _mm256_dpbusd_epi32(sum[p], PlaneOf<kBits>(packed, p), Load32(token + p * x.plane + at));
    };
    int64_t at = 0;
    for (; at + 32 <= bytes; at += 32) add(Load32(row + at), at);
    if (at < bytes) add(_mm256_maskz_loadu_epi8((uint32_t{1} << (bytes - at)) - 1, row + at), at);
    for (int p = 1; p < kPlanes; ++p) sum[0] = _mm256_add_epi32(sum[0], sum[p]);
    y[n] = Exact<kBits>(AddLanes(sum[0]), x.sum[t], x.scale[t], w.scale[n]);
  }
}

// kRows rows by kTokens tokens.
template <int kBits, int kRows, int kTokens>
CARAT_INLINE void CodeTile(const CodeRows& w, int64_t n0, const PlaneRows& x, int64_t t0, int64_t k, float* y,
                           int64_t y_stride) {
  const int64_t bytes = (k * kBits + 7) / 8;
  const std::byte* row = w.packed + n0 * w.row_bytes;
  const int8_t* token = x.codes + t0 * x.codes_stride;
  __m512i sum[kRows][kTokens];
  for (int n = 0; n < kRows; ++n)
    for (int t = 0; t < kTokens; ++t) sum[n][t] = _mm512_setzero_si512();
  for (int64_t at = 0; at < bytes; at += 64) {
    __m512i packed[kRows];
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) packed[n] = LoadFirst64(row + n * w.row_bytes + at, bytes - at);
#pragma GCC unroll 4
    for (int p = 0; p < 8 / kBits; ++p) {
      __m512i plane[kRows];
#pragma GCC unroll 4
      for (int n = 0; n < kRows; ++n) plane[n] = PlaneOf<kBits>(packed[n], p);
#pragma GCC unroll 4
      for (int t = 0; t < kTokens; ++t) {
        const __m512i codes = Load64(token + t * x.codes_stride + p * x.plane + at);
#pragma GCC unroll 4
        for (int n = 0; n < kRows; ++n) sum[n][t] = _mm512_dpbusd_epi32(sum[n][t], plane[n], codes);
      }
    }
  }
  for (int t = 0; t < kTokens; ++t)
    for (int n = 0; n < kRows; ++n)
      y[(t0 + t) * y_stride + n0 + n] =
          Exact<kBits>(_mm512_reduce_add_epi32(sum[n][t]), x.sum[t0 + t], x.scale[t0 + t], w.scale[n0 + n]);
}

template <int kBits, int kTokens>
CARAT_INLINE void CodeStrip(const CodeRows& w, int64_t rows, const PlaneRows& x, int64_t t, int64_t k, float* y,
                            int64_t y_stride) {
  int64_t n = 0;
  for (; n + 4 <= rows; n += 4) CodeTile<kBits, 4, kTokens>(w, n, x, t, k, y, y_stride);
  for (; n < rows; ++n) CodeTile<kBits, 1, kTokens>(w, n, x, t, k, y, y_stride);
}

}  // namespace

template <Type kType>
void GemmCodes(const CodeRows& w, int64_t rows, const PlaneRows& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  constexpr int kBits = quant::CodeBits(kType);
  if (tokens == 1) return GemvCodes<kBits>(w, rows, x, 0, k, y);
  int64_t t = 0;
  for (; t + 4 <= tokens; t += 4) CodeStrip<kBits, 4>(w, rows, x, t, k, y, y_stride);
  if (tokens - t == 3) CodeStrip<kBits, 3>(w, rows, x, t, k, y, y_stride);
  if (tokens - t == 2) CodeStrip<kBits, 2>(w, rows, x, t, k, y, y_stride);
  if (tokens - t == 1) CodeStrip<kBits, 1>(w, rows, x, t, k, y, y_stride);
}

namespace {

// The 16 codes of four bytes as indices of a table of 16, of which the low two bits count.
CARAT_INLINE __m512i Indices(uint32_t word) {
  const __m512i shifts = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_srlv_epi32(_mm512_set1_epi32(static_cast<int>(word)), shifts);
}

template <int kRows>
CARAT_INLINE void FloatRows(const CodeRows& w, int64_t n0, const float* x, int64_t k, float* y) {
  __m512 table[kRows], sum[kRows];
  for (int n = 0; n < kRows; ++n) {
    const __m512 codes = _mm512_setr_ps(-2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1, -2, -1, 0, 1);
    table[n] = _mm512_mul_ps(codes, _mm512_set1_ps(w.scale[n0 + n]));
    sum[n] = _mm512_setzero_ps();
  }
  const std::byte* row = w.packed + n0 * w.row_bytes;
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
    const __m512 token = _mm512_loadu_ps(x + i);
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      uint32_t word = 0;
      __builtin_memcpy(&word, row + n * w.row_bytes + i / 4, 4);
      sum[n] = _mm512_fmadd_ps(_mm512_permutexvar_ps(Indices(word), table[n]), token, sum[n]);
    }
  }
  if (i < k) {
    const __mmask16 inside = FirstLanes(k - i);
    for (int n = 0; n < kRows; ++n) {
      uint32_t word = 0;
      __builtin_memcpy(&word, row + n * w.row_bytes + i / 4, static_cast<size_t>((k - i + 3) / 4));
      const __m512 weights = _mm512_maskz_permutexvar_ps(inside, Indices(word), table[n]);
      sum[n] = _mm512_fmadd_ps(weights, _mm512_maskz_loadu_ps(inside, x + i), sum[n]);
    }
  }
  for (int n = 0; n < kRows; ++n) y[n0 + n] = TreeSum(sum[n]);
}

}  // namespace

void GemvC2Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y) {
  int64_t n = 0;
  for (; n + 4 <= rows; n += 4) FloatRows<4>(w, n, x, k, y);
  for (; n < rows; ++n) FloatRows<1>(w, n, x, k, y);
}

namespace {

// kRows rows in groups of 32 codes, each group with its scale. The order of a sum leaves one chain of additions to a
// row; rows side by side do not wait for each other.
template <int kRows>
CARAT_INLINE void GroupRows(const CodeRows& w, int64_t n0, const float* x, int64_t k, float* y) {
  const __m512 codes = _mm512_setr_ps(-8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7);
  const __m512i shifts = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28);
  const __m512i words[2] = {_mm512_setr_epi32(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1),
                            _mm512_setr_epi32(2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3)};
  const std::byte* row = w.packed + n0 * w.row_bytes;
  const float* scale = w.scale + n0 * (k / 32);
  __m512 sum[kRows];
  for (int n = 0; n < kRows; ++n) sum[n] = _mm512_setzero_ps();
  for (int64_t i = 0; i < k; i += 32) {
    const __m512 token[2] = {_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16)};
#pragma GCC unroll 4
    for (int n = 0; n < kRows; ++n) {
      const void* bytes = row + n * w.row_bytes + i / 2;
      const __m512i packed = _mm512_castsi128_si512(_mm_loadu_si128(static_cast<const __m128i*>(bytes)));
      const __m512 table = _mm512_mul_ps(codes, _mm512_set1_ps(scale[n * (k / 32) + i / 32]));
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        // A permutation looks at four bits of an index: the code.
        const __m512i indices = _mm512_srlv_epi32(_mm512_permutexvar_epi32(words[half], packed), shifts);
        sum[n] = _mm512_fmadd_ps(_mm512_permutexvar_ps(indices, table), token[half], sum[n]);
      }
    }
  }
  for (int n = 0; n < kRows; ++n) y[n0 + n] = TreeSum(sum[n]);
}

}  // namespace

void GemvG4Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y) {
  int64_t n = 0;
  for (; n + 2 <= rows; n += 2) GroupRows<2>(w, n, x, k, y);
  for (; n < rows; ++n) GroupRows<1>(w, n, x, k, y);
}

template void GemmCodes<Type::kC8>(const CodeRows&, int64_t, const PlaneRows&, int64_t, int64_t, float*, int64_t);
template void GemmCodes<Type::kC4>(const CodeRows&, int64_t, const PlaneRows&, int64_t, int64_t, float*, int64_t);
template void GemmCodes<Type::kC2>(const CodeRows&, int64_t, const PlaneRows&, int64_t, int64_t, float*, int64_t);

}  // namespace carat::kernels::avx512
