// Attention of query heads over the keys and values of one KV head, one block of positions at a time.
#include <cmath>

#include "base/float16.h"
#include "kernels/reference/exp.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/sum.h"

namespace carat::kernels::reference {
namespace {

float Element(const KvRows& rows, int64_t j, int64_t i) {
  const int64_t index = j * rows.stride + i;
  if (rows.type == KvType::kF32) return static_cast<const float*>(rows.data)[index];
  if (rows.type == KvType::kI8) return static_cast<float>(static_cast<const int8_t*>(rows.data)[index]);
  return F16ToFloat(static_cast<const uint16_t*>(rows.data)[index]);
}

}  // namespace

void AttentionScores(const float* q, int64_t heads, int64_t d, const KvRows& keys, int64_t n, float* scores) {
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t j = 0; j < n; ++j)
      scores[h * kKeyBlock + j] =
          FloatDot([&](int64_t i) { return Element(keys, j, i); }, [&](int64_t i) { return q[h * d + i]; }, d);
}

void AttentionSoftmax(float* scores, int64_t heads, int64_t n, const float* key_scale, const float* value_scale,
                      const AttentionPart& part) {
  for (int64_t h = 0; h < heads; ++h) {
    float* p = scores + h * kKeyBlock;
    float max = -INFINITY;
    for (int64_t j = 0; j < n; ++j) {
      if (key_scale != nullptr) p[j] *= key_scale[j];
      max = p[j] > max ? p[j] : max;
    }
    max += 0.0f;  // a zero has one sign, whichever was met first
    float lanes[16] = {};
    for (int64_t j = 0; j < n; ++j) {
      p[j] = Exp(p[j] - max);
      lanes[j % 16] += p[j];
      if (value_scale != nullptr) p[j] *= value_scale[j];
    }
    part.max[h] = max;
    part.sum[h] = TreeSum(lanes, 16);
  }
}

void AttentionMix(const float* p, int64_t heads, int64_t d, const KvRows& values, int64_t n, float* mix) {
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t i = 0; i < d; ++i) {
      float sum = 0;
      for (int64_t j = 0; j < n; ++j) sum = std::fma(p[h * kKeyBlock + j], Element(values, j, i), sum);
      mix[h * d + i] = sum;
    }
}

void AttentionMerge(const AttentionPart& part, int64_t heads, int64_t d, const AttentionPart& merged) {
  for (int64_t h = 0; h < heads; ++h) {
    const float max = part.max[h] > merged.max[h] ? part.max[h] : merged.max[h];
    const float a = Exp(merged.max[h] - max), b = Exp(part.max[h] - max);
    merged.max[h] = max;
    merged.sum[h] = std::fma(part.sum[h], b, merged.sum[h] * a);
    for (int64_t i = h * d; i < (h + 1) * d; ++i) merged.mix[i] = std::fma(part.mix[i], b, merged.mix[i] * a);
  }
}

}  // namespace carat::kernels::reference
