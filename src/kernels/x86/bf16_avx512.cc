// Weights and activations as bfloat16, for products on tiles.
#include "kernels/x86/bf16_avx512.h"

#include <array>

#include "kernels/x86/panel.h"
#include "kernels/x86/sixteen_avx512.h"

namespace carat::kernels::avx512 {

namespace {

// The numbers of `low`, then those of `high`.
CARAT_INLINE void StoreBf16(__m512 low, __m512 high, uint16_t* y) {
  _mm512_store_si512(y, (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

}  // namespace

void RoundBf16(const float* x, int64_t k, uint16_t* y) {
  for (int64_t i = 0; i < k; i += 32) StoreBf16(_mm512_loadu_ps(x + i), _mm512_loadu_ps(x + i + 16), y + i);
}

void WidenBf16(const S8Row& w, int64_t group, int64_t k, uint16_t* y) {
  const auto sixteen = [&](int64_t i) __attribute__((always_inline)) {
    const __m512 codes = LoadI8::Load(w.codes + i), scale = _mm512_set1_ps(w.scale[i / group]);
    if (w.offset == nullptr) return _mm512_mul_ps(scale, codes);
    return _mm512_fmadd_ps(scale, codes, _mm512_set1_ps(w.offset[i / group]));
  };
  for (int64_t i = 0; i < k; i += 32) StoreBf16(sixteen(i), sixteen(i + 16), y + i);
}

void PackBf16Panel(const uint16_t* w, int64_t rows, int64_t k, uint16_t* panel) {
  x86::Interleave(w, rows, k / 2, 0, panel);
}

void PackBf16Tile(const uint16_t* x, int64_t tokens, int64_t k, uint16_t* tile) {
  x86::PackTile(x, tokens, 2 * k, tile);
}

namespace {

// Widened::kPairs. Of sixteen rows, half 0 is the first eight and half 1 the others: a lane of 32 bits for each of two
// columns of a row.

// Columns 2 * pair and 2 * pair + 1 of words of four bytes; above each of them, what is above the byte of a lane in
// `above`.
CARAT_INLINE __m512i TwoBytes(__m512i words, int pair, int half, __m512i above) {
  const __m512i first = _mm512_setr_epi32(0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29);
  const __m512i where = _mm512_add_epi32(first, _mm512_set1_epi32(2 * pair + 32 * half));
  return _mm512_mask_permutexvar_epi8(above, 0x1111111111111111, where, words);
}

// Scales and offsets of a group of columns.
struct Factors {
  __m512 scale[2], offset[2];
};
template <typename Block>
CARAT_INLINE Factors FactorsOf(const Sixteen<Block>& w, int group) {
  const auto twice = [](__m512 rows, int half) __attribute__((always_inline)) {
    const __m512i first = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(_mm512_add_epi32(first, _mm512_set1_epi32(8 * half)), rows);
  };
  const __m512 scale = w.Scale(group), offset = w.Offset(group);
  return {{twice(scale, 0), twice(scale, 1)}, {twice(offset, 0), twice(offset, 1)}};
}

// Two columns of sixteen rows.
template <bool kHasOffset>
CARAT_INLINE void StorePair(const __m512 (&codes)[2], const Factors& factors, uint16_t* out) {
  const auto weights = [&](int half) __attribute__((always_inline)) {
    if constexpr (kHasOffset) return _mm512_fmadd_ps(factors.scale[half], codes[half], factors.offset[half]);
    return _mm512_mul_ps(factors.scale[half], codes[half]);
  };
  StoreBf16(weights(0), weights(1), out);
}

// Words whose low and high halves of bytes are codes: 4 * kWords columns with the one factors, then as many with the
// other. A code is kLowest at least. The permutation that makes it a float looks at four bits.
template <int kWords, int kLowest, bool kHasOffset>
CARAT_INLINE void WidenNibbles(const std::byte* words, const Factors& low, const Factors& high, int64_t n,
                               uint16_t* out) {
  const __m512 floats =
      _mm512_add_ps(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_ps(kLowest));
#pragma GCC unroll 8
  for (int i = 0; i < kWords; ++i) {
    const __m512i word = Word(words, i);
#pragma GCC unroll 2
    for (int pair = 0; pair < 2; ++pair, out += 2 * n) {
      const __m512i bytes[2] = {TwoBytes(word, pair, 0, word), TwoBytes(word, pair, 1, word)};
      const __m512i above[2] = {_mm512_srli_epi32(bytes[0], 4), _mm512_srli_epi32(bytes[1], 4)};
      StorePair<kHasOffset>({_mm512_permutexvar_ps(bytes[0], floats), _mm512_permutexvar_ps(bytes[1], floats)}, low,
                            out);
      StorePair<kHasOffset>({_mm512_permutexvar_ps(above[0], floats), _mm512_permutexvar_ps(above[1], floats)}, high,
                            out + 4 * kWords * n);
    }
  }
}

// Blocks `block` and, of Q4_K, the next of a stretch, to out[16 or 32][n][2].
CARAT_INLINE void WidenBlocks(const Sixteen<quant::BlockQ4_0>& w, int block, int64_t n, uint16_t* out) {
  const Factors factors = FactorsOf(w, block);
  WidenNibbles<4, -8, false>(w.words + block * 4 * 4 * kInterleavedRows, factors, factors, n, out);
}
CARAT_INLINE void WidenBlocks(const Sixteen<quant::BlockQ4_K>& w, int block, int64_t n, uint16_t* out) {
  if (block % 2 == 1) return;
  WidenNibbles<8, 0, true>(w.words + (4 + block / 2 * 8) * 4 * kInterleavedRows, FactorsOf(w, block),
                           FactorsOf(w, block + 1), n, out);
}
template <typename Block>
CARAT_INLINE void WidenBlocks(const Sixteen<Block>& w, int block, int64_t n, uint16_t* out) {
  constexpr int kHalves = 32 / Block::kGroup, kQuads = 8 / kHalves;
  // A byte below this number's is 2^23 more than itself: what makes a float of it takes away the bias too.
  const __m512 above = _mm512_set1_ps(0x1p23f), bias = _mm512_set1_ps(0x1p23f + Sixteen<Block>::kBias);
#pragma GCC unroll 2
  for (int part = 0; part < kHalves; ++part) {
    const Factors factors = FactorsOf(w, block * kHalves + part);
#pragma GCC unroll 8
    for (int i = part * kQuads; i < (part + 1) * kQuads; ++i) {
      const __m512i quad = w.Quad(block, i);
#pragma GCC unroll 2
      for (int pair = 0; pair < 2; ++pair, out += 2 * n) {
        const auto codes = [&](int half) __attribute__((always_inline)) {
          return _mm512_sub_ps(_mm512_castsi512_ps(TwoBytes(quad, pair, half, _mm512_castps_si512(above))), bias);
        };
        StorePair<Block::kHasOffset>({codes(0), codes(1)}, factors, out);
      }
    }
  }
}

// Columns i .. i+255 of sixteen rows, below k, to out[columns/2][n][2].
template <typename Block>
CARAT_INLINE void WidenToPairs(const std::byte* woven, int64_t i, int64_t k, int64_t n, uint16_t* out) {
  const Sixteen<Block> at = Columns256<Block>(woven, i, k);
#pragma GCC unroll 8
  for (int b = 0; b < 8; ++b)
    if (Block::kElements == 256 || i + 32 * b < k) WidenBlocks(at, b, n, out + 32 * b * n);
}

// Widened::kRows, of words whose low and high halves of bytes are codes. A row has 16 weights for a block of columns,
// so they are looked up, two rows at a time: three fifths of the steps that scaling and rounding each code takes.

// The 16 weights of each of sixteen rows.
struct Tables {
  alignas(64) float scale[kInterleavedRows], offset[kInterleavedRows];

  template <typename Block>
  CARAT_INLINE void Fill(const Sixteen<Block>& w, int block) {
    _mm512_store_ps(scale, w.Scale(block));
    if constexpr (Block::kHasOffset) _mm512_store_ps(offset, w.Offset(block));
    // To be read from memory, which spreads a number over a vector at no cost: GCC would permute the registers.
    asm("" : "+m"(scale), "+m"(offset));
  }
  // Of rows a and b, in the lower and the upper 16 numbers.
  template <int kLowest, bool kHasOffset>
  CARAT_INLINE __m512i OfRows(int a, int b) const {
    const __m512 codes =
        _mm512_add_ps(_mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15), _mm512_set1_ps(kLowest));
    const auto weights = [&](int row) __attribute__((always_inline)) {
      const __m512 one = _mm512_set1_ps(scale[row]);
      if constexpr (kHasOffset) return _mm512_fmadd_ps(one, codes, _mm512_set1_ps(offset[row]));
      return _mm512_mul_ps(one, codes);
    };
    return (__m512i)_mm512_cvtne2ps_pbh(weights(b), weights(a));
  }
};

// Four words of each row, 16 bytes: those of rows t, 4 + t, 8 + t and 12 + t to bytes[t].
CARAT_INLINE void GatherRows(const std::byte* words, __m512i (&bytes)[4]) {
  const __m512i a = Word(words, 0), b = Word(words, 1), c = Word(words, 2), d = Word(words, 3);
  const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
  bytes[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
  bytes[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
  bytes[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
  bytes[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

CARAT_INLINE void StoreHalves(__m512i rows, uint16_t* a, uint16_t* b) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(a), _mm512_castsi512_si256(rows));
  _mm256_store_si256(reinterpret_cast<__m256i*>(b), _mm512_extracti64x4_epi64(rows, 1));
}

// Of two rows, 16 bytes each: the weights of their low halves, and of their high ones.
struct LowHigh {
  __m512i low, high;
};
CARAT_INLINE LowHigh LookUp(__m512i bytes, bool upper, __m512i low_table, __m512i high_table) {
  alignas(64) static constexpr auto kWhere = [] {
    std::array<std::array<uint8_t, 64>, 2> where = {};
    for (size_t i = 0; i < 64; ++i)
      for (size_t half = 0; half < 2; ++half) where[half][i] = static_cast<uint8_t>(32 * half + i / 2);
    return where;
  }();
  constexpr int kAandBorC = 0xea;  // (a & mask) | c
  // Indices of the second row are 16 more: its bytes are put below a 1.
  const __m512i second = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(0x100), 1);
  const __m512i where = _mm512_load_si512(kWhere[upper ? 1 : 0].data());
  const __m512i codes = _mm512_mask_permutexvar_epi8(second, 0x5555555555555555, where, bytes);
  const __m512i low = _mm512_ternarylogic_epi32(codes, _mm512_set1_epi16(15), _mm512_srli_epi16(second, 4), kAandBorC);
  return {_mm512_permutexvar_epi16(low, low_table), _mm512_permutexvar_epi16(_mm512_srli_epi16(codes, 4), high_table)};
}

constexpr int64_t kTile = 16 * 32, kWord = 4 * kInterleavedRows;

CARAT_INLINE void WidenBlockToRows(const Sixteen<quant::BlockQ4_0>& w, int block, uint16_t* out) {
  Tables tables;
  tables.Fill(w, block);
  __m512i bytes[4];
  GatherRows(w.words + 4 * block * kWord, bytes);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int a = i / 4 * 8 + i % 4, b = a + 4;
    const __m512i table = tables.OfRows<-8, false>(a, b);
    const LowHigh weights = LookUp(bytes[i % 4], i >= 4, table, table);
    StoreHalves(weights.low, out + 32 * a, out + 32 * b);
    StoreHalves(weights.high, out + 32 * a + 16, out + 32 * b + 16);
  }
}

// Blocks `block` and block + 1.
CARAT_INLINE void WidenTwoToRows(const Sixteen<quant::BlockQ4_K>& w, int block, const Tables (&tables)[8],
                                 uint16_t* out) {
  const std::byte* words = w.words + (4 + 4 * block) * kWord;
  __m512i first[4], second[4];  // 16 columns of each block, and the other 16
  GatherRows(words, first);
  GatherRows(words + 4 * kWord, second);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    const int a = i / 4 * 8 + i % 4, b = a + 4;
    const __m512i low = tables[block].OfRows<0, true>(a, b), high = tables[block + 1].OfRows<0, true>(a, b);
    const LowHigh left = LookUp(first[i % 4], i >= 4, low, high), right = LookUp(second[i % 4], i >= 4, low, high);
    StoreHalves(left.low, out + 32 * a, out + 32 * b);
    StoreHalves(right.low, out + 32 * a + 16, out + 32 * b + 16);
    StoreHalves(left.high, out + kTile + 32 * a, out + kTile + 32 * b);
    StoreHalves(right.high, out + kTile + 32 * a + 16, out + kTile + 32 * b + 16);
  }
}

// Blocks 0 .. blocks-1 of a stretch.
CARAT_INLINE void WidenToRows(const Sixteen<quant::BlockQ4_0>& w, int64_t blocks, uint16_t* out) {
  for (int b = 0; b < blocks; ++b) WidenBlockToRows(w, b, out + kTile * b);
}
CARAT_INLINE void WidenToRows(const Sixteen<quant::BlockQ4_K>& w, int64_t, uint16_t* out) {
  Tables tables[8];
#pragma GCC unroll 8
  for (int b = 0; b < 8; ++b) tables[b].Fill(w, b);
  for (int b = 0; b < 8; b += 2) WidenTwoToRows(w, b, tables, out + kTile * b);
}

}  // namespace

template <typename Block>
void WidenSixteen(const std::byte* woven, int64_t i, int64_t k, uint16_t* out) {
  if constexpr (kWidenedForm<Block> == x86::Widened::kRows)
    WidenToRows(Columns256<Block>(woven, i, k), k - i < 256 ? (k - i) / 32 : 8, out);
  else
    WidenToPairs<Block>(woven, i, k, kInterleavedRows, out);
}

template <typename Block>
void Bf16PanelInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, int64_t k, uint16_t* panel) {
  for (int64_t row = 0; row < rows; row += kInterleavedRows)
    for (int64_t i = 0; i < k; i += x86::kBf16Stretch)
      WidenToPairs<Block>(w + row * row_bytes, i, k, kPanelRows, panel + i * kPanelRows + 2 * row);
}

#define CARAT_INSTANTIATE(Block)                                                    \
  template void WidenSixteen<Block>(const std::byte*, int64_t, int64_t, uint16_t*); \
  template void Bf16PanelInterleaved<Block>(const std::byte*, int64_t, int64_t, int64_t, uint16_t*);
CARAT_FOR_EACH_INTERLEAVED(CARAT_INSTANTIATE)
#undef CARAT_INSTANTIATE

}  // namespace carat::kernels::avx512
