// One block to codes, and a scale (and offset) for every group; for every format of quant/blocks.h. All forced
// inline (see avx2.h).
#pragma once

#include <cstring>

#include "kernels/kernels.h"
#include "kernels/x86/vector_avx2.h"
#include "quant/blocks.h"

namespace carat::kernels::avx2 {

CARAT_INLINE float F16(const uint8_t bytes[2]) { return HalfToFloat(quant::Load16(bytes)); }

CARAT_INLINE __m128i Load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
CARAT_INLINE __m256i Load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
CARAT_INLINE void Store(int8_t* p, __m256i codes) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), codes); }

// 16 bytes of 4-bit codes to 32 codes: the low halves, then the high halves.
CARAT_INLINE __m256i Nibbles(const uint8_t qs[16]) {
  const __m256i twice = _mm256_broadcastsi128_si256(Load128(qs));
  const __m256i shifted = _mm256_srlv_epi32(twice, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
  return _mm256_and_si256(shifted, _mm256_set1_epi8(15));
}

// Bit e of 32 to byte e: all ones where it is set.
CARAT_INLINE __m256i SpreadBits(const uint8_t bits[4]) {
  int32_t word = 0;
  std::memcpy(&word, bits, sizeof(word));
  const __m256i which_byte =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i which_bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(word), which_byte);
  return _mm256_cmpeq_epi8(_mm256_and_si256(spread, which_bit), which_bit);
}

CARAT_INLINE __m256 Negate(__m256 x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }

// Bytes 8*half .. 8*half+7 as floats, unsigned or signed.
CARAT_INLINE __m256 UnsignedBytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }
CARAT_INLINE __m256 SignedBytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)); }

// The codes of a block of 32.
CARAT_INLINE __m256i Codes(const quant::BlockQ4_0& block) {
  return _mm256_sub_epi8(Nibbles(block.qs), _mm256_set1_epi8(8));
}
CARAT_INLINE __m256i Codes(const quant::BlockQ4_1& block) { return Nibbles(block.qs); }
CARAT_INLINE __m256i Codes(const quant::BlockQ5_0& block) {
  // With the fifth bit clear q - 16 is the low bits with all upper bits set, with it set the low bits alone.
  const __m256i upper = _mm256_andnot_si256(SpreadBits(block.qh), _mm256_set1_epi8(static_cast<char>(0xf0)));
  return _mm256_or_si256(Nibbles(block.qs), upper);
}
CARAT_INLINE __m256i Codes(const quant::BlockQ5_1& block) {
  return _mm256_or_si256(Nibbles(block.qs), _mm256_and_si256(SpreadBits(block.qh), _mm256_set1_epi8(16)));
}
CARAT_INLINE __m256i Codes(const quant::BlockQ8_0& block) { return Load256(block.qs); }

CARAT_INLINE __m256i Iq4Codes(const uint8_t qs[16]) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(Load128(quant::kIq4Values)), Nibbles(qs));
}
CARAT_INLINE __m256i Codes(const quant::BlockIQ4_NL& block) { return Iq4Codes(block.qs); }

template <typename Block>
  requires(Block::kElements == 32)
CARAT_INLINE void UnpackBlock(const Block& block, S8Row dst) {
  Store(dst.codes, Codes(block));
  dst.scale[0] = F16(block.d);
  if constexpr (Block::kHasOffset) dst.offset[0] = F16(block.m);
}

// Bits 2g, 2g+1 of each byte.
template <int g>
CARAT_INLINE __m256i BitPair(__m256i bytes) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * g), _mm256_set1_epi8(3));
}

CARAT_INLINE void UnpackBlock(const quant::BlockQ2_K& block, S8Row dst) {
  for (int h = 0; h < 2; ++h) {
    const __m256i bytes = Load256(block.qs + 32 * h);
    Store(dst.codes + 128 * h, BitPair<0>(bytes));
    Store(dst.codes + 128 * h + 32, BitPair<1>(bytes));
    Store(dst.codes + 128 * h + 64, BitPair<2>(bytes));
    Store(dst.codes + 128 * h + 96, BitPair<3>(bytes));
  }
  const __m256 d = _mm256_set1_ps(F16(block.d)), dmin = _mm256_set1_ps(F16(block.dmin));
  const __m128i both = Load128(block.scales), mask = _mm_set1_epi8(15);
  const __m128i scales = _mm_and_si128(both, mask), mins = _mm_and_si128(_mm_srli_epi16(both, 4), mask);
  _mm256_storeu_ps(dst.scale, _mm256_mul_ps(d, UnsignedBytes(scales)));
  _mm256_storeu_ps(dst.scale + 8, _mm256_mul_ps(d, UnsignedBytes(_mm_srli_si128(scales, 8))));
  _mm256_storeu_ps(dst.offset, Negate(_mm256_mul_ps(dmin, UnsignedBytes(mins))));
  _mm256_storeu_ps(dst.offset + 8, Negate(_mm256_mul_ps(dmin, UnsignedBytes(_mm_srli_si128(mins, 8)))));
}

