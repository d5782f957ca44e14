// Panels of unpacked weights by many tokens, for every level: a vector holds the same columns of all its rows, so that
// the integers of a group grow in one register, and each output stays in its lane from the first column to the last.
//
// A level is a class of static functions:
//   kRows         rows that a vector holds
//   kVectors      vectors that share what is loaded of a token
//   Ints, Floats  kRows numbers
//   Codes         four codes of each row, ready to be multiplied
// A level of code sums (CodeProducts) has besides:
//   kLift         what its Codes have too much
//   Part          kRows sums of up to 32 columns, in whatever form they grow fastest
#pragma once

#include <cstdint>

#include "kernels/kernels.h"
#include "kernels/x86/vector_avx2.h"

namespace carat::kernels::x86 {

// Numbers of each row of kVectors vectors and each of kTokens tokens.
template <typename Level, int kVectors, int kTokens>
struct Sums {
  typename Level::Ints at[kTokens][kVectors];
};
template <typename Level, int kVectors, int kTokens>
struct Lanes {
  typename Level::Floats at[kTokens][kVectors];
};

// Adds the products of kColumns columns' codes to `sum`, exactly. `x` points at their first codes of the tile, `w` at
// the panel's.
template <typename Level, int kColumns, int kVectors, int kTokens, typename Sum>
CARAT_INLINE void AddProducts(const int8_t* w, const int8_t (*x)[kTileTokens][4], Sum (&sum)[kTokens][kVectors]) {
#pragma GCC unroll 8
  for (int i = 0; i < kColumns / 4; ++i) {
    typename Level::Codes four[kVectors];
    for (int v = 0; v < kVectors; ++v) four[v] = Level::LoadCodes(w + (i * kPanelRows + v * Level::kRows) * 4);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t) {
      int32_t token = 0;
      __builtin_memcpy(&token, x[i][t], sizeof(token));
      for (int v = 0; v < kVectors; ++v) sum[t][v] = Level::Dot(sum[t][v], four[v], token);
    }
  }
}

// The sums of a group.
template <typename Level, int kGroup, int kVectors, int kTokens>
CARAT_INLINE Sums<Level, kVectors, kTokens> GroupSums(const int8_t* w, const int8_t (*x)[kTileTokens][4],
                                                      const int32_t* lift) {
  Sums<Level, kVectors, kTokens> sum;
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t)
    for (int v = 0; v < kVectors; ++v) sum.at[t][v] = Level::Start(lift[t]);
  AddProducts<Level, kGroup, kVectors, kTokens>(w, x, sum.at);
  return sum;
}

// One lane of the block dot.
template <typename Level, int kGroup, bool kOffset, int kVectors, int kTokens>
CARAT_INLINE Lanes<Level, kVectors, kTokens> Lane(const S8Panel& w, int64_t first_row, const A8Block* tile,
                                                  int64_t lane, int64_t k) {
  Lanes<Level, kVectors, kTokens> out;
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t)
    for (int v = 0; v < kVectors; ++v) out.at[t][v] = Level::Set(0);
  for (int64_t block = lane; block < k / 32; block += 8) {
    const A8Block* x = tile + block;
    asm("" : "+r"(x));  // or GCC keeps a pointer for every token, most of them in memory
#pragma GCC unroll 2
    for (int half = 0; half < 32 / kGroup; ++half) {
      const int64_t group = block * (32 / kGroup) + half;
      const int32_t* lift = kGroup == 32 ? x->lift32 : x->lift16[half];
      const auto sum = GroupSums<Level, kGroup, kVectors, kTokens>(
          w.codes + (group * kGroup * kPanelRows + first_row * 4), x->codes + half * kGroup / 4, lift);
      const float* scale = w.scale + group * kPanelRows + first_row;
      const float* offset = kOffset ? w.offset + group * kPanelRows + first_row : nullptr;
#pragma GCC unroll 16
      for (int t = 0; t < kTokens; ++t) {
        const float scaled_sum = kOffset ? x->scale[t] * (static_cast<float>(lift[t]) * -0x1p-7f) : 0;
        for (int v = 0; v < kVectors; ++v) {
          const auto both = Level::Multiply(Level::Load(scale + v * Level::kRows), x->scale[t]);
          out.at[t][v] = Level::Fma(Level::ToFloats(sum.at[t][v]), both, out.at[t][v]);
          if constexpr (kOffset)
            out.at[t][v] = Level::Fma(Level::Load(offset + v * Level::kRows), Level::Set(scaled_sum), out.at[t][v]);
        }
      }
    }
  }
  return out;
}

