#include "ops/attention.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace carat::ops {

namespace {

using kernels::AttentionPart;
using kernels::kKeyBlock;
using kernels::KvRows;
using kernels::KvType;

// Queries (rows times heads) of a tile: enough that widening a block costs a few percent of what they do with it, few
// enough for the second-level cache to hold their scores beside the block.
constexpr int64_t kTileQueries = 64;
// The same of queries that all see the same, which meet a block in one call of each kernel: the more, the less it costs
// to bring the block into shape.
constexpr int64_t kTileQueriesForAll = 256;
// So many rows or fewer may be split by blocks of keys instead of by rows.
constexpr int64_t kFewRows = 4;
// Parts (of a row and a block) that are made before they are merged.
constexpr int64_t kSplitParts = 16;
// Floats between the rows of a widened block, so that a column does not fall into a few sets of the first-level cache.
constexpr int64_t kGap = 16;

struct Range {
  int64_t begin, end;
  int64_t count() const { return end - begin; }
};

// The positions that rows first .. first+rows-1 see, all together. Later rows see no earlier ones.
Range Seen(const Queries& queries, int64_t first, int64_t rows) {
  if (queries.all > 0) return {0, queries.all};
  const int64_t own = queries.first_position + first;
  return {queries.window > 0 ? std::max<int64_t>(0, own + 1 - queries.window) : 0, own + rows};
}

// Those of a block among them.
Range Seen(const Queries& queries, int64_t first, int64_t rows, int64_t block) {
  const Range seen = Seen(queries, first, rows);
  return {std::max(seen.begin, block * kKeyBlock), std::min(seen.end, (block + 1) * kKeyBlock)};
}

// The blocks that they see something of.
Range BlocksSeen(const Queries& queries, int64_t first, int64_t rows) {
  const Range seen = Seen(queries, first, rows);
  return {seen.begin / kKeyBlock, (seen.end + kKeyBlock - 1) / kKeyBlock};
}

// `data` (keys or values) from `position` on.
KvRows RowsFrom(const KvView& kv, const std::byte* data, int64_t position, int64_t kv_head) {
  const int64_t place = position % kv.capacity;
  const int64_t row = kv.by_head ? kv_head * kv.capacity + place : place * kv.kv_heads + kv_head;
  return {data + row * kv.head_dim * kernels::KvBytes(kv.type), kv.type, (kv.by_head ? 1 : kv.kv_heads) * kv.head_dim};
}

const float* ScalesFrom(const KvView& kv, const float* scales, int64_t position, int64_t kv_head) {
  return scales == nullptr ? nullptr : scales + kv_head * kv.capacity + position % kv.capacity;
}

KvRows SkipRows(const KvRows& rows, int64_t count) {
  return {static_cast<const std::byte*>(rows.data) + count * rows.stride * kernels::KvBytes(rows.type), rows.type,
          rows.stride, rows.next};
}

// The first n rows, widened to floats, which is exact, and close together: many queries then need not do it again and
// again.
KvRows Widen(const kernels::Kernels& kernels, const KvRows& rows, int64_t n, int64_t d, float* wide) {
  const KvRows floats = {wide, KvType::kF32, d + kGap};
  for (int64_t j = 0; j < n; ++j, wide += floats.stride) {
    const auto* row = static_cast<const std::byte*>(SkipRows(rows, j).data);
    if (rows.type == KvType::kI8)
      kernels.scale_codes(reinterpret_cast<const int8_t*>(row), 1.0f, d, wide);
    else
      kernels.decode[static_cast<size_t>(rows.type == KvType::kF16 ? quant::Type::kF16 : quant::Type::kF32)](row, wide,
                                                                                                             d);
  }
  return floats;
}

// The same part from a head on.
AttentionPart FromHead(const AttentionPart& part, int64_t head, int64_t d) {
  return {part.max + head, part.sum + head, part.mix + head * d};
}

void Start(const AttentionPart& merged, int64_t heads, int64_t d) {
  std::fill_n(merged.max, heads, -INFINITY);
  std::fill_n(merged.sum, heads, 0.0f);
  std::fill_n(merged.mix, heads * d, 0.0f);
}

void Finish(const AttentionPart& merged, int64_t heads, int64_t d) {
  for (int64_t head = 0; head < heads; ++head) {
    const float scale = 1.0f / merged.sum[head];
    for (int64_t i = head * d; i < (head + 1) * d; ++i) merged.mix[i] *= scale;
  }
}

}  // namespace

