// The kernels for CPUs with AVX2, FMA and F16C. Contracts: kernels.h.
//
// The sources of this level are compiled for those CPUs, so they use no inline function of a shared header that is not
// forced inline: the linker might keep the copy made here for callers on older CPUs. Everything in them has internal
// linkage or stands in this namespace.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace carat::kernels::avx2 {

// `Block`: the formats of quant/blocks.h.
template <typename Block>
void Unpack(const std::byte* src, S8Row dst, int64_t n);
template <typename Block>
void Decode(const std::byte* src, float* dst, int64_t n);
void DecodeF16(const std::byte* src, float* dst, int64_t n);
void DecodeBf16(const std::byte* src, float* dst, int64_t n);

void QuantizeA8(const float* x, int64_t k, A8Row dst);
void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride);
void PackPanel(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel);
void PackTile(const A8Row& x, int64_t tokens, int64_t k, A8Block* tile);
void PackCodeTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile);
void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride);
void GemvF32(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k, float* y);
void GemvF16(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k, float* y);
void GemvBf16(const std::byte* w, int64_t row_bytes, int64_t rows, const float* x, int64_t k, float* y);
template <typename Block>
void Gemv(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y);

// `kType`: the formats of quant/codes.h.
template <quant::Type kType>
void UnpackCodes(const std::byte* packed, int64_t n, int8_t* codes);
void ScaleCodes(const int8_t* codes, float scale, int64_t n, float* y);
StaticRow QuantizeStatic(const float* x, int64_t n, float scale, int8_t* codes);
StaticRow QuantizeDynamic(const float* x, int64_t n, int8_t* codes);
void RoundStatic(float* x, int64_t n, float scale);
void GemvC2Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y);
void GemvG4Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y);
void DealCodes(const int8_t* codes, int64_t n, int planes, int64_t plane, int8_t* out);
template <quant::Type kType>
void PackCodes(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel);
template <quant::Type kType>
void GemvCodes(const CodeRows& w, int64_t rows, const PlaneRow& x, int64_t k, float* y);
template <quant::Type kType>
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

int64_t PeakInt8(int64_t rounds);
int64_t PeakFloat(int64_t rounds);

}  // namespace carat::kernels::avx2
