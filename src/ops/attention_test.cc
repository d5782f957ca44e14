#include "ops/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

namespace carat::ops {
namespace {

// Attention in double precision, straight from its definition. q [rows, heads, d]; k, v [positions, kv_heads, d].
std::vector<double> Reference(const std::vector<float>& q, const std::vector<float>& k, const std::vector<float>& v,
                              int64_t rows, int64_t heads, int64_t kv_heads, int64_t d, int64_t first, int64_t window) {
  std::vector<double> out(q.size(), 0.0);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t end = first + r + 1, begin = window > 0 ? std::max<int64_t>(0, end - window) : 0;
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

struct Case {
  int64_t rows, heads, kv_heads, d, first, window, capacity;
};

class AttentionTest : public testing::TestWithParam<Case> {};

TEST_P(AttentionTest, MatchesTheDefinitionOnRingsAndForAnyThreadCount) {
  const Case c = GetParam();
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto fill = [&](int64_t count) {
    std::vector<float> values(static_cast<size_t>(count));
    for (float& value : values) value = normal(random);
    return values;
  };
  const int64_t positions = c.first + c.rows, row = c.kv_heads * c.d;
  const std::vector<float> q = fill(c.rows * c.heads * c.d), k = fill(positions * row), v = fill(positions * row);
  std::vector<float> ring_k(static_cast<size_t>(c.capacity * row)), ring_v = ring_k;
  for (int64_t p = 0; p < positions; ++p) {
    std::copy_n(k.begin() + p * row, row, ring_k.begin() + p % c.capacity * row);
    std::copy_n(v.begin() + p * row, row, ring_v.begin() + p % c.capacity * row);
  }
  const KvView view = {.keys = reinterpret_cast<const std::byte*>(ring_k.data()),
                       .values = reinterpret_cast<const std::byte*>(ring_v.data()),
                       .type = kernels::KvType::kF32,
                       .capacity = c.capacity,
                       .kv_heads = c.kv_heads,
                       .head_dim = c.d};
  const std::vector<double> expected = Reference(q, k, v, c.rows, c.heads, c.kv_heads, c.d, c.first, c.window);
  std::vector<float> first_result;
  for (const int threads : {1, 3}) {
    ThreadPool pool(threads);
    const Context context = {.kernels = kernels::SelectKernels(), .pool = &pool};
    Attention attention(context, c.heads, positions);
    std::vector<float> out(q.size());
    attention.Run(view, c.window, q.data(), c.rows, c.first, out.data());
    for (size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], 2e-6) << i;
    if (first_result.empty()) first_result = out;
    EXPECT_EQ(out, first_result);
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, AttentionTest,
                         testing::Values(Case{1, 8, 1, 16, 0, 0, 64}, Case{1, 8, 1, 16, 40, 8, 20},
                                         Case{7, 6, 3, 10, 33, 7, 21}, Case{5, 4, 2, 12, 0, 3, 9},
                                         Case{9, 4, 4, 8, 30, 0, 64}, Case{1, 5, 1, 7, 11, 12, 12}));

}  // namespace
}  // namespace carat::ops
