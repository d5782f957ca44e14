// One token with weights as they lie in memory.
//
// Full stretches of 256 columns of the commonest types are multiplied as unsigned codes, biased to be so, in registers
// of 64 bytes; what the bias adds, the sums of the token's codes take away. All else goes AVX2's way.
#include <array>
#include <bit>
#include <concepts>

#include "kernels/x86/avx512.h"
#include "kernels/x86/gemv.h"
#include "kernels/x86/vector_avx512.h"
#include "quant/blocks.h"

namespace carat::kernels::avx512 {
namespace {

using avx2::Columns;
using avx2::Load128;
using avx2::Load256;

CARAT_INLINE __m512i Load512(const void* p) { return _mm512_loadu_si512(p); }
CARAT_INLINE __m512i LoadTwice(const void* p) { return _mm512_broadcast_i64x4(Load256(p)); }
// A number for each of the lower lanes of 32 bits, and one for the upper.
CARAT_INLINE __m512i Halves(int lower, int upper) {
  return _mm512_inserti64x4(_mm512_set1_epi32(lower), _mm256_set1_epi32(upper), 1);
}

// Sums of four products.
CARAT_INLINE __m512i Fours(__m512i codes, __m512i token) {
  return _mm512_dpbusd_epi32(_mm512_setzero_si512(), codes, token);
}

// Sums within the quarters of four vectors: quarter i of the result holds those of the i-th quarters, in order.
CARAT_INLINE __m512i SumQuarters(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  return _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
}

CARAT_INLINE __m256i PickEight(__m512i from, __m256i order) {
  return _mm512_castsi512_si256(_mm512_permutexvar_epi32(_mm512_castsi256_si512(order), from));
}

// Sums within the halves of four vectors. `order` says which comes where: those of the lower halves are numbers 0 .. 3,
// those of the upper ones 8 .. 11.
CARAT_INLINE __m256i SumHalves(__m512i a, __m512i b, __m512i c, __m512i d, __m256i order) {
  const __m512i quarters = SumQuarters(a, b, c, d);
  return PickEight(_mm512_add_epi32(quarters, _mm512_shuffle_i64x2(quarters, quarters, 0xb1)), order);
}

// Of each of the commonest types: UnsignedSums, the sums of the products of eight blocks' unsigned codes; and kBias, a
// power of two or zero, what is added to the codes to make them so.
template <typename Block>
constexpr int kBias = -1;

template <>
constexpr int kBias<quant::BlockQ4_0> = 8;
template <>
constexpr int kBias<quant::BlockQ4_1> = 0;

// Blocks of 32 whose bytes hold a code of the first and one of the last 16 columns.
template <typename Block>
concept Nibbles = std::same_as<Block, quant::BlockQ4_0> || std::same_as<Block, quant::BlockQ4_1>;

// A quarter for each of four blocks.
template <Nibbles Block>
CARAT_INLINE __m512i FourBlocks(const Block* w, const int8_t* dealt) {
  // Where the bytes of codes are: in two loads, of which the second ends with the last block.
  constexpr size_t kSecond = 4 * sizeof(Block) - 64;
  alignas(64) static constexpr auto kBytes = [] {
    std::array<uint8_t, 64> bytes = {};
    for (size_t i = 0; i < 64; ++i) {
      const size_t at = i / 16 * sizeof(Block) + offsetof(Block, qs) + i % 16;
      bytes[i] = static_cast<uint8_t>(at < 64 ? at : 64 + at - kSecond);
    }
    return bytes;
  }();
  const auto* first = reinterpret_cast<const std::byte*>(w);
  const __m512i bytes = _mm512_permutex2var_epi8(Load512(first), _mm512_load_si512(&kBytes), Load512(first + kSecond));
  const __m512i mask = _mm512_set1_epi8(15);
  const __m512i high = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
  return _mm512_dpbusd_epi32(Fours(_mm512_and_si512(bytes, mask), Load512(dealt)), high, Load512(dealt + 64));
}

template <Nibbles Block>
CARAT_INLINE __m256i UnsignedSums(const Block* w, const Columns& x) {
  const __m512i a = FourBlocks(w, x.dealt), b = FourBlocks(w + 4, x.dealt + 128);
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i sums = _mm512_add_epi32(ab, _mm512_shuffle_epi32(ab, _MM_PERM_BADC));
  return PickEight(sums, _mm256_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13));
}

template <>
constexpr int kBias<quant::BlockQ8_0> = 128;

CARAT_INLINE __m256i UnsignedSums(const quant::BlockQ8_0* w, const Columns& x) {
  const auto two = [&](int i) __attribute__((always_inline)) {
    const __m512i codes = _mm512_inserti64x4(_mm512_castsi256_si512(Load256(w[i].qs)), Load256(w[i + 1].qs), 1);
    return Fours(_mm512_xor_si512(codes, _mm512_set1_epi8(-128)), Load512(x.codes + 32 * i));
  };
  return SumHalves(two(0), two(2), two(4), two(6), _mm256_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11));
}

