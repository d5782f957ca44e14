// Attention of query rows over cached keys and values.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/kernels.h"
#include "ops/context.h"

namespace carat::ops {

// K and V of one layer: position p is row p % capacity of each, [capacity, kv_heads, head_dim]. A view.
struct KvView {
  const std::byte* keys = nullptr;
  const std::byte* values = nullptr;
  kernels::KvType type = kernels::KvType::kF32;
  int64_t capacity = 0;
  int64_t kv_heads = 0, head_dim = 0;
  float key_scale = 1, value_scale = 1;  // what the elements are times
};

class Attention {
 public:
  // max_keys: the most keys that a query can see.
  Attention(const Context& context, int64_t query_heads, int64_t max_keys);

  // out[r] = softmax(q[r] . k) v over the keys that query r, at position first_position + r, sees: all positions up to
  // its own, or the last `window` of them (0: all). q and out are [rows, query_heads, head_dim]; query head h reads K/V
  // head h / (query_heads / kv_heads). No scale is applied.
  void Run(const KvView& kv, int64_t window, const float* q, int64_t rows, int64_t first_position, float* out);
  uint64_t scratch_bytes() const;

 private:
  void RunHeads(const KvView& kv, int64_t first_key, int64_t end_key, int64_t kv_head, const float* q, int64_t heads,
                float* scores, float* out) const;

  Context context_;
  int64_t query_heads_;
  std::vector<AlignedBuffer<float>> scores_;  // of each worker: [heads, keys]
};

}  // namespace carat::ops
