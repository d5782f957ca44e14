// The inner loops of the engine, as a table of function pointers: one table per CPU level, chosen at run time.
//
// Kernels are pure: pointers, sizes and strides (in elements) in, nothing allocated, no threads. All tables compute the
// same bits: every sum below has one order, written down here, and kernels/reference/ is that order in plain C++.
// An operation written fma(a, b, c) is rounded once; nothing else may be contracted (-ffp-contract=off).
// A table that has Bf16Products multiplies blocks in an order of its own, the tile dot.
//
// Order of sums.
//   float dot:   16 lanes; lane j adds elements j, j+16, ... with fma; a tail counts as zeros. Then lane j += lane j+8
//                (j < 8), j+4 (j < 4), j+2 (j < 2), j+1. ("the 16-lane tree")
//   block dot:   8 lanes; the columns of block b of 32 belong to lane b % 8. Each group of columns with one scale of
//                the weights (GroupColumns: 16 or 32) makes one integer, the sum of its products of codes, exact. Of
//                the groups g of a block, in order: lane = fma(float(integer), w.scale[g] * x.scale[b], lane), and
//                where the weights have offsets, then lane = fma(w.offset[g], x.scale[b] * float(sum of x's codes),
//                lane). Then lane j += lane j+4 (j < 4), j+2 (j < 2), j+1.
//   tile dot:    of bfloat16 numbers. Of every 32 columns, from the first on: even = fma over columns 0, 2, ..., 30,
//   one
//                after the other, from 0; odd = the same over 1, 3, ..., 31; then sum = sum + (even + odd), from 0.
//                What is subnormal, operand or result, counts as a zero of its sign.
//   code sum:    exact in 32 bits, so in any order; then float(sum) * (x.scale * w.scale), each step rounded once.
//   attention:   the positions that a query sees come in parts, one for each block of kKeyBlock positions, whose first
//                position is a multiple of kKeyBlock. Of the positions j = 0, 1, ... seen in one block:
//                score[j] = float dot of query and key [* scale of the key]; max = the largest score;
//                p[j] = exp(score[j] - max); sum = the 16-lane tree over p[0], p[1], ...;
//                mix[i] = fma(p[j] [* scale of the value], v[j][i], mix[i]), j ascending, from 0.
//                Parts are merged in ascending order, onto max = -infinity, sum = 0, mix = 0:
//                new = the larger max; a = exp(max - new), b = exp(part.max - new); sum = fma(part.sum, b, sum * a);
//                mix[i] = fma(part.mix[i], b, mix[i] * a); max = new. The result is mix[i] * (1 / sum).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "quant/type.h"