// The first kTokens tokens of a tile, of which `tokens` are wanted, by the rows of kVectors vectors, of which `rows`
// are. A lane at a time: its sums, and the integers of a group, fill the registers.
template <typename Level, int kGroup, bool kOffset, int kVectors, int kTokens>
CARAT_INLINE void PanelTile(const S8Panel& w, int64_t first_row, int64_t rows, const A8Block* tile, int64_t tokens,
                            int64_t k, float* y, int64_t y_stride) {
  Lanes<Level, kVectors, kTokens> lanes[8];
  for (int64_t lane = 0; lane < 8; ++lane)
    lanes[lane] = Lane<Level, kGroup, kOffset, kVectors, kTokens>(w, first_row, tile, lane, k);
  for (int64_t t = 0; t < tokens; ++t)
    for (int v = 0; v < kVectors; ++v) {
      const auto four = [&](int j) __attribute__((always_inline)) {
        return Level::Add(lanes[j].at[t][v], lanes[j + 4].at[t][v]);
      };
      const auto sum = Level::Add(Level::Add(four(0), four(2)), Level::Add(four(1), four(3)));
      Level::StoreFirst(y + t * y_stride + v * Level::kRows, rows - v * Level::kRows, sum);
    }
}

template <typename Level, int kGroup, bool kOffset, int kTokens>
CARAT_INLINE void PanelStrip(const S8Panel& w, int64_t rows, const A8Block* x, int64_t tokens, int64_t k, float* y,
                             int64_t y_stride) {
  constexpr int kStep = Level::kRows * Level::kVectors;
  int64_t n = 0;
  for (; n + kStep - Level::kRows < rows; n += kStep)
    PanelTile<Level, kGroup, kOffset, Level::kVectors, kTokens>(w, n, rows - n, x, tokens, k, y + n, y_stride);
  if (n < rows) PanelTile<Level, kGroup, kOffset, 1, kTokens>(w, n, rows - n, x, tokens, k, y + n, y_stride);
}

template <typename Level, int kGroup, bool kOffset>
void PanelProducts(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
                   int64_t y_stride) {
  for (; tokens > kTileTokens / 2; tokens -= kTileTokens, tiles += k / 32, y += kTileTokens * y_stride)
    PanelStrip<Level, kGroup, kOffset, kTileTokens>(w, rows, tiles, tokens < kTileTokens ? tokens : kTileTokens, k, y,
                                                    y_stride);
  if (tokens > 0) PanelStrip<Level, kGroup, kOffset, kTileTokens / 2>(w, rows, tiles, tokens, k, y, y_stride);
}

template <typename Level>
CARAT_INLINE void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
                            int64_t y_stride) {
  const bool small = w.group == 16, offset = w.offset != nullptr;
  if (small && offset) return PanelProducts<Level, 16, true>(w, rows, tiles, tokens, k, y, y_stride);
  if (small) return PanelProducts<Level, 16, false>(w, rows, tiles, tokens, k, y, y_stride);
  if (offset) return PanelProducts<Level, 32, true>(w, rows, tiles, tokens, k, y, y_stride);
  PanelProducts<Level, 32, false>(w, rows, tiles, tokens, k, y, y_stride);
}

// Code sums: the first kTokens tokens of a tile, of which `tokens` are wanted, by the rows of kVectors vectors, of
// which `rows` are. Sums wrap around on the way, if they must, and end exact.
template <typename Level, int kVectors, int kTokens>
CARAT_INLINE void CodeTile(const S8Panel& w, int64_t first_row, int64_t rows, const int8_t (*tile)[kTileTokens][4],
                           const StaticRow* x, int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  typename Level::Ints sum[kTokens][kVectors];
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t) {
    const uint32_t start = 0 - Level::kLift * static_cast<uint32_t>(x[t].sum);
    for (int v = 0; v < kVectors; ++v) sum[t][v] = Level::Start(static_cast<int32_t>(start));
  }
  const int8_t* codes = w.codes + first_row * 4;
  for (int64_t i = 0; i < k; i += 32, codes += 32 * kPanelRows, tile += 8) {
    typename Level::Part part[kTokens][kVectors];
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t)
      for (int v = 0; v < kVectors; ++v) part[t][v] = Level::Begin(sum[t][v]);
    AddProducts<Level, 32, kVectors, kTokens>(codes, tile, part);
#pragma GCC unroll 16
    for (int t = 0; t < kTokens; ++t)
      for (int v = 0; v < kVectors; ++v) sum[t][v] = Level::End(sum[t][v], part[t][v]);
  }
