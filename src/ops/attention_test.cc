#include "ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <random>
#include <utility>
#include <vector>

#include "base/float16.h"

namespace carat::ops {
namespace {

// Attention in double precision, straight from its definition. q [rows, heads, d]; k, v [positions, kv_heads, d]. If
// `all` is not 0, all rows see so many positions.
std::vector<double> Reference(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v,
                              int64_t rows, int64_t heads, int64_t kv_heads, int64_t d, int64_t first, int64_t window,
                              int64_t all = 0) {
  std::vector<double> out(q.size(), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t end = all > 0 ? all : first + r + 1, begin = window > 0 ? std::max<int64_t>(0, end - window) : 0;
      const int64_t kv_head = h / (heads / kv_heads);
      std::vector<double> weights;
      double best = -INFINITY, sum = 0;
      for (int64_t j = begin; j < end; ++j) {
        double dot = 0;
        for (int64_t i = 0; i < d; ++i)
          dot += double{q[static_cast<size_t>((r * heads + h) * d + i)]} *
                 k[static_cast<size_t>((j * kv_heads + kv_head) * d + i)];
        weights.push_back(dot);
        best = std::max(best, dot);
      }
      for (double& weight : weights) sum += weight = std::exp(weight - best);
      for (int64_t j = begin; j < end; ++j)
        for (int64_t i = 0; i < d; ++i)
          out[static_cast<size_t>((r * heads + h) * d + i)] +=
              weights[static_cast<size_t>(j - begin)] / sum * v[static_cast<size_t>((j * kv_heads + kv_head) * d + i)];
    }
  }
  return out;
}

// How a row is computed must not show: in any batch, by any number of threads.
std::vector<float> RunInBatches(const KvView& view, const Queries& queries, int64_t heads, int64_t batch, int threads) {
  ThreadPool pool(threads);
  Attention attention({.kernels = kernels::SelectKernels(), .pool = &pool}, heads, view.head_dim);
  const int64_t row = heads * view.head_dim;
  std::vector<float> out(static_cast<size_t>(queries.rows * row));
  for (int64_t first = 0; first < queries.rows; first += batch) {
    const Queries part = {.q = queries.q + first * row,
                          .rows = std::min(batch, queries.rows - first),
                          .first_position = queries.first_position + first,
                          .window = queries.window,
                          .all = queries.all};
    attention.Run(view, part, out.data() + first * row);
  }
  return out;
}

struct Case {
  int64_t rows, heads, kv_heads, d, first, window, capacity;
};

class AttentionTest : public testing::TestWithParam<Case> {
 protected:
  std::vector<float> Random(int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal_(random_);
    return values;
  }
  // [positions, kv_heads, d] in a ring; of int8, `scales` are [kv_heads, capacity].
  static std::vector<std::byte> Ring(const Case& c, kernels::KvType type, const std::vector<float>& values,
                                     const std::vector<float>& scales) {
    const int64_t row = c.kv_heads * c.d;
    std::vector<std::byte> ring(static_cast<size_t>(c.capacity * row * kernels::KvBytes(type)));
    for (int64_t i = 0; i < static_cast<int64_t>(values.size()); ++i) {
      const int64_t place = i / row % c.capacity * row + i % row;
      const float value = values[static_cast<size_t>(i)];
      if (type == kernels::KvType::kF32) reinterpret_cast<float*>(ring.data())[place] = value;
      if (type == kernels::KvType::kF16) reinterpret_cast<uint16_t*>(ring.data())[place] = FloatToF16(value);
      if (type == kernels::KvType::kI8) {
        const float scale = scales[static_cast<size_t>(i % row / c.d * c.capacity + i / row % c.capacity)];
        reinterpret_cast<int8_t*>(ring.data())[place] = static_cast<int8_t>(std::lround(value / scale));
      }
    }
    return ring;
  }

