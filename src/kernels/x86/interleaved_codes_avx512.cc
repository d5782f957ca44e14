// One token, or a panel, of weights in the code formats whose rows are woven together (quant/interleave.h): a vector
// holds a word of 32 bits of each of sixteen rows.
#include "kernels/x86/avx512.h"
#include "kernels/x86/vector_avx512.h"
#include "quant/codes.h"
#include "quant/interleave.h"

namespace carat::kernels::avx512 {
namespace {

using quant::kInterleavedRows;

// Calls put(i, quad) with the unsigned codes of columns 4i .. 4i+3 of each row, of the 32 / kBits columns of a word.
template <int kBits, typename Put>
CARAT_INLINE void ForEachQuad(__m512i word, const Put& put) {
  if constexpr (kBits == 8) {
    put(0, Plane<8>(word, 0));
  } else if constexpr (kBits == 4) {
    // Eight columns of a row are two words now, of which the first go to one vector and the second to the other.
    const __m512i even = Plane<4>(word, 0), odd = Plane<4>(word, 1);
    const __m512i low = _mm512_unpacklo_epi8(even, odd), high = _mm512_unpackhi_epi8(even, odd);
    put(0, _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(low), _mm512_castsi512_ps(high), 0x88)));
    put(1, _mm512_castps_si512(_mm512_shuffle_ps(_mm512_castsi512_ps(low), _mm512_castsi512_ps(high), 0xdd)));
  } else {
    // Sixteen columns of a row become four words; then words and rows change places within each quarter.
    const __m512i p0 = Plane<2>(word, 0), p1 = Plane<2>(word, 1), p2 = Plane<2>(word, 2), p3 = Plane<2>(word, 3);
    const __m512i low01 = _mm512_unpacklo_epi8(p0, p1), low23 = _mm512_unpacklo_epi8(p2, p3);
    const __m512i high01 = _mm512_unpackhi_epi8(p0, p1), high23 = _mm512_unpackhi_epi8(p2, p3);
    const __m512i a = _mm512_unpacklo_epi16(low01, low23), b = _mm512_unpackhi_epi16(low01, low23);
    const __m512i c = _mm512_unpacklo_epi16(high01, high23), d = _mm512_unpackhi_epi16(high01, high23);
    const __m512i ab01 = _mm512_unpacklo_epi32(a, b), ab23 = _mm512_unpackhi_epi32(a, b);
    const __m512i cd01 = _mm512_unpacklo_epi32(c, d), cd23 = _mm512_unpackhi_epi32(c, d);
    put(0, _mm512_unpacklo_epi64(ab01, cd01));
    put(1, _mm512_unpackhi_epi64(ab01, cd01));
    put(2, _mm512_unpacklo_epi64(ab23, cd23));
    put(3, _mm512_unpackhi_epi64(ab23, cd23));
  }
}

template <int kBits>
CARAT_INLINE __m512i SumSixteen(const std::byte* w, int64_t words, const PlaneRow& x) {
  constexpr int kPlanes = 8 / kBits;
  __m512i sum[2][kPlanes];  // so that products do not wait for each other
  for (auto& half : sum)
    for (__m512i& plane : half) plane = _mm512_setzero_si512();
  const auto add = [&](int64_t i, __m512i* sums) __attribute__((always_inline)) {
    const __m512i packed = _mm512_loadu_si512(w + i * 4 * kInterleavedRows);
#pragma GCC unroll 4
    for (int p = 0; p < kPlanes; ++p) {
      int32_t token = 0;
      __builtin_memcpy(&token, x.codes + p * x.plane + 4 * i, sizeof(token));
      sums[p] = _mm512_dpbusd_epi32(sums[p], Plane<kBits>(packed, p), _mm512_set1_epi32(token));
    }
  };
  int64_t i = 0;
  for (; i + 2 <= words; i += 2) {
    add(i, sum[0]);
    add(i + 1, sum[1]);
  }
  if (i < words) add(i, sum[0]);
  __m512i all = _mm512_setzero_si512();
  for (const auto& half : sum)
    for (const __m512i& plane : half) all = _mm512_add_epi32(all, plane);
  return all;
}

}  // namespace

template <quant::Type kType>
void GemvCodesInterleaved(const CodeRows& w, int64_t rows, const PlaneRow& x, float* y) {
  constexpr int kBits = quant::CodeBits(kType);
  // What unsigned codes add too much. Sums wrap around on the way, if they must, and end exact.
  const __m512i offset = _mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(x.row.sum) << (kBits - 1)));
  for (int64_t n = 0; n < rows; n += kInterleavedRows) {
    const __m512i sum = SumSixteen<kBits>(w.packed + n * w.row_bytes, w.row_bytes / 4, x);
    const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(x.row.scale), _mm512_loadu_ps(w.scale + n));
    _mm512_storeu_ps(y + n, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(sum, offset)), scale));
  }
}

template <quant::Type kType>
void PanelCodesInterleaved(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel) {
  constexpr int kBits = quant::CodeBits(kType);
  constexpr int64_t kWordColumns = 32 / kBits;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(128 - (1 << (kBits - 1))));
  for (int64_t row = 0; row < rows; row += kInterleavedRows) {
    const std::byte* woven = w.packed + row * w.row_bytes;
    for (int64_t column = 0; column < k; column += kWordColumns) {
      int8_t* out = panel.codes + column * kPanelRows + row * 4;
      // Behind the last word of a row: zeros.
      const bool inside = column * kBits < w.row_bytes * 8;
      const __m512i word = _mm512_loadu_si512(woven + (inside ? column * kBits / 32 * 4 * kInterleavedRows : 0));
      ForEachQuad<kBits>(word, [&](int i, __m512i quad) __attribute__((always_inline)) {
        const __m512i codes = inside ? _mm512_add_epi8(quad, flip) : _mm512_set1_epi8(-128);
        _mm512_store_si512(out + i * 4 * kPanelRows, codes);
      });
    }
    _mm512_store_ps(panel.scale + row, _mm512_loadu_ps(w.scale + row));
  }
}

#define CARAT_INSTANTIATE(kType)                                                                \
  template void GemvCodesInterleaved<kType>(const CodeRows&, int64_t, const PlaneRow&, float*); \
  template void PanelCodesInterleaved<kType>(const CodeRows&, int64_t, int64_t, const S8Panel&);
CARAT_INSTANTIATE(quant::Type::kC8)
CARAT_INSTANTIATE(quant::Type::kC4)
CARAT_INSTANTIATE(quant::Type::kC2)
#undef CARAT_INSTANTIATE

}  // namespace carat::kernels::avx512
