#include "gemma/operations.h"

#include <gtest/gtest.h>

namespace carat::gemma {
namespace {

constexpr int64_t kHidden = 1536, kPleWidth = 256, kVocabulary = 262144;
constexpr int kLayers = 35, kOwners = 15;

ops::Matrix Shape(int64_t rows, int64_t cols, quant::Type type = quant::Type::kQ4_0) {
  return {.type = type, .rows = rows, .cols = cols};
}

// The shapes of E2B, without weights: four sliding layers, then a global one, seven times.
Model E2b() {
  Model model;
  model.config.hidden = kHidden;
  model.config.query_heads = 8;
  model.config.window = 512;
  model.config.ple_width = kPleWidth;
  for (int index = 0; index < kLayers; ++index) {
    const bool global = index % 5 == 4;
    const int64_t head_dim = global ? 512 : 256;
    const int64_t ff_width = index < kOwners ? 6144 : 12288;
    model.config.layers.push_back({.kind = global ? LayerKind::kGlobal : LayerKind::kSliding,
                                   .head_dim = head_dim,
                                   .kv_heads = 1,
                                   .ff_width = ff_width});
    LayerWeights& w = model.layers.emplace_back();
    w.q = Shape(8 * head_dim, kHidden);
    w.o = Shape(kHidden, 8 * head_dim);
    if (index < kOwners) w.k = w.v = Shape(head_dim, kHidden);
    w.gate = w.up = Shape(ff_width, kHidden);
    w.down = Shape(kHidden, ff_width);
    w.ple_gate = Shape(kPleWidth, kHidden);
    w.ple_projection = Shape(kHidden, kPleWidth);
  }
  AssignKvLayers(model.config, kLayers - kOwners);
  model.ple_context = Shape(kLayers * kPleWidth, kHidden);
  model.head = Shape(kVocabulary, kHidden);
  return model;
}

// The numbers of parameters are those of the published model: 2,279.5 million that a token meets.
TEST(Operations, TheLastTokenMeetsAllWeights) {
  const Operations one = CountOperations(E2b(), /*exact=*/false, 0, 1);
  EXPECT_NEAR(static_cast<double>(one.blocks), 2 * 2279.5e6, 0.1e6);
  EXPECT_EQ(one.floating, 4u * 8 * (28 * 256 + 7 * 512)) << "one key in each layer";
}

TEST(Operations, OthersTakeTheShortcut) {
  const Model model = E2b();
  const Operations few = CountOperations(model, false, 0, 512), more = CountOperations(model, false, 0, 513);
  // Layers 0 to 13 and their slices of the per-layer inputs, and K and V of layer 14.
  EXPECT_EQ(more.blocks - few.blocks, 2u * (12 * 36'175'872 + 2 * 43'253'760 + 1'572'864 + 14 * 256 * 1536));
}

TEST(Operations, AttentionEndsAtTheWindowAndAtTheLastToken) {
  const Model model = E2b();
  const Operations one = CountOperations(model, false, 600, 1);
  EXPECT_EQ(one.floating, 4u * 8 * (28 * 256 * 512 + 7 * 512 * 601));
  const Operations two = CountOperations(model, false, 599, 2);
  EXPECT_EQ(two.floating - one.floating, 4u * 8 * (12 * 256 * 512 + 2 * 512 * 600));
}

TEST(Operations, FloatsAreCountedApart) {
  Model model = E2b();
  const Operations rounded = CountOperations(model, false, 0, 1);
  model.head.type = quant::Type::kBF16;
  const Operations mixed = CountOperations(model, false, 0, 1), exact = CountOperations(model, true, 0, 1);
  EXPECT_EQ(rounded.blocks - mixed.blocks, 2u * kVocabulary * kHidden);
  EXPECT_EQ(mixed.floating - rounded.floating, 2u * kVocabulary * kHidden);
  EXPECT_EQ(exact.blocks, 0u);
  EXPECT_EQ(exact.floating, rounded.total());
  model.head.input_scale = 1;  // static rounding is part of the model
  EXPECT_EQ(CountOperations(model, true, 0, 1).integer, 2u * kVocabulary * kHidden);
}

// E2B's tower: 16 layers of 768 and 3072 numbers, 12 heads of 64.
TEST(Operations, OfAPicture) {
  VisionModel model;
  model.config = {.hidden = 768, .text_hidden = kHidden, .query_heads = 12, .head_dim = 64, .pooling = 3, .rope = {}};
  model.patch = Shape(768, 768, quant::Type::kBF16);
  model.projection = Shape(kHidden, 768, quant::Type::kBF16);
  for (int layer = 0; layer < 16; ++layer) {
    VisionLayerWeights& w = model.layers.emplace_back();
    for (ClippedLinear* linear : {&w.q, &w.k, &w.v, &w.o}) linear->weight = Shape(768, 768, quant::Type::kQ8_0);
    for (ClippedLinear* linear : {&w.gate, &w.up}) linear->weight = Shape(3072, 768, quant::Type::kQ8_0);
    w.down.weight = Shape(768, 3072, quant::Type::kQ8_0);
  }
  const Operations picture = CountOperations(model, false, 2520);
  EXPECT_EQ(picture.blocks, 301'989'888ull * 2520);
  EXPECT_EQ(picture.floating, 49'152ull * 2520 * 2520 + 1'179'648ull * 2520 + 2ull * 280 * 768 * kHidden);
}

TEST(Operations, NothingTakesNothing) {
  const Operations none = CountOperations(E2b(), false, 7, 0);
  EXPECT_EQ(none.total(), 0u);
}

}  // namespace
}  // namespace carat::gemma