template <>
constexpr int kBias<quant::BlockQ4_K> = 0;
template <>
constexpr int kBias<quant::BlockQ5_K> = 0;

template <typename Block>
concept K4 = std::same_as<Block, quant::BlockQ4_K> || std::same_as<Block, quant::BlockQ5_K>;

// Bit `lower` of each byte in the lower half, `upper` in the upper, where bit 4 is.
template <int lower, int upper>
CARAT_INLINE __m512i FifthBits(__m512i bytes) {
  const __m512i shifted = lower < 4 ? _mm512_sllv_epi32(bytes, Halves(4 - lower, 4 - upper))
                                    : _mm512_srlv_epi32(bytes, Halves(lower - 4, upper - 4));
  return _mm512_and_si512(shifted, _mm512_set1_epi8(16));
}

// Blocks k, k+2 of 32 columns are the low halves of 64 bytes, k+1, k+3 the high ones.
template <K4 Block>
CARAT_INLINE __m256i UnsignedSums(const Block* w, const Columns& x) {
  const __m512i mask = _mm512_set1_epi8(15);
  __m512i sums[4];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half) {
    const __m512i bytes = Load512(w->qs + 64 * half);
    const __m512i x0 = Load512(x.codes + 128 * half), x1 = Load512(x.codes + 128 * half + 64);
    __m512i even = _mm512_and_si512(bytes, mask), odd = _mm512_and_si512(_mm512_srli_epi16(bytes, 4), mask);
    if constexpr (std::same_as<Block, quant::BlockQ5_K>) {
      const __m512i high = LoadTwice(w->qh);
      even = _mm512_or_si512(even, half == 0 ? FifthBits<0, 2>(high) : FifthBits<4, 6>(high));
      odd = _mm512_or_si512(odd, half == 0 ? FifthBits<1, 3>(high) : FifthBits<5, 7>(high));
    }
    sums[2 * half] = Fours(even, _mm512_shuffle_i64x2(x0, x1, 0x44));
    sums[2 * half + 1] = Fours(odd, _mm512_shuffle_i64x2(x0, x1, 0xee));
  }
  return SumHalves(sums[0], sums[1], sums[2], sums[3], _mm256_setr_epi32(0, 1, 8, 9, 2, 3, 10, 11));
}

