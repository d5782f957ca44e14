// Attention of query rows over keys and values: cached ones that lie in a row's past, or all there are.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/kernels.h"
#include "ops/context.h"

namespace carat::ops {

// K and V of one layer: position p is row p % capacity of each, [capacity, kv_heads, head_dim]; or by head, [kv_heads,
// capacity, head_dim], where each head is read from one end to the other. A view. No block of kernels::kKeyBlock
// positions may wrap round: capacity is a multiple of it, or no position reaches it.
struct KvView {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  kernels::KvType type = kernels::KvType::kF32;
  int64_t capacity = 0;
  int64_t kv_heads = 0, head_dim = 0;
  bool by_head = false;
  // What the elements of each row and head are times: [kv_heads, capacity]. Null: 1.
  const float* key_scales = nullptr;
  const float* value_scales = nullptr;
};

// Rows of queries, [rows, query_heads, head_dim]; row r is at position first_position + r. It sees all positions up to
// its own, or the last `window` of them (0: all); or else, wherever it is, the first `all` positions.
struct Queries {
  const float* q = nullptr;
  int64_t rows = 0, first_position = 0, window = 0;
  int64_t all = 0;  // 0: what was said of positions and windows
};

// A query meets the keys block by block (kernels.h has the order), so that scratch memory does not grow with the
// context. Many queries share what is loaded of a block; with few (decoding) the blocks are dealt to the threads.
// One caller at a time.
class Attention {
 public:
  // head_dim: the largest of any layer.
  Attention(const Context& context, int64_t query_heads, int64_t head_dim);
  // Makes room for queries that see all positions, so that they allocate nothing.
  void ReserveForAll();

  // out[r] = softmax(q[r] . k) v over the keys that row r sees, shaped like q; query head h reads K/V head
  // h / (query_heads / kv_heads). No scale is applied. The keys of all rows are there. `out` may be q itself if all
  // positions are seen.
  void Run(const KvView& kv, const Queries& queries, float* out);
  MemoryUse scratch() const;

 private:
  // Rows of queries that meet a block of keys together, at one K/V head.
  struct Tile {
    int64_t first_row, rows, kv_head;
  };
  // What a thread needs for a tile. A group: the query heads of a K/V head.
  struct Scratch {
    AlignedBuffer<float> wide;    // [kKeyBlock, head_dim and a gap]: keys or values as floats
    AlignedBuffer<float> scores;  // [rows, group, kKeyBlock]
    AlignedBuffer<float> sums;    // [4, rows, group]: max and sum of a block, and of all that were merged
    AlignedBuffer<float> mix;     // [group, head_dim]: of a block and one row; of all rows if they see the same
    AlignedBuffer<float> q;       // [rows, group, head_dim]: side by side, if they see the same
  };

  void RunTiles(const KvView& kv, const Queries& queries, int64_t tile_rows, float* out);
  void RunBlocks(const KvView& kv, const Queries& queries, float* out);
  // Makes a part for each row of the tile that sees something of the block. part_of(row) says where it belongs,
  // done(row) is called when it is there.
  template <typename PartOf, typename Done>
  void Attend(const KvView& kv, const Queries& queries, const Tile& tile, int64_t block, Scratch& scratch,
              const PartOf& part_of, const Done& done) const;
  // Part number `index` of RunBlocks, of all query heads.
  kernels::AttentionPart SplitPart(int64_t index);

  Context context_;
  int64_t query_heads_, head_dim_;
  std::vector<Scratch> scratch_;     // of each worker
  AlignedBuffer<float> split_sums_;  // [2, kSplitParts + kFewRows, query_heads]
  AlignedBuffer<float> split_mix_;   // [kSplitParts, query_heads, head_dim]
};

}  // namespace carat::ops
