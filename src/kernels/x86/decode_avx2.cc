// Blocks to codes and scales, and to floats.
#include "kernels/x86/avx2.h"
#include "kernels/x86/vector_avx2.h"
#include "quant/blocks.h"

namespace carat::kernels::avx2 {
namespace {

using namespace carat::quant;

CARAT_INLINE float F16(const uint8_t bytes[2]) { return HalfToFloat(Load16(bytes)); }

CARAT_INLINE __m128i Load128(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
CARAT_INLINE __m256i Load256(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
CARAT_INLINE void Store(int8_t* p, __m256i codes) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), codes); }

// 16 bytes of 4-bit codes to 32 codes: the low halves, then the high halves.
CARAT_INLINE __m256i Nibbles(const uint8_t qs[16]) {
  const __m128i bytes = Load128(qs);
  return _mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes), _mm256_set1_epi8(15));
}

// Bit e of 32 to byte e: all ones where it is set.
CARAT_INLINE __m256i SpreadBits(const uint8_t bits[4]) {
  int32_t word;
  std::memcpy(&word, bits, sizeof(word));
  const __m256i which_byte =
      _mm256_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3, 3, 3);
  const __m256i which_bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201u));
  const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32(word), which_byte);
  return _mm256_cmpeq_epi8(_mm256_and_si256(spread, which_bit), which_bit);
}

// The same value for both halves of a block of 32.
CARAT_INLINE void StoreTwice(float* p, const uint8_t f16[2]) {
  const __m128 value = _mm_cvtph_ps(_mm_cvtsi32_si128(Load16(f16)));
  _mm_storel_pi(reinterpret_cast<__m64*>(p), _mm_moveldup_ps(value));
}

// Eight values, one for each block of 32, to 16 entries.
CARAT_INLINE void StoreEachTwice(float* p, __m256 values) {
  _mm256_storeu_ps(p, _mm256_permutevar8x32_ps(values, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)));
  _mm256_storeu_ps(p + 8, _mm256_permutevar8x32_ps(values, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)));
}

CARAT_INLINE __m256 Negate(__m256 x) { return _mm256_xor_ps(x, _mm256_set1_ps(-0.0f)); }

// Bytes 8*half .. 8*half+7 as floats, unsigned or signed.
CARAT_INLINE __m256 UnsignedBytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes)); }
CARAT_INLINE __m256 SignedBytes(__m128i bytes) { return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes)); }

CARAT_INLINE void UnpackBlock(const BlockQ4_0& block, S8Row dst) {
  Store(dst.codes, _mm256_sub_epi8(Nibbles(block.qs), _mm256_set1_epi8(8)));
  StoreTwice(dst.scale, block.d);
}

CARAT_INLINE void UnpackBlock(const BlockQ4_1& block, S8Row dst) {
  Store(dst.codes, Nibbles(block.qs));
  StoreTwice(dst.scale, block.d);
  StoreTwice(dst.offset, block.m);
}

CARAT_INLINE void UnpackBlock(const BlockQ5_0& block, S8Row dst) {
  // With the fifth bit clear q - 16 is the low bits with all upper bits set, with it set the low bits alone.
  const __m256i upper = _mm256_andnot_si256(SpreadBits(block.qh), _mm256_set1_epi8(static_cast<char>(0xf0)));
  Store(dst.codes, _mm256_or_si256(Nibbles(block.qs), upper));
  StoreTwice(dst.scale, block.d);
}

CARAT_INLINE void UnpackBlock(const BlockQ5_1& block, S8Row dst) {
  const __m256i upper = _mm256_and_si256(SpreadBits(block.qh), _mm256_set1_epi8(16));
  Store(dst.codes, _mm256_or_si256(Nibbles(block.qs), upper));
  StoreTwice(dst.scale, block.d);
  StoreTwice(dst.offset, block.m);
}

CARAT_INLINE void UnpackBlock(const BlockQ8_0& block, S8Row dst) {
  Store(dst.codes, Load256(block.qs));
  StoreTwice(dst.scale, block.d);
}

CARAT_INLINE __m256i Iq4Codes(const uint8_t qs[16]) {
  return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(Load128(kIq4Values)), Nibbles(qs));
}

CARAT_INLINE void UnpackBlock(const BlockIQ4_NL& block, S8Row dst) {
  Store(dst.codes, Iq4Codes(block.qs));
  StoreTwice(dst.scale, block.d);
}

// Bits 2g, 2g+1 of each byte.
template <int g>
CARAT_INLINE __m256i BitPair(__m256i bytes) {
  return _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * g), _mm256_set1_epi8(3));
}