// The sixteen scales of Q3_K. The twelve bytes as three words a, b, c: scales 0..3 and 8..11 have the low and high
// halves of a, 4..7 and 12..15 those of b; above them two bits of c.
CARAT_INLINE __m128i Q3Scales(const uint8_t scales[12]) {
  int32_t a = 0, b = 0, c = 0;
  std::memcpy(&a, scales, 4);
  std::memcpy(&b, scales + 4, 4);
  std::memcpy(&c, scales + 8, 4);
  const __m128i halves = _mm_and_si128(_mm_setr_epi32(a, b, a >> 4, b >> 4), _mm_set1_epi8(15));
  const __m128i top = _mm_and_si128(_mm_setr_epi32(c, c >> 2, c >> 4, c >> 6), _mm_set1_epi8(3));
  return _mm_sub_epi8(_mm_or_si128(halves, _mm_slli_epi16(top, 4)), _mm_set1_epi8(32));
}

CARAT_INLINE void UnpackBlock(const quant::BlockQ3_K& block, S8Row dst) {
  const __m256i mask = Load256(block.hmask);
  const auto store = [&](int k, __m256i low) __attribute__((always_inline)) {
    // 4 less where bit k of the mask is clear.
    const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << k));
    const __m256i clear = _mm256_cmpeq_epi8(_mm256_and_si256(mask, bit), _mm256_setzero_si256());
    Store(dst.codes + 32 * k, _mm256_sub_epi8(low, _mm256_and_si256(clear, _mm256_set1_epi8(4))));
  };
  for (int h = 0; h < 2; ++h) {
    const __m256i bytes = Load256(block.qs + 32 * h);
    store(4 * h, BitPair<0>(bytes));
    store(4 * h + 1, BitPair<1>(bytes));
    store(4 * h + 2, BitPair<2>(bytes));
    store(4 * h + 3, BitPair<3>(bytes));
  }
  const __m128i scales = Q3Scales(block.scales);
  const __m256 d = _mm256_set1_ps(F16(block.d));
  _mm256_storeu_ps(dst.scale, _mm256_mul_ps(d, SignedBytes(scales)));
  _mm256_storeu_ps(dst.scale + 8, _mm256_mul_ps(d, SignedBytes(_mm_srli_si128(scales, 8))));
}

// Scales and offsets of Q4_K and Q5_K. The twelve bytes as three words a, b, c: sub-blocks 0..3 have the low six bits
// of a (scale) and b (min); 4..7 the halves of c, with the top two bits of a and b above them.
CARAT_INLINE void UnpackK4Scales(const uint8_t d[2], const uint8_t dmin[2], const uint8_t scales[12], S8Row dst) {
  uint32_t a = 0, b = 0, c = 0;
  std::memcpy(&a, scales, 4);
  std::memcpy(&b, scales + 4, 4);
  std::memcpy(&c, scales + 8, 4);
  const uint32_t scale_low = a & 0x3f3f3f3fu, scale_high = (c & 0x0f0f0f0fu) | ((a >> 6 & 0x03030303u) << 4);
  const uint32_t min_low = b & 0x3f3f3f3fu, min_high = (c >> 4 & 0x0f0f0f0fu) | ((b >> 6 & 0x03030303u) << 4);
  const __m128i sub_scales =
      _mm_cvtsi64_si128(static_cast<int64_t>(scale_low | static_cast<uint64_t>(scale_high) << 32));
  const __m128i sub_mins = _mm_cvtsi64_si128(static_cast<int64_t>(min_low | static_cast<uint64_t>(min_high) << 32));
  _mm256_storeu_ps(dst.scale, _mm256_mul_ps(_mm256_set1_ps(F16(d)), UnsignedBytes(sub_scales)));
  _mm256_storeu_ps(dst.offset, Negate(_mm256_mul_ps(_mm256_set1_ps(F16(dmin)), UnsignedBytes(sub_mins))));
}