#pragma GCC unroll 16
  for (int t = 0; t < kTokens; ++t)
    for (int v = 0; v < kVectors; ++v) {
      if (t >= tokens) continue;
      const auto scale = Level::Multiply(Level::Load(w.scale + first_row + v * Level::kRows), x[t].scale);
      Level::StoreFirst(y + t * y_stride + v * Level::kRows, rows - v * Level::kRows,
                        Level::Multiply(Level::ToFloats(sum[t][v]), scale));
    }
}

template <typename Level, int kTokens>
CARAT_INLINE void CodeStrip(const S8Panel& w, int64_t rows, const int8_t (*tile)[kTileTokens][4], const StaticRow* x,
                            int64_t tokens, int64_t k, float* y, int64_t y_stride) {
  constexpr int kStep = Level::kRows * Level::kVectors;
  int64_t n = 0;
  for (; n + kStep - Level::kRows < rows; n += kStep)
    CodeTile<Level, Level::kVectors, kTokens>(w, n, rows - n, tile, x, tokens, k, y + n, y_stride);
  if (n < rows) CodeTile<Level, 1, kTokens>(w, n, rows - n, tile, x, tokens, k, y + n, y_stride);
}

template <typename Level>
CARAT_INLINE void CodeProducts(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
                               int64_t y_stride) {
  const auto* tile = reinterpret_cast<const int8_t(*)[kTileTokens][4]>(x.codes);
  const StaticRow* row = x.rows;
  for (; tokens > kTileTokens / 2; tokens -= kTileTokens) {
    CodeStrip<Level, kTileTokens>(w, rows, tile, row, tokens, k, y, y_stride);
    tile += k / 4;
    row += kTileTokens;
    y += kTileTokens * y_stride;
  }
  if (tokens > 0) CodeStrip<Level, kTileTokens / 2>(w, rows, tile, row, tokens, k, y, y_stride);
}

// Eight rows of eight numbers of 32 bits: columns to rows.
CARAT_INLINE void Transpose(__m256i r[8]) {
  __m256i s[8];
#pragma GCC unroll 4
  for (int j = 0; j < 8; j += 2) {
    s[j] = _mm256_unpacklo_epi32(r[j], r[j + 1]);
    s[j + 1] = _mm256_unpackhi_epi32(r[j], r[j + 1]);
  }
#pragma GCC unroll 2
  for (int j = 0; j < 8; j += 4) {
    r[j] = _mm256_unpacklo_epi64(s[j], s[j + 2]);
    r[j + 1] = _mm256_unpackhi_epi64(s[j], s[j + 2]);
    r[j + 2] = _mm256_unpacklo_epi64(s[j + 1], s[j + 3]);
    r[j + 3] = _mm256_unpackhi_epi64(s[j + 1], s[j + 3]);
  }
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m256i low = r[j], high = r[j + 4];
    r[j] = _mm256_permute2x128_si256(low, high, 0x20);
    r[j + 4] = _mm256_permute2x128_si256(low, high, 0x31);
  }
}

// to[i][r] = from[r][i] ^ flip, of `n` numbers of 32 bits in each of `rows` rows; zeros ^ flip in the rows up to
// kPanelRows.
CARAT_INLINE void Interleave(const void* from, int64_t rows, int64_t n, uint32_t flip, void* to) {
  const auto* in = static_cast<const int32_t*>(from);
  auto* out = static_cast<int32_t*>(to);
  const __m256i flips = _mm256_set1_epi32(static_cast<int>(flip));
  for (int64_t first = 0; first < kPanelRows; first += 8)
    for (int64_t i = 0; i < n; i += 8) {
      const __m256i inside = avx2::FirstLanes(n - i);
      __m256i r[8];
#pragma GCC unroll 8
      for (int j = 0; j < 8; ++j)
        r[j] = first + j < rows ? _mm256_maskload_epi32(in + (first + j) * n + i, inside) : _mm256_setzero_si256();
      Transpose(r);
#pragma GCC unroll 8
      for (int64_t j = 0; j < 8; ++j)
        if (i + j < n)
          _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + (i + j) * kPanelRows + first),
                              _mm256_xor_si256(r[j], flips));
    }
}

// to[i][t] = from[t][i], of eight numbers of 32 bits in each of up to kTileTokens rows, `stride` apart; zeros in those
// that are missing.
CARAT_INLINE void InterleaveTokens(const int8_t* from, int64_t tokens, int64_t stride, int8_t (*to)[kTileTokens][4]) {
  static_assert(kTileTokens == 6);
  __m256i r[8];
#pragma GCC unroll 8
  for (int t = 0; t < 8; ++t)
    r[t] = t < kTileTokens && t < tokens ? _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + t * stride))
                                         : _mm256_setzero_si256();
  Transpose(r);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to[i][0]), _mm256_castsi256_si128(r[i]));
    _mm_storel_epi64(reinterpret_cast<__m128i*>(to[i][4]), _mm256_extracti128_si256(r[i], 1));
  }
}

