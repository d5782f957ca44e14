// Code sums on the tile registers of the CPU.
#include "kernels/x86/amx.h"
#include "kernels/x86/code_tiles.h"
#include "kernels/x86/tiles_amx.h"

namespace carat::kernels::amx {

void PackCodeTile(const int8_t* codes, int64_t tokens, int64_t k, int8_t* tile) {
  x86::PackTile(codes, tokens, k, tile);
}

void GemmCodes(const S8Panel& w, int64_t rows, const CodeTiles& x, int64_t tokens, int64_t k, float* y,
               int64_t y_stride) {
  Tiles tiles;
  x86::CodeProducts(tiles, w, rows, x, tokens, k, y, y_stride);
}

int64_t PeakInt8(int64_t rounds) { return Peak<x86::Product::kCodes>(rounds, 64); }

}  // namespace carat::kernels::amx
