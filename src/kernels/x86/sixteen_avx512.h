// Sixteen rows of blocks that are woven together (quant/interleave.h): codes, scales and offsets as AVX-512 finds them,
// a row to a lane.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/x86/unpack_avx2.h"
#include "kernels/x86/vector_avx512.h"
#include "quant/interleave.h"

namespace carat::kernels::avx512 {

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

}  // namespace carat::kernels::avx512
