// Sixteen rows of blocks woven together, so that a vector holds the same columns of them all.
//
// A block is words of 32 bits and, if its length is no multiple of 4, a half word more: its scale, at its beginning or
// at its end. Sixteen rows are a sequence of stretches of a few blocks, the last of which may be shorter. A stretch is
// the half words, [blocks][16], and then the words, [blocks][words][16], in the order in which a product meets them: as
// many bytes as the rows had, to be read in one stream.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "quant/blocks.h"
#include "quant/type.h"

namespace carat::quant {

inline constexpr int64_t kInterleavedRows = 16;

// Where the parts of a block are.
struct BlockParts {
  int64_t bytes = 0;
  int64_t words = 0;
  std::array<uint8_t, 52> order = {};  // where the words are in the block, in units of two bytes
  int64_t half = -1;                   // where the half word is, in bytes; -1: there is none
  int64_t stretch = 0;                 // blocks of one; those of a whole one are a multiple of 64 bytes
};

template <typename Block>
constexpr BlockParts PartsOf() {
  BlockParts parts = {.bytes = sizeof(Block), .words = sizeof(Block) / 4};
  parts.stretch = Block::kElements == 32 ? 8 : 2;
  if (sizeof(Block) % 4 != 0) parts.half = offsetof(Block, d);
  const int first = parts.half == 0 ? 1 : 0;
  for (int i = 0; i < parts.words; ++i) parts.order[static_cast<size_t>(i)] = static_cast<uint8_t>(first + 2 * i);
  if constexpr (std::is_same_v<Block, BlockQ6_K>) {
    // The scales; then, of each half of the columns, the words of ql and qh that meet in one code.
    uint8_t* next = parts.order.data();
    for (int i = 0; i < 4; ++i) *next++ = static_cast<uint8_t>(2 * (48 + i));
    for (int h = 0; h < 2; ++h)
      for (int i = 0; i < 8; ++i)
        for (const int word : {16 * h + i, 16 * h + 8 + i, 32 + 8 * h + i}) *next++ = static_cast<uint8_t>(2 * word);
  }
  return parts;
}
// Of a block type; of a code format, whose rows are a multiple of 4 bytes long, a word of codes counts as a block.
BlockParts PartsOf(Type type);

// Weaves sixteen rows of `blocks` blocks each, row_bytes apart. out: 16 * blocks * parts.bytes.
void Interleave(const BlockParts& parts, int64_t blocks, const std::byte* rows, int64_t row_bytes, std::byte* out);
// Row `row` (0 .. 15) of what Interleave made, as it was. out: blocks * parts.bytes.
void CopyInterleavedRow(const BlockParts& parts, int64_t blocks, const std::byte* woven, int64_t row, std::byte* out);

}  // namespace carat::quant
