// Rows of blocks to codes and scales, and to floats.
#include "kernels/x86/avx2.h"
#include "kernels/x86/unpack_avx2.h"
#include "quant/blocks.h"

namespace carat::kernels::avx2 {
namespace {

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
  alignas(32) int8_t codes[Block::kElements];
  float scale[kGroups<Block>], offset[kGroups<Block>];
  for (; n > 0; n -= Block::kElements, src += sizeof(Block), dst += Block::kElements) {
    UnpackBlock(*reinterpret_cast<const Block*>(src), {codes, scale, offset});
    for (int e = 0; e < Block::kElements; e += 8) {
      const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(codes + e));
      __m256 value = _mm256_mul_ps(_mm256_broadcast_ss(scale + e / Block::kGroup), SignedBytes(eight));
      if constexpr (Block::kHasOffset) value = _mm256_add_ps(value, _mm256_broadcast_ss(offset + e / Block::kGroup));
      _mm256_storeu_ps(dst + e, value);
    }
  }
}

#define CARAT_INSTANTIATE(Block)                                 \
  template void Unpack<Block>(const std::byte*, S8Row, int64_t); \
  template void Decode<Block>(const std::byte*, float*, int64_t);
CARAT_FOR_EACH_BLOCK(CARAT_INSTANTIATE)
#undef CARAT_INSTANTIATE

void DecodeF16(const std::byte* src, float* dst, int64_t n) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(dst + i, _mm256_cvtph_ps(Load128(src + 2 * i)));
  for (; i < n; ++i) {
    uint16_t bits = 0;
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
    uint16_t bits = 0;
    std::memcpy(&bits, src + 2 * i, sizeof(bits));
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    std::memcpy(dst + i, &wide, sizeof(wide));
  }
}

}  // namespace carat::kernels::avx2
