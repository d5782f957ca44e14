// Products of blocks in bfloat16 on the tile registers of the CPU.
#include "kernels/x86/amx.h"
#include "kernels/x86/bf16_avx512.h"
#include "kernels/x86/tiles_amx.h"

namespace carat::kernels::amx {

namespace {

int64_t PeakBf16(int64_t rounds) { return Peak<x86::Product::kBf16>(rounds, 32); }

constexpr Bf16Products Table() {
  Bf16Products table = avx512::Bf16ProductsOn<Tiles>();
  table.peak = PeakBf16;
  return table;
}

}  // namespace

constinit const Bf16Products kBf16 = Table();

}  // namespace carat::kernels::amx
