// What the bytes of a block mean: codes, scales and offsets; and, from them, the weights.
#include "base/float16.h"
#include "kernels/reference/reference.h"
#include "quant/blocks.h"

namespace carat::kernels::reference {
namespace {

float F16(const uint8_t bytes[2]) { return F16ToFloat(quant::Load16(bytes)); }

// Low or high half of each of 16 bytes: element e of 32.
int Nibble(const uint8_t qs[16], int e) { return e < 16 ? qs[e] & 15 : qs[e - 16] >> 4; }

int Bit(const uint8_t* bits, int e) { return (bits[e / 8] >> (e % 8)) & 1; }

// One block: codes, and a scale (and offset) for every group.

void UnpackBlock(const quant::BlockQ4_0& block, S8Row dst) {
  for (int e = 0; e < 32; ++e) dst.codes[e] = static_cast<int8_t>(Nibble(block.qs, e) - 8);
  dst.scale[0] = F16(block.d);
}

void UnpackBlock(const quant::BlockQ4_1& block, S8Row dst) {
  for (int e = 0; e < 32; ++e) dst.codes[e] = static_cast<int8_t>(Nibble(block.qs, e));
  dst.scale[0] = F16(block.d);
  dst.offset[0] = F16(block.m);
}

void UnpackBlock(const quant::BlockQ5_0& block, S8Row dst) {
  for (int e = 0; e < 32; ++e) dst.codes[e] = static_cast<int8_t>((Nibble(block.qs, e) | Bit(block.qh, e) << 4) - 16);
  dst.scale[0] = F16(block.d);
}

void UnpackBlock(const quant::BlockQ5_1& block, S8Row dst) {
  for (int e = 0; e < 32; ++e) dst.codes[e] = static_cast<int8_t>(Nibble(block.qs, e) | Bit(block.qh, e) << 4);
  dst.scale[0] = F16(block.d);
  dst.offset[0] = F16(block.m);
}

void UnpackBlock(const quant::BlockQ8_0& block, S8Row dst) {
  for (int e = 0; e < 32; ++e) dst.codes[e] = block.qs[e];
  dst.scale[0] = F16(block.d);
}

void UnpackBlock(const quant::BlockIQ4_NL& block, S8Row dst) {
  for (int e = 0; e < 32; ++e) dst.codes[e] = quant::kIq4Values[Nibble(block.qs, e)];
  dst.scale[0] = F16(block.d);
}

void UnpackBlock(const quant::BlockQ2_K& block, S8Row dst) {
  const float d = F16(block.d), dmin = F16(block.dmin);
  for (int e = 0; e < 256; ++e) {
    const int h = e / 128, g = (e % 128) / 32, l = e % 32;
    dst.codes[e] = static_cast<int8_t>((block.qs[32 * h + l] >> (2 * g)) & 3);
  }
  for (int j = 0; j < 16; ++j) {
    dst.scale[j] = d * static_cast<float>(block.scales[j] & 15);
    dst.offset[j] = -(dmin * static_cast<float>(block.scales[j] >> 4));
  }
}

void UnpackBlock(const quant::BlockQ3_K& block, S8Row dst) {
  const float d = F16(block.d);
  for (int e = 0; e < 256; ++e) {
    const int h = e / 128, g = (e % 128) / 32, l = e % 32;
    const int low = (block.qs[32 * h + l] >> (2 * g)) & 3;
    const bool high = (block.hmask[l] >> (4 * h + g)) & 1;
    dst.codes[e] = static_cast<int8_t>(high ? low : low - 4);
  }
  for (int j = 0; j < 16; ++j) dst.scale[j] = d * static_cast<float>(quant::Q3Scale(block.scales, j));
}

// Scales and offsets of Q4_K and Q5_K: eight sub-blocks of 32.
template <typename Block>
void UnpackK4Scales(const Block& block, S8Row dst) {
  const float d = F16(block.d), dmin = F16(block.dmin);
  for (int k = 0; k < 8; ++k) {
    const quant::ScaleMin sub = quant::K4Scale(block.scales, k);
    dst.scale[k] = d * static_cast<float>(sub.scale);
    dst.offset[k] = -(dmin * static_cast<float>(sub.min));
  }
}

void UnpackBlock(const quant::BlockQ4_K& block, S8Row dst) {
  for (int e = 0; e < 256; ++e) {
    const int k = e / 32, l = e % 32;
    dst.codes[e] = static_cast<int8_t>((block.qs[32 * (k / 2) + l] >> (4 * (k % 2))) & 15);
  }
  UnpackK4Scales(block, dst);
}

void UnpackBlock(const quant::BlockQ5_K& block, S8Row dst) {
  for (int e = 0; e < 256; ++e) {
    const int k = e / 32, l = e % 32;
    const int low = (block.qs[32 * (k / 2) + l] >> (4 * (k % 2))) & 15;
    const int high = (block.qh[l] >> k) & 1;
    dst.codes[e] = static_cast<int8_t>(low | high << 4);
  }
  UnpackK4Scales(block, dst);
}

void UnpackBlock(const quant::BlockQ6_K& block, S8Row dst) {
  const float d = F16(block.d);
  for (int e = 0; e < 256; ++e) {
    const int h = e / 128, g = (e % 128) / 32, l = e % 32;
    const int low = (block.ql[64 * h + 32 * (g & 1) + l] >> (4 * (g / 2))) & 15;
    const int high = (block.qh[32 * h + l] >> (2 * g)) & 3;
    dst.codes[e] = static_cast<int8_t>((low | high << 4) - 32);
  }
  for (int j = 0; j < 16; ++j) dst.scale[j] = d * static_cast<float>(block.scales[j]);
}

void UnpackBlock(const quant::BlockIQ4_XS& block, S8Row dst) {
  const float d = F16(block.d);
  for (int k = 0; k < 8; ++k) {
    for (int l = 0; l < 32; ++l) dst.codes[32 * k + l] = quant::kIq4Values[Nibble(block.qs + 16 * k, l)];
    dst.scale[k] = d * static_cast<float>(quant::Iq4Scale(block, k));
  }
}

template <typename Block>
constexpr int kGroups = Block::kElements / Block::kGroup;

}  // namespace

template <typename Block>
void Unpack(const std::byte* src, S8Row dst, int64_t n) {
  for (; n > 0; n -= Block::kElements, src += sizeof(Block)) {
    UnpackBlock(*reinterpret_cast<const Block*>(src), dst);
    dst.codes += Block::kElements;
    dst.scale += kGroups<Block>;
    if constexpr (Block::kHasOffset) dst.offset += kGroups<Block>;
  }
}

template <typename Block>
void Decode(const std::byte* src, float* dst, int64_t n) {
  int8_t codes[Block::kElements];
  float scale[kGroups<Block>], offset[kGroups<Block>];
  for (; n > 0; n -= Block::kElements, src += sizeof(Block), dst += Block::kElements) {
    UnpackBlock(*reinterpret_cast<const Block*>(src), {codes, scale, offset});
    for (int e = 0; e < Block::kElements; ++e) {
      dst[e] = scale[e / Block::kGroup] * static_cast<float>(codes[e]);
      if constexpr (Block::kHasOffset) dst[e] += offset[e / Block::kGroup];
    }
  }
}

#define CARAT_INSTANTIATE(Block)                                 \
  template void Unpack<Block>(const std::byte*, S8Row, int64_t); \
  template void Decode<Block>(const std::byte*, float*, int64_t);
CARAT_FOR_EACH_BLOCK(CARAT_INSTANTIATE)
#undef CARAT_INSTANTIATE

void DecodeF32(const std::byte* src, float* dst, int64_t n) {
  std::memcpy(dst, src, static_cast<size_t>(n) * sizeof(float));
}

void DecodeF16(const std::byte* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, src + 2 * i, sizeof(bits));
    dst[i] = F16ToFloat(bits);
  }
}

void DecodeBf16(const std::byte* src, float* dst, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, src + 2 * i, sizeof(bits));
    dst[i] = Bf16ToFloat(bits);
  }
}

}  // namespace carat::kernels::reference
