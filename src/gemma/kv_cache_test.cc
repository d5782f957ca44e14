#include "gemma/kv_cache.h"

#include <gtest/gtest.h>

#include <limits>

namespace carat::gemma {
namespace {

// One sliding owner, one global owner, and a layer of each kind that shares.
DecoderConfig TwoOwners() {
  DecoderConfig config;
  config.window = 8;
  for (const LayerKind kind : {LayerKind::kSliding, LayerKind::kGlobal, LayerKind::kSliding, LayerKind::kGlobal})
    config.layers.push_back(
        {.kind = kind, .head_dim = kind == LayerKind::kGlobal ? 4 : 2, .kv_heads = 1, .ff_width = 1});
  AssignKvLayers(config, 2);
  return config;
}

const kernels::Kernels& Scalar() { return *kernels::SelectKernels("scalar"); }

void WriteTokens(KvCache& cache, int64_t count) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = cache.length() + i;
    const std::vector<float> k(4, static_cast<float>(position)), v(4, -static_cast<float>(position));
    EXPECT_TRUE(cache.Write(0, position, k.data(), v.data(), Scalar()));
    EXPECT_TRUE(cache.Write(1, position, k.data(), v.data(), Scalar()));
  }
  cache.Extend(count);
}

float KeyAt(const KvCache& cache, int layer, int64_t position) {
  const ops::KvView view = cache.View(layer);
  return reinterpret_cast<const float*>(view.keys)[position % view.capacity * view.head_dim * view.kv_heads];
}

TEST(KvCache, SharedLayersReadTheLastOwnerOfTheirKind) {
  const DecoderConfig config = TwoOwners();
  EXPECT_EQ(config.layers[2].kv_layer, 0);
  EXPECT_EQ(config.layers[3].kv_layer, 1);
  EXPECT_EQ(config.LastOwner(), 1);
  auto cache = KvCache::Create(config, kernels::KvType::kF32, 4096, 16);
  ASSERT_TRUE(cache);
  WriteTokens(*cache, 3);
  EXPECT_EQ(KeyAt(*cache, 2, 2), 2.0f);
  EXPECT_EQ(cache->View(2).keys, cache->View(0).keys);
  EXPECT_EQ(cache->View(3).keys, cache->View(1).keys);
}

TEST(KvCache, TheRingKeepsTheWindowWhileABatchIsWritten) {
  const DecoderConfig config = TwoOwners();
  auto cache = KvCache::Create(config, kernels::KvType::kF32, 4096, 16);
  ASSERT_TRUE(cache);
  for (int batch = 0; batch < 40; ++batch) {
    WriteTokens(*cache, 16);
    // The first token of the batch sees the 7 before it.
    const int64_t first = cache->length() - 16;
    for (int64_t position = std::max<int64_t>(0, first - 7); position < cache->length(); ++position)
      ASSERT_EQ(KeyAt(*cache, 0, position), static_cast<float>(position));
    ASSERT_EQ(KeyAt(*cache, 1, 0), 0.0f);  // the global layer forgets nothing
    ASSERT_EQ(KeyAt(*cache, 1, first), static_cast<float>(first));
  }
  EXPECT_EQ(cache->View(0).capacity, 128);  // 8 + 16 + 64 positions in blocks of 128
}

TEST(KvCache, ShortRollbacksAreFreeAndLongOnesAreRefused) {
  const DecoderConfig config = TwoOwners();
  auto cache = KvCache::Create(config, kernels::KvType::kF32, 4096, 16);
  ASSERT_TRUE(cache);
  for (int batch = 0; batch < 20; ++batch) WriteTokens(*cache, 16);
  const int64_t capacity = cache->View(0).capacity;
  EXPECT_TRUE(cache->CanTruncate(320 - 64));
  // The next token, at n, needs n-7 and later; the ring holds the last `capacity` of 320.
  const int64_t oldest = 320 - capacity + 7;
  EXPECT_TRUE(cache->CanTruncate(oldest));
  EXPECT_FALSE(cache->CanTruncate(oldest - 1));
  EXPECT_TRUE(cache->CanTruncate(0));
  cache->Truncate(300);
  EXPECT_EQ(cache->length(), 300);
  EXPECT_FALSE(cache->CanTruncate(oldest - 1)) << "what was overwritten stays lost after a rollback";
  WriteTokens(*cache, 16);
  EXPECT_EQ(KeyAt(*cache, 0, 300), 300.0f);
  EXPECT_EQ(KeyAt(*cache, 0, 299), 299.0f);
}

TEST(KvCache, WhatABatchThatFailedOverwroteStaysLost) {
  const DecoderConfig config = TwoOwners();
  auto cache = KvCache::Create(config, kernels::KvType::kF32, 4096, 16);
  ASSERT_TRUE(cache);
  for (int i = 0; i < 20; ++i) WriteTokens(*cache, 16);
  const int64_t oldest = 320 - cache->View(0).capacity + 7;
  ASSERT_TRUE(cache->CanTruncate(oldest));
  cache->WillWrite(16);  // and is never extended
  EXPECT_EQ(cache->length(), 320);
  EXPECT_FALSE(cache->CanTruncate(oldest));
  EXPECT_TRUE(cache->CanTruncate(oldest + 16));
}

