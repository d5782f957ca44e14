// Attention of query heads over the keys and values of one KV head.
#include <cmath>
#include <cstring>

#include "base/float16.h"
#include "kernels/reference/reference.h"
#include "kernels/reference/sum.h"

namespace carat::kernels::reference {
namespace {

float Element(const void* data, KvType type, int64_t i) {
  if (type == KvType::kF32) return static_cast<const float*>(data)[i];
  if (type == KvType::kI8) return static_cast<float>(static_cast<const int8_t*>(data)[i]);
  return F16ToFloat(static_cast<const uint16_t*>(data)[i]);
}

}  // namespace

void AttentionScores(const float* q, int64_t q_stride, int64_t heads, int64_t d, const void* keys, KvType type,
                     int64_t kv_stride, int64_t n, float* scores, int64_t scores_stride) {
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t j = 0; j < n; ++j)
      scores[h * scores_stride + j] = FloatDot([&](int64_t i) { return Element(keys, type, j * kv_stride + i); },
                                               [&](int64_t i) { return q[h * q_stride + i]; }, d);
}

void AttentionMix(const float* p, int64_t p_stride, int64_t heads, int64_t d, const void* values, KvType type,
                  int64_t kv_stride, int64_t n, float* out, int64_t out_stride) {
  for (int64_t h = 0; h < heads; ++h)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t i = 0; i < d; ++i) {
        float& sum = out[h * out_stride + i];
        sum = std::fma(p[h * p_stride + j], Element(values, type, j * kv_stride + i), sum);
      }
}

}  // namespace carat::kernels::reference
