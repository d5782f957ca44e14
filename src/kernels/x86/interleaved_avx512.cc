// One token, or a panel, of weights whose rows are woven together (quant/interleave.h): a vector holds four columns of
// each of sixteen rows, so that a row's sums grow in a lane of their own.
#include <array>
#include <bit>

#include "kernels/x86/avx512.h"
#include "kernels/x86/gemv.h"
#include "kernels/x86/vector_avx512.h"
#include "quant/interleave.h"

namespace carat::kernels::avx512 {
namespace {

using avx2::Columns;
using quant::kInterleavedRows;

CARAT_INLINE __m512i Word(const std::byte* words, int64_t index) {
  return _mm512_loadu_si512(words + index * 4 * kInterleavedRows);
}
CARAT_INLINE __m512i And(__m512i a, int byte) { return _mm512_and_si512(a, _mm512_set1_epi8(static_cast<char>(byte))); }
// The bits of a that are in the mask's bytes, and those of b.
CARAT_INLINE __m512i MaskedOr(__m512i a, int byte, __m512i b) {
  constexpr int kAandBorC = 0xea;  // (a & mask) | b
  return _mm512_ternarylogic_epi32(a, _mm512_set1_epi8(static_cast<char>(byte)), b, kAandBorC);
}
// The low or the high halves of the bytes, and what is in the other halves.
CARAT_INLINE __m512i Nibbles(__m512i bytes, bool high) { return high ? _mm512_srli_epi16(bytes, 4) : bytes; }
// Byte `i` of each word as a number.
CARAT_INLINE __m512 UnsignedByte(__m512i word, int i) {
  return _mm512_cvtepi32_ps(
      _mm512_and_si512(_mm512_srli_epi32(word, static_cast<unsigned>(8 * i)), _mm512_set1_epi32(255)));
}
CARAT_INLINE __m512 SignedByte(__m512i word, int i) {
  return _mm512_cvtepi32_ps(_mm512_srai_epi32(_mm512_slli_epi32(word, static_cast<unsigned>(24 - 8 * i)), 24));
}
CARAT_INLINE __m512 Halves(__m512i word, bool high) {
  const __m512i low = high ? _mm512_srli_epi32(word, 16) : word;
  return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(low));
}

// 256 columns (or one block of 32 of such a stretch) of sixteen rows, of each type that has one of these:
//   kTogether             how many blocks of 32 columns share the words of their codes
//   kBias                 what its codes are less than the unsigned ones
//   Quad(block, i)        unsigned codes of columns 4i .. 4i+3 of block `block` of 32
//   Scale(g), Offset(g)   of group g of kGroup columns
// `words` and `halves` are those of the stretch.
template <typename Block>
struct Sixteen;

template <typename Block>
  requires(Block::kElements == 32)
struct Small {
  static constexpr int kTogether = 1;
  static constexpr int64_t kWords = quant::PartsOf<Block>().words;
  const std::byte* words;
  const std::byte* halves;

  CARAT_INLINE __m512 Scale(int block) const {
    return _mm512_cvtph_ps(avx2::Load256(halves + block * 2 * kInterleavedRows));
  }
  CARAT_INLINE __m512 Offset(int) const { return _mm512_setzero_ps(); }
};

template <>
struct Sixteen<quant::BlockQ4_0> : Small<quant::BlockQ4_0> {
  static constexpr int kBias = 8;
  CARAT_INLINE __m512i Quad(int block, int i) const {
    return And(Nibbles(Word(words, block * kWords + i % 4), i >= 4), 15);
  }
};

template <>
struct Sixteen<quant::BlockQ8_0> : Small<quant::BlockQ8_0> {
  static constexpr int kBias = 128;
  CARAT_INLINE __m512i Quad(int block, int i) const {
    return _mm512_xor_si512(Word(words, block * kWords + i), _mm512_set1_epi8(-128));
  }
};

// Words: d and dmin, three of scales, then codes.
struct K4Scales {
  static constexpr int kTogether = 1, kBias = 0;
  const std::byte* words;
  const std::byte* halves;

