#include "quant/interleave.h"

#include <algorithm>
#include <cstring>

namespace carat::quant {

BlockParts PartsOf(Type type) {
  if (IsCodes(type)) return {.bytes = 4, .words = 1, .stretch = 1};
  BlockParts parts;
  ForEachBlock([&]<typename Block>() {
    if (Block::kType == type) parts = PartsOf<Block>();
  });
  return parts;
}

void Interleave(const BlockParts& parts, int64_t blocks, const std::byte* rows, int64_t row_bytes, std::byte* out) {
  for (int64_t begin = 0; begin < blocks; begin += parts.stretch) {
    const int64_t end = std::min(begin + parts.stretch, blocks);
    for (int64_t b = begin; b < end && parts.half >= 0; ++b)
      for (int64_t r = 0; r < kInterleavedRows; ++r, out += 2)
        std::memcpy(out, rows + r * row_bytes + b * parts.bytes + parts.half, 2);
    for (int64_t b = begin; b < end; ++b)
      for (int64_t w = 0; w < parts.words; ++w)
        for (int64_t r = 0; r < kInterleavedRows; ++r, out += 4)
          std::memcpy(out, rows + r * row_bytes + b * parts.bytes + 2 * parts.order[static_cast<size_t>(w)], 4);
  }
}

void CopyInterleavedRow(const BlockParts& parts, int64_t blocks, const std::byte* woven, int64_t row, std::byte* out) {
  for (int64_t begin = 0; begin < blocks; begin += parts.stretch) {
    const int64_t end = std::min(begin + parts.stretch, blocks);
    for (int64_t b = begin; b < end && parts.half >= 0; ++b, woven += 2 * kInterleavedRows)
      std::memcpy(out + b * parts.bytes + parts.half, woven + row * 2, 2);
    for (int64_t b = begin; b < end; ++b)
      for (int64_t w = 0; w < parts.words; ++w, woven += 4 * kInterleavedRows)
        std::memcpy(out + b * parts.bytes + 2 * parts.order[static_cast<size_t>(w)], woven + row * 4, 4);
  }
}

}  // namespace carat::quant
