// The block formats byte by byte: how GGUF stores 32 or 256 weights of a row.
// Every weight is scale * code + offset; which bits are which is said beside each field. Blocks are packed without
// alignment (members are bytes), numbers are little endian, scales are f16 unless stated.
// kGroup columns share a scale (and an offset).
// In formulas: element e of a block, h = e/128, g = (e%128)/32, l = e%32, k = e/32.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "quant/type.h"

namespace carat::quant {

static_assert(std::endian::native == std::endian::little, "model files are little endian and used where they lie");

// Bytes of 4-bit codes of 32 elements hold element j in the low and element j+16 in the high half of byte j.

// w = d * (q - 8)
struct BlockQ4_0 {
  static constexpr Type kType = Type::kQ4_0;
  static constexpr int kElements = 32;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = false;
  uint8_t d[2];
  uint8_t qs[16];
};

// w = d * q + m
struct BlockQ4_1 {
  static constexpr Type kType = Type::kQ4_1;
  static constexpr int kElements = 32;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = true;
  uint8_t d[2];
  uint8_t m[2];
  uint8_t qs[16];
};

// w = d * (q - 16); bit e of qh is bit 4 of q
struct BlockQ5_0 {
  static constexpr Type kType = Type::kQ5_0;
  static constexpr int kElements = 32;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = false;
  uint8_t d[2];
  uint8_t qh[4];
  uint8_t qs[16];
};

// w = d * q + m; bit e of qh is bit 4 of q
struct BlockQ5_1 {
  static constexpr Type kType = Type::kQ5_1;
  static constexpr int kElements = 32;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = true;
  uint8_t d[2];
  uint8_t m[2];
  uint8_t qh[4];
  uint8_t qs[16];
};

// w = d * q
struct BlockQ8_0 {
  static constexpr Type kType = Type::kQ8_0;
  static constexpr int kElements = 32;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = false;
  uint8_t d[2];
  int8_t qs[32];
};

// w = d * kIq4Values[q]
struct BlockIQ4_NL {
  static constexpr Type kType = Type::kIQ4_NL;
  static constexpr int kElements = 32;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = false;
  uint8_t d[2];
  uint8_t qs[16];
};
inline constexpr int8_t kIq4Values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

// w = d * sc * q - dmin * mn; q = bits 2g of qs[32h + l]; sc the low and mn the high half of scales[e/16]
struct BlockQ2_K {
  static constexpr Type kType = Type::kQ2_K;
  static constexpr int kElements = 256;
  static constexpr int kGroup = 16;
  static constexpr bool kHasOffset = true;
  uint8_t scales[16];
  uint8_t qs[64];
  uint8_t d[2];
  uint8_t dmin[2];
};

// w = d * (sc - 32) * (q - (4 unless bit 4h+g of hmask[l])); q = bits 2g of qs[32h + l]; sc: see Q3Scale
struct BlockQ3_K {
  static constexpr Type kType = Type::kQ3_K;
  static constexpr int kElements = 256;
  static constexpr int kGroup = 16;
  static constexpr bool kHasOffset = false;
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  uint8_t d[2];
};

// w = d * sc * q - dmin * mn; q = low half of qs[32*(k/2) + l] for even k, high for odd; sc, mn: see K4Scale
struct BlockQ4_K {
  static constexpr Type kType = Type::kQ4_K;
  static constexpr int kElements = 256;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = true;
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t qs[128];
};

// As Q4_K; bit k of qh[l] is bit 4 of q
struct BlockQ5_K {
  static constexpr Type kType = Type::kQ5_K;
  static constexpr int kElements = 256;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = true;
  uint8_t d[2];
  uint8_t dmin[2];
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};

// w = d * scales[e/16] * (q - 32); low 4 bits of q = half g/2 of ql[64h + 32(g&1) + l], high 2 = bits 2g of qh[32h + l]
struct BlockQ6_K {
  static constexpr Type kType = Type::kQ6_K;
  static constexpr int kElements = 256;
  static constexpr int kGroup = 16;
  static constexpr bool kHasOffset = false;
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  uint8_t d[2];
};

// w = d * (sc - 32) * kIq4Values[q]; q in qs[16k ..]; sc = half k%2 of scales_l[k/2] | bits 2k of scales_h (u16) << 4
struct BlockIQ4_XS {
  static constexpr Type kType = Type::kIQ4_XS;
  static constexpr int kElements = 256;
  static constexpr int kGroup = 32;
  static constexpr bool kHasOffset = false;
  uint8_t d[2];
  uint8_t scales_h[2];
  uint8_t scales_l[4];
  uint8_t qs[128];
};

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 &&
              sizeof(BlockQ5_1) == 24 && sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18 &&
              sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144 &&
              sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_XS) == 136);

// Every block format: X(Block). For what a template cannot do, such as its own explicit instantiation.
#define CARAT_FOR_EACH_BLOCK(X) \
  X(quant::BlockQ4_0)           \
  X(quant::BlockQ4_1)           \
  X(quant::BlockQ5_0)           \
  X(quant::BlockQ5_1)           \
  X(quant::BlockQ8_0)           \
  X(quant::BlockIQ4_NL)         \
  X(quant::BlockQ2_K)           \
  X(quant::BlockQ3_K)           \
  X(quant::BlockQ4_K)           \
  X(quant::BlockQ5_K)           \
  X(quant::BlockQ6_K)           \
  X(quant::BlockIQ4_XS)

// Calls f.template operator()<Block>() for every block format.
template <typename F>
constexpr void ForEachBlock(F f) {
#define CARAT_CALL(Block) f.template operator()<Block>();
  CARAT_FOR_EACH_BLOCK(CARAT_CALL)
#undef CARAT_CALL
}

// The functions below are forced inline because files that are compiled for newer CPUs include them: a copy emitted
// there could otherwise be the one that the linker keeps for everybody.

// Six-bit scale and min of sub-block j (0..7) of Q4_K and Q5_K.
struct ScaleMin {
  uint8_t scale, min;
};
[[gnu::always_inline]] inline ScaleMin K4Scale(const uint8_t s[12], int j) {
  if (j < 4) return {static_cast<uint8_t>(s[j] & 63), static_cast<uint8_t>(s[j + 4] & 63)};
  return {static_cast<uint8_t>((s[j + 4] & 15) | (s[j - 4] >> 6) << 4),
          static_cast<uint8_t>((s[j + 4] >> 4) | (s[j] >> 6) << 4)};
}

// Six-bit scale, less 32, of sub-block j (0..15) of Q3_K.
[[gnu::always_inline]] inline int Q3Scale(const uint8_t s[12], int j) {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  const int high = (s[8 + j % 4] >> (2 * (j / 4))) & 3;
  return (low | high << 4) - 32;
}

// Six-bit scale, less 32, of sub-block k (0..7) of IQ4_XS.
[[gnu::always_inline]] inline int Iq4Scale(const BlockIQ4_XS& block, int k) {
  const int low = (block.scales_l[k / 2] >> (4 * (k % 2))) & 15;
  const int high = (block.scales_h[k / 4] >> (2 * (k % 4))) & 3;
  return (low | high << 4) - 32;
}

[[gnu::always_inline]] inline uint16_t Load16(const uint8_t bytes[2]) {
  uint16_t value = 0;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

}  // namespace carat::quant
