// The kernels for CPUs with AVX-512 (F, BW, DQ, VL), VNNI and VBMI (Intel since Ice Lake, AMD since Zen 4), on top of
// AVX2, FMA and F16C: those that gain from it.
// The others are AVX2's. Contracts: kernels.h; the rule about inline functions of shared headers: avx2.h.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace carat::kernels::avx512 {

void GemmF32(const float* w, int64_t w_stride, int64_t rows, const float* x, int64_t x_stride, int64_t tokens,
             int64_t k, float* y, int64_t y_stride);
void PackPanel(const S8Row& w, int64_t rows, int64_t k, const S8Panel& panel);
void GemmPanel(const S8Panel& w, int64_t rows, const A8Block* tiles, int64_t tokens, int64_t k, float* y,
               int64_t y_stride);
// `Block`: the formats of quant/blocks.h.
template <typename Block>
void Gemv(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y);
// `Block`: those of CARAT_FOR_EACH_INTERLEAVED.
template <typename Block>
void GemvInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, const A8Row& x, int64_t k, float* y);
template <typename Block>
void PanelInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, int64_t k, const S8Panel& panel);

// The formats that releases use; the others are multiplied as they lie.
#define CARAT_FOR_EACH_INTERLEAVED(X) \
  X(quant::BlockQ4_0)                 \
  X(quant::BlockQ8_0)                 \
  X(quant::BlockQ4_K)                 \
  X(quant::BlockQ5_K)                 \
  X(quant::BlockQ6_K)

// `kType`: the formats of quant/codes.h.
template <quant::Type kType>
void PackCodes(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel);
template <quant::Type kType>
void GemvCodes(const CodeRows& w, int64_t rows, const PlaneRow& x, int64_t k, float* y);
void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride);
template <quant::Type kType>
void GemvCodesInterleaved(const CodeRows& w, int64_t rows, const PlaneRow& x, float* y);
template <quant::Type kType>
void PanelCodesInterleaved(const CodeRows& w, int64_t rows, int64_t k, const S8Panel& panel);
void GemvC2Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y);
void GemvG4Float(const CodeRows& w, int64_t rows, const float* x, int64_t k, float* y);

void RmsNorm(const float* x, const float* weight, float eps, int64_t n, float* y);
void AddRmsNorm(const float* delta, const float* weight, float eps, int64_t n, float* x);
void GeluMul(const float* gate, const float* up, int64_t n, float* out);

void AttentionScores(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores);
void AttentionSoftmax(float* scores, int64_t heads, int64_t n, const float* key_scale, const float* value_scale,
                      const AttentionPart& part);
void AttentionMix(const float* p, int64_t heads, int64_t d, const KvRows& values, int64_t n, float* mix);
void AttentionMerge(const AttentionPart& part, int64_t heads, int64_t d, const AttentionPart& merged);

int64_t PeakInt8(int64_t rounds);
int64_t PeakFloat(int64_t rounds);

}  // namespace carat::kernels::avx512
