// Products of one token with the code formats: exact ones with VNNI, and with floats.
#include "kernels/x86/avx512.h"
#include "kernels/x86/vector_avx512.h"
#include "quant/codes.h"

namespace carat::kernels::avx512 {
namespace {

using quant::Type;

CARAT_INLINE __m256i Load32(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }

}  // namespace

// One row after the other: the memory is read as one stream. By 32 bytes: tensors of these files begin where they like,
// and of loads of 64 bytes each would then touch two cache lines.
template <Type kType>
void GemvCodes(const CodeRows& w, int64_t rows, const PlaneRow& x, int64_t k, float* y) {
  constexpr int kBits = quant::CodeBits(kType), kPlanes = 8 / kBits;
  const int64_t bytes = (k * kBits + 7) / 8;
  // What unsigned codes add too much. Sums wrap around on the way, if they must, and end exact.
  const uint32_t offset = static_cast<uint32_t>(x.row.sum) << (kBits - 1);
  for (int64_t n = 0; n < rows; ++n) {
    const std::byte* row = w.packed + n * w.row_bytes;
    __m256i sum[kPlanes];  // so that products do not wait for each other
    for (int p = 0; p < kPlanes; ++p) sum[p] = _mm256_setzero_si256();
    const auto add = [&](__m256i packed, int64_t at) __attribute__((always_inline)) {
#pragma GCC unroll 4
      for (int p = 0; p < kPlanes; ++p)
        sum[p] = _mm256_dpbusd_epi32(sum[p], Plane<kBits>(packed, p), Load32(x.codes + p * x.plane + at));
    };
    int64_t at = 0;
    for (; at + 32 <= bytes; at += 32) add(Load32(row + at), at);
    if (at < bytes) add(_mm256_maskz_loadu_epi8((uint32_t{1} << (bytes - at)) - 1, row + at), at);
    for (int p = 1; p < kPlanes; ++p) sum[0] = _mm256_add_epi32(sum[0], sum[p]);
    const auto exact = static_cast<int32_t>(static_cast<uint32_t>(avx2::AddLanes(sum[0])) - offset);
    y[n] = static_cast<float>(exact) * (x.row.scale * w.scale[n]);
  }
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

template void GemvCodes<Type::kC8>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);
template void GemvCodes<Type::kC4>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);
template void GemvCodes<Type::kC2>(const CodeRows&, int64_t, const PlaneRow&, int64_t, float*);

}  // namespace carat::kernels::avx512