CARAT_INLINE void UnpackBlock(const BlockQ2_K& block, S8Row dst) {
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

CARAT_INLINE void UnpackBlock(const BlockQ3_K& block, S8Row dst) {
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
  alignas(16) int8_t scales[16];
  for (int j = 0; j < 16; ++j) scales[j] = static_cast<int8_t>(Q3Scale(block.scales, j));
  const __m256 d = _mm256_set1_ps(F16(block.d));
  _mm256_storeu_ps(dst.scale, _mm256_mul_ps(d, SignedBytes(Load128(scales))));
  _mm256_storeu_ps(dst.scale + 8, _mm256_mul_ps(d, SignedBytes(_mm_srli_si128(Load128(scales), 8))));
}

// Scales and offsets of Q4_K and Q5_K. The twelve bytes as three words a, b, c: sub-blocks 0..3 have the low six bits
// of a (scale) and b (min); 4..7 the halves of c, with the top two bits of a and b above them.
CARAT_INLINE void UnpackK4Scales(const uint8_t d[2], const uint8_t dmin[2], const uint8_t scales[12], S8Row dst) {
  uint32_t a, b, c;
  std::memcpy(&a, scales, 4);
  std::memcpy(&b, scales + 4, 4);
  std::memcpy(&c, scales + 8, 4);
  const uint32_t scale_low = a & 0x3f3f3f3fu, scale_high = (c & 0x0f0f0f0fu) | ((a >> 6 & 0x03030303u) << 4);
  const uint32_t min_low = b & 0x3f3f3f3fu, min_high = (c >> 4 & 0x0f0f0f0fu) | ((b >> 6 & 0x03030303u) << 4);
  const __m128i sub_scales =
      _mm_cvtsi64_si128(static_cast<int64_t>(scale_low | static_cast<uint64_t>(scale_high) << 32));
  const __m128i sub_mins = _mm_cvtsi64_si128(static_cast<int64_t>(min_low | static_cast<uint64_t>(min_high) << 32));
  StoreEachTwice(dst.scale, _mm256_mul_ps(_mm256_set1_ps(F16(d)), UnsignedBytes(sub_scales)));
  StoreEachTwice(dst.offset, Negate(_mm256_mul_ps(_mm256_set1_ps(F16(dmin)), UnsignedBytes(sub_mins))));
}

CARAT_INLINE void UnpackBlock(const BlockQ4_K& block, S8Row dst) {
  const __m256i mask = _mm256_set1_epi8(15);
  for (int pair = 0; pair < 4; ++pair) {
    const __m256i bytes = Load256(block.qs + 32 * pair);
    Store(dst.codes + 64 * pair, _mm256_and_si256(bytes, mask));
    Store(dst.codes + 64 * pair + 32, _mm256_and_si256(_mm256_srli_epi16(bytes, 4), mask));
  }
  UnpackK4Scales(block.d, block.dmin, block.scales, dst);
}

CARAT_INLINE void UnpackBlock(const BlockQ5_K& block, S8Row dst) {
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

CARAT_INLINE void UnpackBlock(const BlockQ6_K& block, S8Row dst) {
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

CARAT_INLINE void UnpackBlock(const BlockIQ4_XS& block, S8Row dst) {
  alignas(16) int8_t scales[16] = {};
  for (int k = 0; k < 8; ++k) {
    Store(dst.codes + 32 * k, Iq4Codes(block.qs + 16 * k));
    scales[k] = static_cast<int8_t>(Iq4Scale(block, k));
  }
  StoreEachTwice(dst.scale, _mm256_mul_ps(_mm256_set1_ps(F16(block.d)), SignedBytes(Load128(scales))));
}

}  // namespace

template <typename Block>
void Unpack(const std::byte* src, S8Row dst, int64_t n) {
  for (; n > 0; n -= Block::kElements, src += sizeof(Block)) {
    UnpackBlock(*reinterpret_cast<const Block*>(src), dst);
    dst.codes += Block::kElements;
    dst.scale += Block::kElements / 16;
    if constexpr (Block::kHasOffset) dst.offset += Block::kElements / 16;
  }
}

template <typename Block>
void Decode(const std::byte* src, float* dst, int64_t n) {
  alignas(32) int8_t codes[Block::kElements];
  float scale[Block::kElements / 16], offset[Block::kElements / 16];
  for (; n > 0; n -= Block::kElements, src += sizeof(Block), dst += Block::kElements) {
    UnpackBlock(*reinterpret_cast<const Block*>(src), {codes, scale, offset});
    for (int e = 0; e < Block::kElements; e += 8) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + e));
      __m256 value = _mm256_mul_ps(_mm256_broadcast_ss(scale + e / 16), SignedBytes(eight));
      if constexpr (Block::kHasOffset) value = _mm256_add_ps(value, _mm256_broadcast_ss(offset + e / 16));
      _mm256_storeu_ps(dst + e, value);
    }
  }
}

#define CARAT_INSTANTIATE(Block)                                 \
  template void Unpack<Block>(const std::byte*, S8Row, int64_t); \
  template void Decode<Block>(const std::byte*, float*, int64_t);
CARAT_INSTANTIATE(BlockQ4_0)
CARAT_INSTANTIATE(BlockQ4_1)
CARAT_INSTANTIATE(BlockQ5_0)
CARAT_INSTANTIATE(BlockQ5_1)
CARAT_INSTANTIATE(BlockQ8_0)
CARAT_INSTANTIATE(BlockIQ4_NL)
CARAT_INSTANTIATE(BlockQ2_K)
CARAT_INSTANTIATE(BlockQ3_K)
CARAT_INSTANTIATE(BlockQ4_K)
CARAT_INSTANTIATE(BlockQ5_K)
CARAT_INSTANTIATE(BlockQ6_K)
CARAT_INSTANTIATE(BlockIQ4_XS)
#undef CARAT_INSTANTIATE

void DecodeF16(const std::byte* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(Load128(src + 2 * i)));
  for (; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, src + 2 * i, sizeof(bits));
    dst[i] = HalfToFloat(bits);
  }
}

void DecodeBf16(const std::byte* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i bits = _mm256_slli_epi32(_mm256_cvtepu16_epi32(Load128(src + 2 * i)), 16);
    _mm256_storeu_ps(dst + i, _mm256_castsi256_ps(bits));
  }
  for (; i < n; ++i) {
    uint16_t bits;
    std::memcpy(&bits, src + 2 * i, sizeof(bits));
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    std::memcpy(dst + i, &wide, sizeof(wide));
  }
}

}  // namespace carat::kernels::avx2
