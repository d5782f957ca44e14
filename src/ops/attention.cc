#include "ops/attention.h"

#include <algorithm>

namespace carat::ops {

namespace {

void Scale(float* x, int64_t n, float scale) {
  if (scale == 1.0f) return;
  for (int64_t i = 0; i < n; ++i) x[i] *= scale;
}

}  // namespace

Attention::Attention(const Context& context, int64_t query_heads, int64_t max_keys)
    : context_(context), query_heads_(query_heads), scores_(static_cast<size_t>(context.pool->size())) {
  // Pages of a long context that are never used are never resident.
  for (AlignedBuffer<float>& scores : scores_) scores.Reserve(static_cast<size_t>(query_heads * max_keys));
}

uint64_t Attention::scratch_bytes() const {
  uint64_t bytes = 0;
  for (const AlignedBuffer<float>& scores : scores_) bytes += scores.resident_bytes();
  return bytes;
}

void Attention::Run(const KvView& kv, int64_t window, const float* q, int64_t rows, int64_t first_position,
                    float* out) {
  const int64_t group = query_heads_ / kv.kv_heads;  // query heads that share a K/V head, and so its loads
  // With few rows (decoding), a group is cut so that every thread gets a share.
  const int64_t shares =
      rows * kv.kv_heads >= 2 * context_.pool->size() ? 1 : std::min<int64_t>(group, context_.pool->size());
  const int64_t heads_per_share = (group + shares - 1) / shares;
  context_.pool->ParallelFor(rows * kv.kv_heads * shares, [&](int64_t index, int worker) {
    const int64_t row = index / (kv.kv_heads * shares);
    const int64_t kv_head = index / shares % kv.kv_heads;
    const int64_t first_head = kv_head * group + index % shares * heads_per_share;
    const int64_t heads = std::min(heads_per_share, (kv_head + 1) * group - first_head);
    if (heads <= 0) return;
    const int64_t end_key = first_position + row + 1;
    const int64_t first_key = window > 0 ? std::max<int64_t>(0, end_key - window) : 0;
    const int64_t offset = (row * query_heads_ + first_head) * kv.head_dim;
    RunHeads(kv, first_key, end_key, kv_head, q + offset, heads, scores_[static_cast<size_t>(worker)].data(),
             out + offset);
  });
}

void Attention::RunHeads(const KvView& kv, int64_t first_key, int64_t end_key, int64_t kv_head, const float* q,
                         int64_t heads, float* scores, float* out) const {
  const int64_t keys = end_key - first_key;
  const int64_t stride = kv.kv_heads * kv.head_dim;
  const int64_t element_bytes = kernels::KvBytes(kv.type);
  // Calls body(first row in the cache, number of rows, first index among the visible keys) for each unbroken run of the
  // ring.
  const auto for_each_run = [&](auto body) {
    for (int64_t done = 0; done < keys;) {
      const int64_t row = (first_key + done) % kv.capacity;
      const int64_t count = std::min(keys - done, kv.capacity - row);
      body((row * stride + kv_head * kv.head_dim) * element_bytes, count, done);
      done += count;
    }
  };
  for_each_run([&](int64_t byte_offset, int64_t count, int64_t done) {
    context_.kernels->attention_scores(q, kv.head_dim, heads, kv.head_dim, kv.keys + byte_offset, kv.type, stride,
                                       count, scores + done, keys);
  });
  Scale(scores, heads * keys, kv.key_scale);
  for (int64_t head = 0; head < heads; ++head) context_.kernels->softmax(scores + head * keys, keys);
  std::fill_n(out, heads * kv.head_dim, 0.0f);
  for_each_run([&](int64_t byte_offset, int64_t count, int64_t done) {
    context_.kernels->attention_mix(scores + done, keys, heads, kv.head_dim, kv.values + byte_offset, kv.type, stride,
                                    count, out, kv.head_dim);
  });
  Scale(out, heads * kv.head_dim, kv.value_scale);
}

}  // namespace carat::ops