  CARAT_INLINE __m512 Scale(int k) const {
    const __m512i low = Word(words, 1), high = Word(words, 3);
    const __m512i six = k < 4 ? And(low, 63) : MaskedOr(high, 15, And(_mm512_srli_epi32(low, 2), 48));
    return _mm512_mul_ps(Halves(Word(words, 0), false), UnsignedByte(six, k % 4));
  }
  CARAT_INLINE __m512 Offset(int k) const {
    const __m512i low = Word(words, 2), high = Word(words, 3);
    const __m512i six =
        k < 4 ? And(low, 63) : MaskedOr(_mm512_srli_epi32(high, 4), 15, And(_mm512_srli_epi32(low, 2), 48));
    const __m512 product = _mm512_mul_ps(Halves(Word(words, 0), true), UnsignedByte(six, k % 4));
    return _mm512_xor_ps(product, _mm512_set1_ps(-0.0f));
  }
};

template <>
struct Sixteen<quant::BlockQ4_K> : K4Scales {
  CARAT_INLINE __m512i Quad(int k, int i) const { return And(Nibbles(Word(words, 4 + k / 2 * 8 + i), k % 2 == 1), 15); }
};

template <>
struct Sixteen<quant::BlockQ5_K> : K4Scales {
  CARAT_INLINE __m512i Quad(int k, int i) const {
    const __m512i high = Word(words, 4 + i);  // bit k to bit 4
    const __m512i fifth = And(k < 4 ? _mm512_slli_epi32(high, static_cast<unsigned>(4 - k % 4))
                                    : _mm512_srli_epi32(high, static_cast<unsigned>(k % 4)),
                              16);
    return MaskedOr(Nibbles(Word(words, 12 + k / 2 * 8 + i), k % 2 == 1), 15, fifth);
  }
};

// Words: four of scales, then those of codes as quant::PartsOf orders them.
template <>
struct Sixteen<quant::BlockQ6_K> {
  static constexpr int kTogether = 4, kBias = 32;
  const std::byte* words;
  const std::byte* halves;

  CARAT_INLINE __m512i Quad(int block, int i) const {
    const int h = block / 4, g = block % 4, first = 4 + 24 * h + 3 * i;
    const __m512i two = Word(words, first + 2);  // bits 2g to bits 4
    const __m512i shifted = g < 2 ? _mm512_slli_epi32(two, static_cast<unsigned>(4 - 2 * g))
                                  : _mm512_srli_epi32(two, static_cast<unsigned>(2 * g - 4));
    return MaskedOr(Nibbles(Word(words, first + g % 2), g >= 2), 15, And(shifted, 48));
  }
  CARAT_INLINE __m512 Scale(int group) const {
    return _mm512_mul_ps(_mm512_cvtph_ps(avx2::Load256(halves)), SignedByte(Word(words, group / 4), group % 4));
  }
  CARAT_INLINE __m512 Offset(int) const { return _mm512_setzero_ps(); }
};

// Columns `i` .. i+255 of sixteen rows of k columns; i is a multiple of 256.
template <typename Block>
CARAT_INLINE Sixteen<Block> Columns256(const std::byte* w, int64_t i, int64_t k) {
  constexpr quant::BlockParts kParts = quant::PartsOf<Block>();
  constexpr int64_t kHalfBytes = kParts.half < 0 ? 0 : 2 * kInterleavedRows,
                    kWordBytes = kParts.words * 4 * kInterleavedRows;
  const int64_t block = i / Block::kElements, begin = block / kParts.stretch * kParts.stretch;
  const int64_t left = k / Block::kElements - begin, blocks = left < kParts.stretch ? left : kParts.stretch;
  const std::byte* halves = w + begin * (kHalfBytes + kWordBytes);
  Sixteen<Block> at;
  at.halves = halves + (block - begin) * kHalfBytes;
  at.words = halves + blocks * kHalfBytes + (block - begin) * kWordBytes;
  return at;
}

// kTogether lanes of the block dot: blocks `first` and those behind it, whose codes lie together, of a stretch.
template <typename Block, int kTogether>
CARAT_INLINE void AddBlocks(const Sixteen<Block>& w, int first, const Columns& x, __m512 lanes[8]) {
  constexpr int kHalves = 32 / Block::kGroup, kQuads = 8 / kHalves;
#pragma GCC unroll 2
  for (int half = 0; half < kHalves; ++half) {
    const int32_t* lift = kHalves == 1 ? x.lift32 : x.lift16;
    __m512i sums[kTogether];
#pragma GCC unroll 4
    for (int j = 0; j < kTogether; ++j) {
      sums[j] = _mm512_setzero_si512();
      if constexpr (Sixteen<Block>::kBias > 0)  // the lift is of codes + 128
        sums[j] =
            _mm512_set1_epi32(lift[(first + j) * kHalves + half] >> std::countr_zero(128u / Sixteen<Block>::kBias));
    }
#pragma GCC unroll 8
    for (int i = half * kQuads; i < (half + 1) * kQuads; ++i) {
#pragma GCC unroll 4
      for (int j = 0; j < kTogether; ++j) {
        int32_t token = 0;
        __builtin_memcpy(&token, x.codes + 32 * (first + j) + 4 * i, sizeof(token));
        sums[j] = _mm512_dpbusd_epi32(sums[j], w.Quad(first + j, i), _mm512_set1_epi32(token));
      }
    }
#pragma GCC unroll 4
    for (int j = 0; j < kTogether; ++j) {
      const int block = first + j, group = block * kHalves + half;
      const __m512 scale = _mm512_mul_ps(w.Scale(group), _mm512_set1_ps(x.scale[block]));
      lanes[block] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[j]), scale, lanes[block]);
      if constexpr (Block::kHasOffset) {
        const float scaled_sum = x.scale[block] * (static_cast<float>(lift[group]) * -0x1p-7f);
        lanes[block] = _mm512_fmadd_ps(w.Offset(group), _mm512_set1_ps(scaled_sum), lanes[block]);
      }
    }
  }
}