namespace carat::kernels {

// Activations rounded to 8 bits in blocks of 32 along the row: x ~ code * scale[block].
// scale = max|x| / 127 and code = round-half-even(x * (127 / max|x|)), in -127..127; a block of zeros has scale 0 and
// codes 0; a block with a NaN or infinity has codes 0 and scale NaN, so that the error shows in the result. A block
// whose largest magnitude is below kA8Smallest counts as zeros (127 / max|x| would overflow near the subnormals). k is
// a multiple of 32 (callers pad with zeros).
inline constexpr float kA8Smallest = 0x1p-100f;
struct A8Row {
  int8_t* codes;  // [k]
  int8_t* dealt;  // [k rounded up to 128]: of every four blocks the first 16 codes each, then the last 16 each
  float* scale;   // [k/32]
  // -128 times the sum of the codes of a group of 32 columns, and of 16: what makes up for weights' codes + 128.
  int32_t* lift32;  // [k/32]
  int32_t* lift16;  // [k/16]
};
// Up to kTileTokens such rows side by side, so that what a product needs of them lies together: 32 columns of a tile. A
// tile is k/32 of these; rows that are missing are zeros.
inline constexpr int64_t kTileTokens = 6;
struct alignas(32) A8Block {
  int8_t codes[8][kTileTokens][4];  // four columns each
  float scale[kTileTokens];
  int32_t lift32[kTileTokens];
  int32_t lift16[2][kTileTokens];
};

// Rounding with a static scale, as Google's low-bit releases have it: code = clamp(round-half-even(x / scale), -128,
// 127) by a true division; infinities clip.
//
// Weights in the code formats of quant/codes.h, one scale per row.
struct CodeRows {
  const std::byte* packed;
  int64_t row_bytes;
  const float* scale;  // [rows]; of G4: [rows, k/32]
};
// What belongs to the codes of a row of activations.
struct StaticRow {
  float scale;  // NaN if the row had a NaN, so that the error shows in the result
  int32_t sum;  // of the codes
};
// One token of static scale, dealt as the codes of a packed byte are: with b bits a code there are 8/b planes, and code
// k of the row is number k / planes of plane k % planes. Planes are `plane` bytes long, a multiple of kPlaneStep, and
// end in zeros.
struct PlaneRow {
  const int8_t* codes;  // 64-byte aligned
  int64_t plane;
  StaticRow row;
};
inline constexpr int64_t kPlaneStep = 64;
// Many tokens of static scale, up to Kernels::code_tile_tokens side by side in a tile. Rows that are missing are zeros.
struct CodeTiles {
  const int8_t* codes;    // [tiles][code_tile_tokens * k], 64-byte aligned; in an order that only the table knows
  const StaticRow* rows;  // [tiles * code_tile_tokens]
};
// Columns of code tiles, and of the panels that meet them, are a multiple of this. Tiles end in zeros.
inline constexpr int64_t kCodeStep = 64;

// Weights of any block type, unpacked to one form: w = scale[i/group] * code[i] + offset[i/group], where group is
// GroupColumns(type). Codes are in -128..127.
struct S8Row {
  int8_t* codes;  // [k]
  float* scale;   // [k/group]
  float* offset;  // [k/group]; left untouched by types that have none (HasOffset)
};
// Up to kPanelRows such rows side by side, so that a vector holds the same columns of them all. Rows of codes too.
inline constexpr int64_t kPanelRows = 32;
struct S8Panel {
  int8_t* codes;  // [k/4][kPanelRows][4], 64-byte aligned; in a form that only the table that packed them knows
  float* scale;   // [k/group][kPanelRows], 64-byte aligned
  float* offset;  // the same; null: no offsets
  int64_t group;
};
// Q4_1, Q5_1, Q2_K, Q4_K, Q5_K.
bool HasOffset(quant::Type type);
// Columns of a block type that share a scale: 16 for Q2_K, Q3_K and Q6_K, 32 for the others.
int64_t GroupColumns(quant::Type type);

// Products of block types in bfloat16, for a level whose tile units multiply such numbers fastest. A weight is what
// S8Row says, fma(scale, code, offset) or scale * code; it and the activations are rounded to bfloat16: to nearest
// even, what is subnormal to a zero, a NaN to a NaN. Products are tile dots. Columns, k, are a multiple of 32, memory
// of bfloat16 numbers is 64-byte aligned.
inline constexpr int64_t kBf16TileTokens = 16;
struct Bf16Products {
  void (*round)(const float* x, int64_t k, uint16_t* y);
  // A row of weights that was unpacked, offset null: none.
  void (*widen)(const S8Row& w, int64_t group, int64_t k, uint16_t* y);
  // One token: y[n] = w[n] . x of `rows` <= kPanelRows rows that lie one behind the other.
  void (*gemv)(const uint16_t* w, int64_t rows, const uint16_t* x, int64_t k, float* y);
  // Puts such rows side by side: panel[k/2][kPanelRows][2]. Those that are missing become zeros.
  void (*pack_panel)(const uint16_t* w, int64_t rows, int64_t k, uint16_t* panel);
  // `tokens` <= kBf16TileTokens tokens that lie one behind the other: tile[k/32][kBf16TileTokens][32]. Those that are
  // missing become zeros.
  void (*pack_tile)(const uint16_t* x, int64_t tokens, int64_t k, uint16_t* tile);
  // y[t * y_stride + n] = row n of the panel . x[t], n < rows, t < tokens; tiles[tokens / kBf16TileTokens].
  void (*gemm)(const uint16_t* panel, int64_t rows, const uint16_t* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride);
  // As gemv_interleaved and panel_interleaved of Kernels, for the same types.
  void (*gemv_interleaved[quant::kTypeCount])(const std::byte* w, int64_t row_bytes, int64_t rows, const uint16_t* x,
                                              int64_t k, float* y);
  void (*panel_interleaved[quant::kTypeCount])(const std::byte* w, int64_t row_bytes, int64_t rows, int64_t k,
                                               uint16_t* panel);
  int64_t (*peak)(int64_t rounds);  // as Kernels::peak_int8
};

// Elements of cached keys and values. Those of kI8 are codes, with one scale for each row of a head.
enum class KvType : uint8_t { kF32, kF16, kI8 };
constexpr int64_t KvBytes(KvType type) { return type == KvType::kF32 ? 4 : type == KvType::kF16 ? 2 : 1; }

// Positions whose keys and values a query meets at once.
inline constexpr int64_t kKeyBlock = 128;
// Keys or values of one head: rows of d elements, `stride` elements apart.
struct KvRows {
  const void* data;
  KvType type;
  int64_t stride;
  // As many rows that will be read next, to be brought nearer meanwhile. Null: none. Hints alone: they may lie
  // anywhere.
  const void* next = nullptr;
};
// What one block of positions, or several that were merged, contributes to the attention of `heads` queries.
struct AttentionPart {
  float* max;  // [heads]
  float* sum;  // [heads]
  float* mix;  // [heads, d]
};

struct Kernels {
  std::string_view name;  // "scalar", "avx2", "avx512", "amx"