Attention::Attention(const Context& context, int64_t query_heads, int64_t head_dim)
    : context_(context),
      query_heads_(query_heads),
      head_dim_(head_dim),
      scratch_(static_cast<size_t>(context.pool->size())),
      split_sums_(static_cast<size_t>(2 * (kSplitParts + kFewRows) * query_heads)),
      split_mix_(static_cast<size_t>(kSplitParts * query_heads * head_dim)) {
  const int64_t queries = std::max(kTileQueries, kFewRows * query_heads);
  for (Scratch& scratch : scratch_) {
    scratch.wide.Reserve(static_cast<size_t>(kKeyBlock * (head_dim + kGap)));
    scratch.scores.Reserve(static_cast<size_t>(queries * kKeyBlock));
    scratch.sums.Reserve(static_cast<size_t>(4 * queries));
    scratch.mix.Reserve(static_cast<size_t>(query_heads * head_dim));
  }
}

void Attention::ReserveForAll() {
  const auto queries = static_cast<size_t>(std::max(kTileQueriesForAll, query_heads_));
  for (Scratch& scratch : scratch_) {
    scratch.scores.Reserve(queries * static_cast<size_t>(kKeyBlock));
    scratch.sums.Reserve(4 * queries);
    for (auto* buffer : {&scratch.mix, &scratch.q}) buffer->Reserve(queries * static_cast<size_t>(head_dim_));
  }
}

MemoryUse Attention::scratch() const {
  MemoryUse use = split_sums_.memory();
  use += split_mix_.memory();
  for (const Scratch& scratch : scratch_)
    for (const auto* buffer : {&scratch.wide, &scratch.scores, &scratch.sums, &scratch.mix, &scratch.q})
      use += buffer->memory();
  return use;
}

void Attention::Run(const KvView& kv, const Queries& queries, float* out) {
  const int64_t rows = queries.rows, threads = context_.pool->size();
  const bool all = queries.all > 0;
  CHECK(kv.head_dim <= head_dim_ && (kv.capacity % kKeyBlock == 0 || Seen(queries, 0, rows).end <= kv.capacity));
  if (all) ReserveForAll();
  if (!all && threads > 1 && rows <= kFewRows && rows * kv.kv_heads < 2 * threads) return RunBlocks(kv, queries, out);
  const int64_t tile_queries = all ? kTileQueriesForAll : kTileQueries;
  const int64_t most_rows = std::max<int64_t>(1, tile_queries * kv.kv_heads / query_heads_);
  RunTiles(kv, queries, std::clamp<int64_t>(rows * kv.kv_heads / (4 * threads), 1, most_rows), out);
}

// Many rows: a thread takes a tile through all of its blocks. Tiles of one head follow each other, as they meet the
// same keys.
void Attention::RunTiles(const KvView& kv, const Queries& queries, int64_t tile_rows, float* out) {
  const int64_t group = query_heads_ / kv.kv_heads, d = kv.head_dim;
  const int64_t tiles = (queries.rows + tile_rows - 1) / tile_rows;
  context_.pool->ParallelFor(tiles * kv.kv_heads, [&](int64_t index, int worker) {
    const int64_t first_row = index % tiles * tile_rows;
    const Tile tile = {first_row, std::min(tile_rows, queries.rows - first_row), index / tiles};
    Scratch& scratch = scratch_[static_cast<size_t>(worker)];
    const int64_t count = tile.rows * group;
    const auto part_of = [&](int64_t row) {
      float* max = scratch.sums.data() + row * group;
      return AttentionPart{max, max + count, scratch.mix.data() + (queries.all > 0 ? row * group * d : 0)};
    };
    const auto merged = [&](int64_t row) {
      float* max = scratch.sums.data() + 2 * count + row * group;
      return AttentionPart{max, max + count, out + ((first_row + row) * query_heads_ + tile.kv_head * group) * d};
    };
    if (queries.all > 0)
      for (int64_t row = 0; row < tile.rows; ++row)
        std::copy_n(queries.q + ((first_row + row) * query_heads_ + tile.kv_head * group) * d, group * d,
                    scratch.q.data() + row * group * d);
    for (int64_t row = 0; row < tile.rows; ++row) Start(merged(row), group, d);
    const Range blocks = BlocksSeen(queries, first_row, tile.rows);
    for (int64_t block = blocks.begin; block < blocks.end; ++block)
      Attend(kv, queries, tile, block, scratch, part_of,
             [&](int64_t row) { context_.kernels->attention_merge(part_of(row), group, d, merged(row)); });
    for (int64_t row = 0; row < tile.rows; ++row) Finish(merged(row), group, d);
  });
}