  std::mt19937 random_{7};
  std::normal_distribution<float> normal_;
};

TEST_P(AttentionTest, MatchesTheDefinitionInAnyBatchAndForAnyThreadCount) {
  const Case c = GetParam();
  const int64_t positions = c.first + c.rows, row = c.kv_heads * c.d;
  const std::vector<float> q = Random(c.rows * c.heads * c.d), k = Random(positions * row), v = Random(positions * row);
  const std::vector<double> expected = Reference(q, k, v, c.rows, c.heads, c.kv_heads, c.d, c.first, c.window);
  std::vector<float> scales = Random(c.kv_heads * c.capacity);
  for (float& scale : scales) scale = 0.05f + 0.01f * std::tanh(scale);
  for (const auto& [type, tolerance] : {std::pair(kernels::KvType::kF32, 4e-6), std::pair(kernels::KvType::kF16, 8e-3),
                                        std::pair(kernels::KvType::kI8, 0.3)}) {
    const std::vector<std::byte> ring_k = Ring(c, type, k, scales), ring_v = Ring(c, type, v, scales);
    const bool coded = type == kernels::KvType::kI8;
    const KvView view = {.keys = ring_k.data(),
                         .values = ring_v.data(),
                         .type = type,
                         .capacity = c.capacity,
                         .kv_heads = c.kv_heads,
                         .head_dim = c.d,
                         .key_scales = coded ? scales.data() : nullptr,
                         .value_scales = coded ? scales.data() : nullptr};
    const Queries queries = {.q = q.data(), .rows = c.rows, .first_position = c.first, .window = c.window};
    const std::vector<float> whole = RunInBatches(view, queries, c.heads, c.rows, 1);
    for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(whole[i], expected[i], tolerance) << i;
    for (const int threads : {1, 3})
      for (const int64_t batch : {int64_t{1}, int64_t{3}, int64_t{14}, c.rows})
        ASSERT_EQ(RunInBatches(view, queries, c.heads, batch, threads), whole) << threads << " threads, " << batch;
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         testing::Values(Case{1, 8, 1, 16, 0, 0, 64}, Case{1, 8, 1, 16, 40, 8, 128},
                                         Case{7, 6, 3, 10, 233, 7, 128}, Case{5, 4, 2, 12, 0, 3, 9},
                                         Case{9, 4, 4, 8, 30, 0, 64}, Case{1, 5, 1, 7, 140, 12, 128},
                                         Case{70, 8, 1, 24, 2500, 0, 2688}, Case{40, 8, 2, 20, 1000, 300, 384},
                                         Case{130, 9, 1, 16, 0, 100, 256}));

// As in an encoder: every row sees every position, and the rows of a tile meet a block together.
TEST(Attention, RowsMaySeeAllPositions) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  const auto make = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(random);
    return values;
  };
  for (const auto& [rows, heads, kv_heads, d] :
       {std::array<int64_t, 4>{9, 3, 3, 16}, {130, 4, 2, 20}, {261, 3, 3, 64}, {300, 12, 1, 64}}) {
    const std::vector<float> q = make(rows * heads * d), k = make(rows * kv_heads * d), v = make(rows * kv_heads * d);
    const std::vector<double> expected = Reference(q, k, v, rows, heads, kv_heads, d, 0, 0, rows);
    const KvView view = {.keys = reinterpret_cast<const std::byte*>(k.data()),
                         .values = reinterpret_cast<const std::byte*>(v.data()),
                         .type = kernels::KvType::kF32,
                         .capacity = rows,
                         .kv_heads = kv_heads,
                         .head_dim = d};
    const Queries queries = {.q = q.data(), .rows = rows, .all = rows};
    const std::vector<float> whole = RunInBatches(view, queries, heads, rows, 1);
    for (size_t i = 0; i < whole.size(); ++i) ASSERT_NEAR(whole[i], expected[i], 1e-5) << i;
    for (const int threads : {1, 3})
      for (const int64_t batch : {int64_t{1}, int64_t{5}, rows})
        ASSERT_EQ(RunInBatches(view, queries, heads, batch, threads), whole) << threads << " threads, " << batch;

    // Heads by themselves.
    std::vector<float> k_heads(k.size()), v_heads(v.size());
    for (int64_t i = 0; i < static_cast<int64_t>(k.size()); ++i) {
      const auto place = static_cast<size_t>((i / d % kv_heads * rows + i / d / kv_heads) * d + i % d);
      k_heads[place] = k[static_cast<size_t>(i)];
      v_heads[place] = v[static_cast<size_t>(i)];
    }
    KvView by_head = view;
    by_head.keys = reinterpret_cast<const std::byte*>(k_heads.data());
    by_head.values = reinterpret_cast<const std::byte*>(v_heads.data());
    by_head.by_head = true;
    ASSERT_EQ(RunInBatches(by_head, queries, heads, rows, 2), whole);

    ThreadPool pool(2);  // in place of the queries
    std::vector<float> in_place = q;
    Attention attention({.kernels = kernels::SelectKernels(), .pool = &pool}, heads, d);
    attention.Run(view, {.q = in_place.data(), .rows = rows, .all = rows}, in_place.data());
    ASSERT_EQ(in_place, whole);
  }
}

}  // namespace
}  // namespace carat::ops