// No prefetches: in large pages the CPU's own run on, and ours only cost (a tenth to a third of the bandwidth).
template <typename Block>
CARAT_INLINE __m512 DotSixteen(const std::byte* w, const A8Row& x, int64_t k) {
  constexpr int kTogether = Sixteen<Block>::kTogether;
  __m512 lanes[8];
  for (__m512& lane : lanes) lane = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 256 <= k; i += 256) {
    const Sixteen<Block> at = Columns256<Block>(w, i, k);
    const Columns columns(x, i);
#pragma GCC unroll 8
    for (int b = 0; b < 8; b += kTogether) AddBlocks<Block, kTogether>(at, b, columns, lanes);
  }
  if constexpr (Block::kElements == 32) {
    const Sixteen<Block> at = Columns256<Block>(w, i, k);
#pragma GCC unroll 8
    for (int b = 0; b < 8; ++b)
      if (i + 32 * b < k) AddBlocks<Block, 1>(at, b, Columns(x, i), lanes);
  }
  const auto four = [&](int j) __attribute__((always_inline)) { return _mm512_add_ps(lanes[j], lanes[j + 4]); };
  return _mm512_add_ps(_mm512_add_ps(four(0), four(2)), _mm512_add_ps(four(1), four(3)));
}

// Block `block` of a stretch, to the panel's columns from `column` and rows from `row` on.
template <typename Block>
CARAT_INLINE void PanelBlock(const Sixteen<Block>& w, int block, int64_t column, int64_t row, const S8Panel& panel) {
  constexpr int kGroups = 32 / Block::kGroup;
  const __m512i flip = _mm512_set1_epi8(static_cast<char>(128 - Sixteen<Block>::kBias));
  int8_t* codes = panel.codes + ((column + 32 * block) * kPanelRows + row * 4);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) _mm512_store_si512(codes + i * 4 * kPanelRows, _mm512_add_epi8(w.Quad(block, i), flip));
#pragma GCC unroll 2
  for (int half = 0; half < kGroups; ++half) {
    const int64_t at = (column / Block::kGroup + block * kGroups + half) * kPanelRows + row;
    _mm512_store_ps(panel.scale + at, w.Scale(block * kGroups + half));
    if constexpr (Block::kHasOffset) _mm512_store_ps(panel.offset + at, w.Offset(block * kGroups + half));
  }
}

}  // namespace

template <typename Block>
void GemvInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y) {
  for (int64_t n = 0; n < rows; n += kInterleavedRows)
    _mm512_storeu_ps(y + n, DotSixteen<Block>(w + n * row_bytes, x, k));
}

template <typename Block>
void PanelInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, int64_t k, const S8Panel& panel) {
  for (int64_t row = 0; row < rows; row += kInterleavedRows) {
    for (int64_t i = 0; i < k; i += 256) {
      const Sixteen<Block> at = Columns256<Block>(w + row * row_bytes, i, k);
#pragma GCC unroll 8
      for (int b = 0; b < 8; ++b)
        if (Block::kElements == 256 || i + 32 * b < k) PanelBlock<Block>(at, b, i, row, panel);
    }
  }
}

#define CARAT_INSTANTIATE(Block)                                                                           \
  template void GemvInterleaved<Block>(const std::byte*, int64_t, int64_t, const A8Row&, int64_t, float*); \
  template void PanelInterleaved<Block>(const std::byte*, int64_t, int64_t, int64_t, const S8Panel&);
CARAT_FOR_EACH_INTERLEAVED(CARAT_INSTANTIATE)
#undef CARAT_INSTANTIATE

}  // namespace carat::kernels::avx512
