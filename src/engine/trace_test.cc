#include "engine/trace.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace carat {
namespace {

using Shape = std::vector<int64_t>;

std::shared_ptr<const Engine> Load(const std::string& name) {
  const auto engine = Engine::Load(std::string(CARAT_SOURCE_DIR) + "/tests/data/golden/" + name, {.threads = 1});
  EXPECT_TRUE(engine) << engine.error().message;
  return *engine;
}

std::vector<std::string> Names(const std::vector<TraceTensor>& tensors) {
  std::vector<std::string> names;
  names.reserve(tensors.size());
  for (const TraceTensor& tensor : tensors) names.push_back(tensor.name);
  return names;
}

// 6 layers, hidden 22, PLE width 6, vocabulary 50; layer 2 is the last that owns K and V.
constexpr const char* kE2b = "hf-e2b/model";
const std::vector<TokenId> kIds = {2, 7, 11, 3, 29, 41, 5};

TEST(TraceTest, HasAllActivationsInTheOrderOfTheModel) {
  const auto trace = TraceTokens(Load(kE2b), kIds, {.chunk = 3, .generate = 4});
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(Names(*trace), (std::vector<std::string>{"embed", "ple", "layer.0", "layer.1", "layer.2", "layer.3",
                                                     "layer.4", "layer.5", "final_norm", "logits", "greedy_ids"}));
  EXPECT_EQ(trace->at(0).shape, (Shape{7, 22}));
  EXPECT_EQ(trace->at(1).shape, (Shape{7, 6, 6}));
  EXPECT_EQ(trace->at(7).shape, (Shape{7, 22}));
  EXPECT_EQ(trace->at(8).shape, (Shape{7, 22}));
  EXPECT_EQ(trace->at(9).shape, (Shape{7, 50}));
  EXPECT_EQ(trace->at(10).shape, (Shape{4}));
  for (const TraceTensor& tensor : *trace) {
    size_t count = 1;
    for (const int64_t extent : tensor.shape) count *= static_cast<size_t>(extent);
    EXPECT_EQ(tensor.ids.empty() ? tensor.values.size() : tensor.ids.size(), count) << tensor.name;
  }
}

TEST(TraceTest, TheShortcutComputesTheLastTokenOnlyWhereNoOtherIsNeeded) {
  for (const int chunk : {0, 3}) {  // the last chunk is of one token
    const auto trace = TraceTokens(Load(kE2b), kIds, {.chunk = chunk, .shortcut = true});
    ASSERT_TRUE(trace) << trace.error().message;
    EXPECT_EQ(Names(*trace), (std::vector<std::string>{"embed", "layer.0", "layer.1", "layer.2", "layer.3", "layer.4",
                                                       "layer.5", "final_norm", "logits"}));
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(trace->at(i).shape, (Shape{7, 22}));
    for (size_t i = 3; i < 8; ++i) EXPECT_EQ(trace->at(i).shape, (Shape{1, 22}));
    EXPECT_EQ(trace->at(8).shape, (Shape{1, 50}));
  }
}

TEST(TraceTest, WithoutPerLayerEmbeddingsThereIsNoPle) {
  const auto trace = TraceTokens(Load("hf-text-f16/model"), kIds);
  ASSERT_TRUE(trace) << trace.error().message;
  EXPECT_EQ(trace->at(1).name, "layer.0");
}

TEST(TraceTest, RefusesWhatItCannotCompute) {
  const auto engine = Load(kE2b);  // 512 positions
  const auto message = [&](const std::vector<TokenId>& ids, const TraceOptions& options) {
    const auto trace = TraceTokens(engine, ids, options);
    EXPECT_FALSE(trace);
    if (trace) return std::string();
    EXPECT_EQ(trace.error().code, ErrorCode::kUsage);
    return trace.error().message;
  };
  EXPECT_EQ(message({}, {}), "there are no tokens to trace");
  EXPECT_EQ(message({2, 50}, {}), "the token id 50 is outside of the vocabulary of 50");
  EXPECT_EQ(message(std::vector<TokenId>(513, 2), {}),
            "513 tokens and 0 new ones do not fit: the model has 512 positions");
  EXPECT_EQ(message({2}, {.generate = 513}), "1 tokens and 513 new ones do not fit: the model has 512 positions");
  EXPECT_EQ(message({2}, {.chunk = -1}), "a batch of -1 tokens; 1 to 65536 would work");
  EXPECT_TRUE(TraceTokens(engine, std::vector<TokenId>(512, 2), {.generate = 1}));
}

TEST(TraceTest, CanBeInterrupted) {
  const auto stop_at = [](std::string_view stage, uint64_t done) {
    return [=](const Progress& progress) { return progress.stage != stage || progress.done < done; };
  };
  const auto message = [&](const ProgressCallback& progress) {
    const auto trace = TraceTokens(Load(kE2b), kIds, {.chunk = 3, .generate = 4, .progress = progress});
    EXPECT_FALSE(trace);
    return trace ? "" : trace.error().message;
  };
  EXPECT_EQ(message(stop_at("prefill", 6)), "the prompt was interrupted after 6 of 7 tokens");
  EXPECT_EQ(message(stop_at("generate", 2)), "interrupted after 2 generated tokens");
}

}  // namespace
}  // namespace carat