// The first `count` of 32 bytes, zeros behind them, and nothing beyond them is read.
CARAT_INLINE __m256i LoadFirstBytes(const std::byte* p, int64_t count) {
  if (count >= 32) return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  alignas(32) std::byte bytes[32] = {};
  for (int64_t i = 0; i < count; ++i) bytes[i] = p[i];
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(bytes));
}

// The packed codes of a word in each lane, four to a word: unsigned numbers as they are packed.
template <int kBits>
CARAT_INLINE void SpreadCodes(__m256i words, __m256i (&fours)[8 / kBits]) {
#pragma GCC unroll 4
  for (int i = 0; i < 8 / kBits; ++i) {
    if constexpr (kBits == 8) {
      fours[i] = words;
    } else if constexpr (kBits == 4) {
      const auto low = static_cast<int8_t>(2 * i), high = static_cast<int8_t>(2 * i + 1);
      const __m128i twice = _mm_add_epi8(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12),
                                         _mm_set1_epi32(low | low << 8 | high << 16 | high << 24));
      const __m256i bytes = _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(twice));
      fours[i] = _mm256_or_si256(_mm256_and_si256(bytes, _mm256_set1_epi16(0x000f)),
                                 _mm256_and_si256(_mm256_srli_epi16(bytes, 4), _mm256_set1_epi16(0x0f00)));
    } else {
      const __m128i fourfold = _mm_add_epi8(_mm_setr_epi8(0, 0, 0, 0, 4, 4, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12),
                                            _mm_set1_epi8(static_cast<int8_t>(i)));
      const __m256i bytes = _mm256_shuffle_epi8(words, _mm256_broadcastsi128_si256(fourfold));
      const auto code = [&](int j) __attribute__((always_inline)) {
        return _mm256_and_si256(_mm256_srli_epi16(bytes, 2 * j), _mm256_set1_epi32(3 << (8 * j)));
      };
      fours[i] = _mm256_or_si256(_mm256_or_si256(code(0), code(1)), _mm256_or_si256(code(2), code(3)));
    }
  }
}

// Rows of codes to a panel, `lift` added to each code: words of packed codes are put side by side, and unpacked there.
template <int kBits>
CARAT_INLINE void PackCodes(const CodeRows& w, int64_t rows, int64_t k, int lift, const S8Panel& panel) {
  constexpr int64_t kFours = 8 / kBits;  // in a word
  const int64_t bytes = (k * kBits + 7) / 8, words = (k + kCodeStep - 1) / kCodeStep * (kCodeStep / 4) / kFours;
  const __m256i offset = _mm256_set1_epi8(static_cast<int8_t>(lift - (kBits == 8 ? 0 : 1 << (kBits - 1))));
  for (int64_t first = 0; first < kPanelRows; first += 8)
    for (int64_t word = 0; word < words; word += 8) {
      __m256i r[8];
#pragma GCC unroll 8
      for (int64_t j = 0; j < 8; ++j) {
        const std::byte* row = w.packed + (first + j) * w.row_bytes + 4 * word;
        _mm_prefetch(row + 8 * w.row_bytes, _MM_HINT_T0);  // eight streams are more than CPUs follow
        r[j] = first + j < rows ? LoadFirstBytes(row, bytes - 4 * word) : _mm256_setzero_si256();
      }
      Transpose(r);
      int8_t* out = panel.codes + (word * kFours * kPanelRows + first) * 4;
#pragma GCC unroll 8
      for (int64_t j = 0; j < 8; ++j) {
        if (word + j >= words) break;
        __m256i fours[kFours];
        SpreadCodes<kBits>(r[j], fours);
#pragma GCC unroll 4
        for (int64_t i = 0; i < kFours; ++i)
          _mm256_store_si256(reinterpret_cast<__m256i*>(out + (j * kFours + i) * kPanelRows * 4),
                             _mm256_add_epi8(fours[i], offset));
      }
    }
  for (int64_t r = 0; r < kPanelRows; ++r) panel.scale[r] = r < rows ? w.scale[r] : 0.0f;
}

// `flip`: what the codes of four columns are xored with.
CARAT_INLINE void PackPanel(const S8Row& w, int64_t rows, int64_t k, uint32_t flip, const S8Panel& panel) {
  Interleave(w.codes, rows, k / 4, flip, panel.codes);
  Interleave(w.scale, rows, k / panel.group, 0, panel.scale);
  if (panel.offset != nullptr) Interleave(w.offset, rows, k / panel.group, 0, panel.offset);
}

}  // namespace carat::kernels::x86