// The f16 at the same place of eight blocks of 32 columns, `first` bytes into them.
template <Nibbles Block>
CARAT_INLINE __m256 EightHalves(const Block* w, size_t first) {
  constexpr int kWords = sizeof(Block) / 2;  // words from one to the next; of the second four, numbers 32 and up
  const __m512i words =
      _mm512_setr_epi32(kWords << 16, 3 * kWords << 16 | 2 * kWords, (32 + kWords) << 16 | 32,
                        (32 + 3 * kWords) << 16 | (32 + 2 * kWords), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  const auto* bytes = reinterpret_cast<const std::byte*>(w) + first;
  const __m512i halves = _mm512_permutex2var_epi16(Load512(bytes), words, Load512(bytes + 4 * sizeof(Block)));
  return _mm256_cvtph_ps(_mm512_castsi512_si128(halves));
}

struct ScalesAndOffsets {
  __m256 scale, offset;
};
template <Nibbles Block>
CARAT_INLINE ScalesAndOffsets EightScales(const Block* w) {
  if constexpr (Block::kHasOffset)
    return {EightHalves(w, offsetof(Block, d)), EightHalves(w, offsetof(Block, m))};
  else
    return {EightHalves(w, offsetof(Block, d)), _mm256_setzero_ps()};
}
CARAT_INLINE ScalesAndOffsets EightScales(const quant::BlockQ8_0* w) {
  return {avx2::EightHalves(w, &quant::BlockQ8_0::d), _mm256_setzero_ps()};
}
template <K4 Block>
CARAT_INLINE ScalesAndOffsets EightScales(const Block* w) {
  alignas(32) float scale[8], offset[8];
  avx2::UnpackK4Scales(w->d, w->dmin, w->scales, {nullptr, scale, offset});
  return {_mm256_load_ps(scale), _mm256_load_ps(offset)};
}

// How 256 columns are added to the lanes of the block dot.
struct Level {
  // As avx2::SumsOfFour, by vpdpbusd.
  CARAT_INLINE static __m256i SumsOfFour(__m256i codes, __m256i magnitude, __m256i token) {
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), magnitude, _mm256_sign_epi8(token, codes));
  }

  template <typename Block>
  CARAT_INLINE static __m256 Add(const Block* w, const Columns& x, __m256 lanes) {
    if constexpr (kBias<Block> < 0) {
      return avx2::AddColumns<Level>(w, x, 8, lanes);
    } else {
      const __m256i lift = Load256(x.lift32);
      __m256i sums = UnsignedSums(w, x);
      if constexpr (kBias<Block> > 0)  // the lift is of codes + 128
        sums = _mm256_add_epi32(sums, _mm256_srai_epi32(lift, std::countr_zero(128u / kBias<Block>)));
      const ScalesAndOffsets eight = EightScales(w);
      const __m256 token_scale = _mm256_loadu_ps(x.scale);
      lanes = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_mul_ps(eight.scale, token_scale), lanes);
      if constexpr (Block::kHasOffset)
        lanes = _mm256_fmadd_ps(eight.offset, avx2::ScaledSums(lift, token_scale), lanes);
      return lanes;
    }
  }

  // Groups of 16 columns, of which each block of 32 has an even and an odd one.
  CARAT_INLINE static __m256 Add(const quant::BlockQ6_K* w, const Columns& x, __m256 lanes) {
    const __m512i low_four = _mm512_set1_epi8(15), high_two = _mm512_set1_epi8(0x30);
    __m512i sums[4];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {  // of 128 columns
      const __m512i low = Load512(w->ql + 64 * half), high = LoadTwice(w->qh + 32 * half);
      const __m512i high0 = _mm512_and_si512(_mm512_sllv_epi32(high, Halves(4, 2)), high_two);
      const __m512i high1 = _mm512_and_si512(_mm512_srlv_epi32(high, Halves(0, 2)), high_two);
      const __m512i codes0 = _mm512_or_si512(_mm512_and_si512(low, low_four), high0);
      const __m512i codes1 = _mm512_or_si512(_mm512_and_si512(_mm512_srli_epi16(low, 4), low_four), high1);
      sums[2 * half] = Fours(codes0, Load512(x.codes + 128 * half));
      sums[2 * half + 1] = Fours(codes1, Load512(x.codes + 128 * half + 64));
    }
    // Group 4 i + j is now number 4 j + i. Even groups to the lower half, odd ones to the upper.
    const __m512i groups = SumQuarters(sums[0], sums[1], sums[2], sums[3]);
    const __m512i where = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
    const __m512i deal = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
    const __m512i lift = _mm512_srai_epi32(_mm512_permutexvar_epi32(deal, Load512(x.lift16)), 2);  // 32 is 128 >> 2
    const __m512 integers = _mm512_cvtepi32_ps(_mm512_add_epi32(_mm512_permutexvar_epi32(where, groups), lift));
    const __m128i dealt =
        _mm_shuffle_epi8(Load128(w->scales), _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
    const __m512 scale =
        _mm512_mul_ps(_mm512_set1_ps(avx2::F16(w->d)), _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(dealt)));
    const __m512 products = _mm512_mul_ps(scale, _mm512_broadcast_f32x8(_mm256_loadu_ps(x.scale)));
    lanes = _mm256_fmadd_ps(_mm512_castps512_ps256(integers), _mm512_castps512_ps256(products), lanes);
    return _mm256_fmadd_ps(_mm512_extractf32x8_ps(integers, 1), _mm512_extractf32x8_ps(products, 1), lanes);
  }
};

}  // namespace

template <typename Block>
void Gemv(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y) {
  avx2::DotRows<Level, Block>(w, row_bytes, rows, x, k, y);
}

#define CARAT_INSTANTIATE(Block) \
  template void Gemv<Block>(const std::byte*, int64_t, int64_t, const A8Row&, int64_t, float*);
CARAT_FOR_EACH_BLOCK(CARAT_INSTANTIATE)
#undef CARAT_INSTANTIATE

}  // namespace carat::kernels::avx512
