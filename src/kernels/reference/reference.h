// The scalar kernels: every operation of kernels.h in plain C++, in the order that kernels.h writes down.
// They are the truth that the vector kernels are held to, and what runs on a CPU that has no table of its own.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace carat::kernels::reference {

// `Block`: the formats of quant/blocks.h.
template <typename Block>
void Unpack(const std::byte* src, S8Row dst, int64_t n);
template <typename Block>
void Decode(const std::byte* src, float* dst, int64_t n);
void DecodeF32(const std::byte* src, float* dst, int64_t n);
void DecodeF16(const std::byte* src, float* dst, int64_t n);
void DecodeBf16(const std::byte* src, float* dst, int64_t n);

void QuantizeA8(const float* x, int64_t k, A8Row dst);
void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride);
void PackPanel(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel);
void PackTile(const A8Row& x, int64_t tokens, int64_t k, A8Block* tile);
void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride);

// Of rows as they lie; has nothing for those that are woven together.
extern const Bf16Products kBf16;

// `kType`: the formats of quant/codes.h.
template <quant::Type kType>
void UnpackCodes(const std::byte* packed, int64_t n, int8_t* codes);
void ScaleCodes(const int8_t* codes, float scale, int64_t n, float* y);
StaticRow QuantizeStatic(const float* x, int64_t n, float scale, int8_t* codes);
StaticRow QuantizeDynamic(const float* x, int64_t n, int8_t* codes);
void RoundStatic(float* x, int64_t n, float scale);
void DealCodes(const int8_t* codes, int64_t n, int planes, int64_t plane, int8_t* out);
void PackCodeTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile);
template <quant::Type kType>
void PackCodes(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel);
template <quant::Type kType>
void GemvCodes(const CodeRows& w, int64_t rows, const PlaneRow& x, int64_t k, float* y);
void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride);

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y);
void AddRmsNorm(const float* delta, const float* weight, float eps, int64_t n, float* x);
void GeluMul(const float* gate, const float* up, int64_t n, float* out);
void SoftCap(float* x, int64_t n, float cap);
void ToF16(const float* x, int64_t n, uint16_t* y);

void AttentionScores(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores);
void AttentionSoftmax(float* scores, int64_t heads, int64_t n, const float* key_scale, const float* value_scale,
                      const AttentionPart& part);
void AttentionMix(const float* p, int64_t heads, int64_t d, const KvRows& values, int64_t n, float* mix);
void AttentionMerge(const AttentionPart& part, int64_t heads, int64_t d, const AttentionPart& merged);

}  // namespace carat::kernels::reference