  // dst[0..n) = the row's weights as floats: bits equal to the definition of the type, products evaluated left to
  // right. n is a multiple of the block. Indexed by quant::Type; null where !IsWeight.
  void (*decode[quant::kTypeCount])(const std::byte* src, float* dst, int64_t n);
  // The same, to codes and scales. Null for float types.
  void (*unpack[quant::kTypeCount])(const std::byte* src, S8Row dst, int64_t n);

  void (*quantize_a8)(const float* x, int64_t k, A8Row dst);

  // y[t * y_stride + n] = sum_k w[n * w_stride + k] * x[t * x_stride + k], n < rows, t < tokens; float dot.
  void (*gemm_f32)(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
                   int64_t k, float* y, int64_t y_stride);
  // Puts `rows` <= kPanelRows unpacked rows, of which the first is `w` and the others follow it without gaps, side by
  // side. Rows that are missing become zeros.
  void (*pack_panel)(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel);
  // The same for `tokens` <= kTileTokens rounded rows.
  void (*pack_tile)(const A8Row& x, int64_t tokens, int64_t k, A8Block* tile);
  // y[t * y_stride + n] = block dot of row n of the panel and x[t], n < rows, t < tokens: all of the tiles are full but
  // the last. k is a multiple of 32.
  void (*gemm_panel)(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
                     int64_t y_stride);
  // One token with a matrix as it lies in memory, at any address: y[n] = w[n] . x, n < rows; rows of w are row_bytes
  // apart. The same bits as decode (of float types) or unpack (of blocks) and the
  // product of above, but every weight is read once, in order. Indexed by quant::Type. Null where a table has nothing
  // better than these two steps.
  void (*gemv_float[quant::kTypeCount])(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k,
                                        float* y);
  void (*gemv_block[quant::kTypeCount])(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k,
                                        float* y);

  // The same products of rows woven together by sixteen (quant/interleave.h): `w` is the first of them, row_bytes is
  // what a row takes in the file, rows a multiple of 16. The one makes y[n] of one token as gemv_block does, the other
  // a panel of up to kPanelRows rows for gemm_panel. Indexed by quant::Type; null where a table has neither.
  void (*gemv_interleaved[quant::kTypeCount])(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x,
                                              int64_t k, float* y);
  void (*panel_interleaved[quant::kTypeCount])(const std::byte* w, int64_t row_bytes, int64_t rows, int64_t k,
                                               const S8Panel& panel);

  // Not null: blocks are multiplied so on the normal path, and not by the five products above.
  const Bf16Products* bf16;