TEST(KvCache, HalfPrecisionHalvesTheBytes) {
  const DecoderConfig config = TwoOwners();
  auto full = KvCache::Create(config, kernels::KvType::kF32, 8192, 16);
  auto half = KvCache::Create(config, kernels::KvType::kF16, 8192, 16);
  ASSERT_TRUE(full);
  ASSERT_TRUE(half);
  // Of the global layer; both rings fit on a page.
  EXPECT_EQ(full->reserved_bytes() - half->reserved_bytes(), 8192u * 4 * 2 * 2);
  EXPECT_EQ(full->resident_bytes(), 0u);
  WriteTokens(*half, 2);
  EXPECT_GT(half->resident_bytes(), 0u);
  EXPECT_LE(half->resident_bytes(), half->reserved_bytes());
}

TEST(KvCache, CountsWhatTheNextTokenReads) {
  const DecoderConfig config = TwoOwners();  // layers 2 and 3 read what 0 and 1 own; rows of 2 and 4 numbers
  auto cache = KvCache::Create(config, kernels::KvType::kF32, 4096, 16);
  ASSERT_TRUE(cache);
  EXPECT_EQ(cache->attended_bytes(cache->length()), 2u * 2 * (2 + 4) * 4);
  WriteTokens(*cache, 100);
  EXPECT_EQ(cache->attended_bytes(cache->length()), 2u * 2 * (8 * 2 + 101 * 4) * 4) << "of the window's 8 and of all";
}

TEST(KvCache, EightBitsKeepCodesOfTheScalesOfTheLayer) {
  const DecoderConfig config = TwoOwners();
  const std::vector<KvScales> scales = {{0.5f, 0.25f}, {2.0f, 1.0f}, {}, {}};
  auto cache = KvCache::Create(config, kernels::KvType::kI8, 4096, 16, scales);
  ASSERT_TRUE(cache);
  WriteTokens(*cache, 8);
  const ops::KvView sliding = cache->View(2), global = cache->View(3);  // as the layers that share see them
  EXPECT_EQ(sliding.key_scales[7], 0.5f);
  EXPECT_EQ(global.value_scales[5], 1.0f);
  EXPECT_EQ(reinterpret_cast<const int8_t*>(sliding.keys)[7 * 2], 14);
  EXPECT_EQ(reinterpret_cast<const int8_t*>(sliding.values)[7 * 2 + 1], -28);
  EXPECT_EQ(reinterpret_cast<const int8_t*>(global.keys)[5 * 4], 2);  // 2.5 steps, to even
}

// Without static scales the largest number of each row and head has code 127.
TEST(KvCache, EightBitsHaveScalesOfTheirOwnForRowsAndHeads) {
  DecoderConfig config = TwoOwners();
  for (LayerConfig& layer : config.layers) layer.kv_heads = 2;
  auto cache = KvCache::Create(config, kernels::KvType::kI8, 4096, 16);
  ASSERT_TRUE(cache);
  const float k[] = {12.7f, -0.1f, 0.0f, 0.3f, 0.0f, 0.0f, 0.0f, 0.0f}, v[] = {-254, 1, 2, 3, 1e-3f, 0, 0, 0};
  ASSERT_TRUE(cache->Write(1, 3, k, v, Scalar()));
  const ops::KvView view = cache->View(1);
  const auto* keys = reinterpret_cast<const int8_t*>(view.keys) + 3 * 8;
  const auto* values = reinterpret_cast<const int8_t*>(view.values) + 3 * 8;
  EXPECT_EQ((std::vector<int>(keys, keys + 8)), (std::vector<int>{127, -1, 0, 3, 0, 0, 0, 0}));
  EXPECT_EQ((std::vector<int>(values, values + 8)), (std::vector<int>{-127, 0, 1, 2, 127, 0, 0, 0}));
  EXPECT_EQ(view.key_scales[3], 12.7f / 127);
  EXPECT_GT(view.key_scales[view.capacity + 3], 0.0f) << "a head of zeros needs a number all the same";
  EXPECT_EQ(view.value_scales[3], 2.0f);
  EXPECT_EQ(view.value_scales[view.capacity + 3], 1e-3f / 127);
}

TEST(KvCache, EightBitsHoldNoNan) {
  const DecoderConfig config = TwoOwners();
  const std::vector<KvScales> scales(4, {.key = 0.5f, .value = 0.25f});
  const float number[4] = {1, 2, 3, 4}, nan[4] = {1, 2, 3, std::numeric_limits<float>::quiet_NaN()};
  const float infinity[4] = {1, -std::numeric_limits<float>::infinity(), 3, 4};
  auto bytes = KvCache::Create(config, kernels::KvType::kI8, 64, 4, scales);
  auto dynamic = KvCache::Create(config, kernels::KvType::kI8, 64, 4);
  auto floats = KvCache::Create(config, kernels::KvType::kF32, 64, 4);
  ASSERT_TRUE(bytes && dynamic && floats);
  for (const kernels::Kernels* table : kernels::AllKernels()) {
    if (!kernels::Supported(*table)) continue;
    EXPECT_TRUE(bytes->Write(1, 0, number, number, *table));
    EXPECT_FALSE(bytes->Write(1, 1, nan, number, *table));
    EXPECT_FALSE(bytes->Write(1, 1, number, nan, *table));
    EXPECT_TRUE(floats->Write(1, 1, nan, nan, *table));
    EXPECT_TRUE(dynamic->Write(1, 0, number, number, *table));
    EXPECT_FALSE(dynamic->Write(1, 1, nan, number, *table));
    EXPECT_FALSE(dynamic->Write(1, 1, number, infinity, *table));
  }
}

}  // namespace
}  // namespace carat::gemma
