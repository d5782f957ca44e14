// The kernels for CPUs with AMX (Intel since Sapphire Rapids), on top of AVX-512 with its BF16 extension: code sums on
// tile registers, the same bits as everywhere, and blocks in bfloat16. All else is AVX-512's. Contracts: kernels.h; the
// rule about inline functions: avx2.h.
#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace carat::kernels::amx {

void PackCodeTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile);
void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride);
extern const Bf16Products kBf16;
int64_t PeakInt8(int64_t rounds);

}  // namespace carat::kernels::amx
