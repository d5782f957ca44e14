// What AVX-512 with its BF16 extension makes ready for products of bfloat16 on tiles, and a table of both. Contracts:
// kernels.h; the rule about inline functions: avx2.h.
#pragma once

#include "kernels/x86/avx512.h"
#include "kernels/x86/bf16_tiles.h"
#include "quant/blocks.h"

namespace carat::kernels::avx512 {

void RoundBf16(const float* x, int64_t k, uint16_t* y);
void WidenBf16(const S8Row& w, int64_t group, int64_t k, uint16_t* y);
void PackBf16Panel(const uint16_t* w, int64_t rows, int64_t k, uint16_t* panel);
void PackBf16Tile(const uint16_t* x, int64_t tokens, int64_t k, uint16_t* tile);

// `Block`: those of CARAT_FOR_EACH_INTERLEAVED. As bf16_tiles.h asks for it, in the form that is faster.
template <typename Block>
constexpr x86::Widened kWidenedForm = x86::Widened::kPairs;
template <>
inline constexpr x86::Widened kWidenedForm<quant::BlockQ4_0> = x86::Widened::kRows;
template <>
inline constexpr x86::Widened kWidenedForm<quant::BlockQ4_K> = x86::Widened::kRows;
template <typename Block>
void WidenSixteen(const std::byte* woven, int64_t i, int64_t k, uint16_t* out);
template <typename Block>
void Bf16PanelInterleaved(const std::byte* w, int64_t row_bytes, int64_t rows, int64_t k, uint16_t* panel);

template <typename Tiles>
constexpr Bf16Products Bf16ProductsOn() {
  Bf16Products table = {};
  table.round = RoundBf16;
  table.widen = WidenBf16;
  table.gemv = x86::Bf16Gemv<Tiles>;
  table.pack_panel = PackBf16Panel;
  table.pack_tile = PackBf16Tile;
  table.gemm = x86::Bf16Gemm<Tiles>;
#define CARAT_ADD(Block)                                                         \
  table.gemv_interleaved[static_cast<size_t>(Block::kType)] =                    \
      x86::Bf16GemvInterleaved<Tiles, kWidenedForm<Block>, WidenSixteen<Block>>; \
  table.panel_interleaved[static_cast<size_t>(Block::kType)] = Bf16PanelInterleaved<Block>;
  CARAT_FOR_EACH_INTERLEAVED(CARAT_ADD)
#undef CARAT_ADD
  return table;
}

}  // namespace carat::kernels::avx512