  // codes[0..n) of a row. Indexed by quant::Type; null where !IsCodes.
  void (*unpack_codes[quant::kTypeCount])(const std::byte* packed, int64_t n, int8_t* codes);
  // y[i] = float(codes[i]) * scale.
  void (*scale_codes)(const int8_t* codes, float scale, int64_t n, float* y);
  // Static rounding of n floats. The code of a NaN is 0.
  StaticRow (*quantize_static)(const float* x, int64_t n, float scale, int8_t* codes);
  // The same with the scale max|x| / 127, at least kA8Smallest / 127. An infinity counts as a NaN.
  StaticRow (*quantize_dynamic)(const float* x, int64_t n, int8_t* codes);
  // x = code * scale, in place. NaN stays NaN, and zero keeps its sign.
  void (*round_static)(float* x, int64_t n, float scale);
  // Deals codes to `planes` (1, 2 or 4) planes at distances of `plane` bytes.
  void (*deal_codes)(const int8_t* codes, int64_t n, int planes, int64_t plane, int8_t* out);
  int64_t code_tile_tokens;
  // Puts `tokens` <= code_tile_tokens rows of k codes, one after the other, side by side.
  void (*pack_code_tile)(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile);
  // One token with float activations: y[n] = w[n] . x, the float dot of x and of what scale_codes makes of a row. Null
  // where a table has nothing better than these two steps. Of G4, k is a multiple of 32.
  void (*gemv_codes_float[quant::kTypeCount])(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y);
  // One token with a matrix as it lies in memory: y[n] = code sum of w[n] and x. Indexed by quant::Type: C8, C4, C2.
  // k <= quant::MaxExactColumns(type).
  void (*gemv_codes[quant::kTypeCount])(const CodeRows& w, int64_t rows, const PlaneRow& x, int64_t k, float* y);
  // Unpacks `rows` <= kPanelRows rows to a panel of k rounded up to kCodeStep columns, whose group is the whole row.
  // What stands beyond k means nothing.
  void (*pack_codes[quant::kTypeCount])(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel);
  // Many tokens: y[t * y_stride + n] = code sum of row n of such a panel and x[t], n < rows, t < tokens; k is that of
  // the panel.
  void (*gemm_codes[quant::kTypeCount])(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k,
                                        float* y, int64_t y_stride);
  // As gemv_interleaved and panel_interleaved, of C8, C4 and C2: w.packed is the first of the rows woven together, and
  // w.row_bytes a multiple of 4. k, of the panel, is a multiple of kCodeStep; its columns beyond the rows' become
  // zeros.
  void (*gemv_codes_interleaved[quant::kTypeCount])(const CodeRows& w, int64_t rows, const PlaneRow& x, float* y);
  void (*panel_codes_interleaved[quant::kTypeCount])(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel);

  // y = x * (1 / sqrt(mean(x^2) + eps)) [* weight]; the sum of squares is a float dot. weight may be null. In place
  // allowed.
  void (*rms_norm)(const float* x, const float* weight, float eps, int64_t n, float* y);
  // x += what rms_norm makes of delta: the end of a block of the decoder.
  void (*add_rms_norm)(const float* delta, const float* weight, float eps, int64_t n, float* x);
  // out = gelu_tanh(gate) * up. In place allowed.
  // gelu_tanh(z) = z / (1 + exp(-2u)), u = sqrt(2/pi) * (z + 0.044715 z^3).
  void (*gelu_mul)(const float* gate, const float* up, int64_t n, float* out);
  // x = cap * tanh(x / cap).
  void (*soft_cap)(float* x, int64_t n, float cap);

  // Attention of `heads` queries (q is [heads, d]) to `n` <= kKeyBlock positions of one block, in three steps.
  // scores[h * kKeyBlock + j] = q[h] . key[j], float dot.
  void (*attention_scores)(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores);
  // max and sum of the part, and what the values are times in place of the scores: p[h * kKeyBlock + j]. The scales of
  // keys and values are [n]; null: all are 1. A NaN is never the largest, but makes the sum NaN.
  void (*attention_softmax)(float* scores, int64_t heads, int64_t n, const float* key_scale, const float* value_scale,
                            const AttentionPart& part);
  // mix[h * d + i] = sum of p[h * kKeyBlock + j] * value[j][i].
  void (*attention_mix)(const float* p, int64_t heads, int64_t d, const KvRows& values, int64_t n, float* mix);
  // Merges the next part.
  void (*attention_merge)(const AttentionPart& part, int64_t heads, int64_t d, const AttentionPart& merged);

  void (*to_f16)(const float* x, int64_t n, uint16_t* y);  // round to nearest even

  // The limit that products are measured against: the level's fastest multiplication and addition of codes, and of
  // floats, on registers alone. Returns the operations done; a product that is added counts as two. Null in the scalar
  // table, which is for the truth and not for speed.
  int64_t (*peak_int8)(int64_t rounds);
  int64_t (*peak_float)(int64_t rounds);
};

// The tables that were compiled in, slowest first; a table is usable only if `Supported(table)`.
std::span<const Kernels* const> AllKernels();
bool Supported(const Kernels& kernels);
// The fastest usable table, or the one called `name`. Null if it does not exist or this CPU lacks it.
const Kernels* SelectKernels(std::string_view name = {});

}  // namespace carat::kernels