CARAT_INLINE void UnpackBlock(const quant::BlockQ4_K& block, S8Row dst) {
  const __m256i mask = _mm256_set1_epi8(15);
  for (int pair = 0; pair < 4; ++pair) {
    const __m256i bytes = Load256(block.qs + 32 * pair);
    Store(dst.codes + 64 * pair, _mm256_and_si256(bytes, mask));
    Store(dst.codes + 64 * pair + 32, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask));
  }
  UnpackK4Scales(block.d, block.dmin, block.scales, dst);
}

CARAT_INLINE void UnpackBlock(const quant::BlockQ5_K& block, S8Row dst) {
  const __m256i mask = _mm256_set1_epi8(15), sixteen = _mm256_set1_epi8(16);
  const __m256i high = Load256(block.qh);
  const auto fifth = [&](int k) __attribute__((always_inline)) {
    const __m256i bit = _mm256_set1_epi8(static_cast<char>(1 << k));
    return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(high, bit), bit), sixteen);
  };
  for (int pair = 0; pair < 4; ++pair) {
    const __m256i bytes = Load256(block.qs + 32 * pair);
    const __m256i low_half = _mm256_and_si256(bytes, mask),
                  high_half = _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask);
    Store(dst.codes + 64 * pair, _mm256_or_si256(low_half, fifth(2 * pair)));
    Store(dst.codes + 64 * pair + 32, _mm256_or_si256(high_half, fifth(2 * pair + 1)));
  }
  UnpackK4Scales(block.d, block.dmin, block.scales, dst);
}

CARAT_INLINE void UnpackBlock(const quant::BlockQ6_K& block, S8Row dst) {
  const __m256i mask = _mm256_set1_epi8(15), bias = _mm256_set1_epi8(32);
  const auto join = [&](__m256i low, __m256i high) __attribute__((always_inline)) {
    return _mm256_sub_epi8(_mm256_or_si256(_mm256_and_si256(low, mask), _mm256_slli_epi16(high, 4)), bias);
  };
  for (int h = 0; h < 2; ++h) {
    const __m256i low0 = Load256(block.ql + 64 * h), low1 = Load256(block.ql + 64 * h + 32);
    const __m256i high = Load256(block.qh + 32 * h);
    int8_t* codes = dst.codes + 128 * h;
    Store(codes, join(low0, BitPair<0>(high)));
    Store(codes + 32, join(low1, BitPair<1>(high)));
    Store(codes + 64, join(_mm256_srli_epi16(low0, 4), BitPair<2>(high)));
    Store(codes + 96, join(_mm256_srli_epi16(low1, 4), BitPair<3>(high)));
  }
  const __m256 d = _mm256_set1_ps(F16(block.d));
  const __m128i scales = Load128(block.scales);
  _mm256_storeu_ps(dst.scale, _mm256_mul_ps(d, SignedBytes(scales)));
  _mm256_storeu_ps(dst.scale + 8, _mm256_mul_ps(d, SignedBytes(_mm_srli_si128(scales, 8))));
}

CARAT_INLINE void UnpackBlock(const quant::BlockIQ4_XS& block, S8Row dst) {
  for (int k = 0; k < 8; ++k) Store(dst.codes + 32 * k, Iq4Codes(block.qs + 16 * k));
  // Four bits of each scale, low half first, and above them two bits of another field.
  int32_t low = 0;
  std::memcpy(&low, block.scales_l, 4);
  const __m256i shifts = _mm256_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28);
  const __m256i four = _mm256_and_si256(_mm256_srlv_epi32(_mm256_set1_epi32(low), shifts), _mm256_set1_epi32(15));
  const __m256i high = _mm256_set1_epi32(quant::Load16(block.scales_h));
  const __m256i two = _mm256_and_si256(_mm256_srlv_epi32(high, _mm256_srli_epi32(shifts, 1)), _mm256_set1_epi32(3));
  const __m256i scales = _mm256_sub_epi32(_mm256_or_si256(four, _mm256_slli_epi32(two, 4)), _mm256_set1_epi32(32));
  _mm256_storeu_ps(dst.scale, _mm256_mul_ps(_mm256_set1_ps(F16(block.d)), _mm256_cvtepi32_ps(scales)));
}

}  // namespace carat::kernels::avx2