// Few rows: the threads share the blocks. The parts of some blocks are made in any order, then merged in theirs.
void Attention::RunBlocks(const KvView& kv, const Queries& queries, float* out) {
  const int64_t group = query_heads_ / kv.kv_heads, d = kv.head_dim, rows = queries.rows;
  const Range blocks = BlocksSeen(queries, 0, rows);
  const int64_t at_once = kSplitParts / rows;
  for (int64_t first = blocks.begin; first < blocks.end; first += at_once) {
    const int64_t count = std::min(at_once, blocks.end - first);
    context_.pool->ParallelFor(count * kv.kv_heads, [&](int64_t index, int worker) {
      const int64_t number = index / kv.kv_heads, kv_head = index % kv.kv_heads;
      const auto part_of = [&](int64_t row) { return FromHead(SplitPart(number * rows + row), kv_head * group, d); };
      Attend(kv, queries, {0, rows, kv_head}, first + number, scratch_[static_cast<size_t>(worker)], part_of,
             [](int64_t) {});
    });
    context_.pool->ParallelFor(rows * query_heads_, [&](int64_t index, int) {
      const int64_t row = index / query_heads_, head = index % query_heads_;
      float* max = split_sums_.data() + 2 * (kSplitParts * query_heads_ + index);
      const AttentionPart merged = {max, max + 1, out + index * d};
      if (first == blocks.begin) Start(merged, 1, d);
      for (int64_t number = 0; number < count; ++number)
        if (Seen(queries, row, 1, first + number).count() > 0)
          context_.kernels->attention_merge(FromHead(SplitPart(number * rows + row), head, d), 1, d, merged);
      if (first + count == blocks.end) Finish(merged, 1, d);
    });
  }
}

AttentionPart Attention::SplitPart(int64_t index) {
  float* max = split_sums_.data() + 2 * index * query_heads_;
  return {max, max + query_heads_, split_mix_.data() + index * query_heads_ * head_dim_};
}

template <typename PartOf, typename Done>
void Attention::Attend(const KvView& kv, const Queries& queries, const Tile& tile, int64_t block, Scratch& scratch,
                       const PartOf& part_of, const Done& done) const {
  const kernels::Kernels& kernels = *context_.kernels;
  const int64_t group = query_heads_ / kv.kv_heads, d = kv.head_dim;
  const Range all = Seen(queries, tile.first_row, tile.rows, block);
  const int64_t together = queries.all > 0 ? tile.rows : 1;  // rows that see the same
  const bool widen = tile.rows > 1 && (kv.type != KvType::kF32 || queries.all > 0);
  // Calls body(first of some rows that see the same, their scores, the positions that they see), if they see any.
  const auto for_each_row = [&](const auto& body) {
    for (int64_t row = 0; row < tile.rows; row += together) {
      const Range seen = Seen(queries, tile.first_row + row, together, block);
      if (seen.count() > 0) body(row, scratch.scores.data() + row * group * kKeyBlock, seen);
    }
  };

  KvRows keys = RowsFrom(kv, kv.keys, all.begin, tile.kv_head);
  KvRows values = RowsFrom(kv, kv.values, all.begin, tile.kv_head);
  if (widen) {
    keys = Widen(kernels, keys, all.count(), d, scratch.wide.data());
  } else {  // memory is slow for few rows: what is read next, probably, comes nearer meanwhile
    const int64_t next = (block + context_.pool->size()) * kKeyBlock;
    keys.next = values.data;
    if (next <= queries.first_position) values.next = RowsFrom(kv, kv.keys, next, tile.kv_head).data;
  }
  for_each_row([&](int64_t row, float* scores, const Range& seen) {
    const float* q = queries.all > 0 ? scratch.q.data()
                                     : queries.q + ((tile.first_row + row) * query_heads_ + tile.kv_head * group) * d;
    kernels.attention_scores(q, together * group, d, SkipRows(keys, seen.begin - all.begin), seen.count(), scores);
    kernels.attention_softmax(scores, together * group, seen.count(),
                              ScalesFrom(kv, kv.key_scales, seen.begin, tile.kv_head),
                              ScalesFrom(kv, kv.value_scales, seen.begin, tile.kv_head), part_of(row));
  });
  if (widen) values = Widen(kernels, values, all.count(), d, scratch.wide.data());
  for_each_row([&](int64_t row, const float* p, const Range& seen) {
    kernels.attention_mix(p, together * group, d, SkipRows(values, seen.begin - all.begin), seen.count(),
                          part_of(row).mix);
    for (int64_t i = row; i < row + together; ++i) done(i);
  });
}

}  // namespace carat::ops
