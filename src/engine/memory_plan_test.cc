#include "carat/memory_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace carat {
namespace {

constexpr uint64_t kMega = 1'000'000;
constexpr uint64_t kNoise = 2 * kMega;  // by which the heap differs from one plan to the next, and more

// A tiny model that was made for 128K tokens, as the real ones.
class MemoryPlanTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string folder = testing::TempDir() + "/carat_plan_XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    std::ifstream file(std::string(CARAT_SOURCE_DIR) + "/tests/data/golden/gguf-q8_0-arrays/model.gguf",
                       std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const std::string key = "gemma4.context_length";
    const size_t at = bytes.find(key);
    ASSERT_NE(at, std::string::npos);
    const uint32_t positions = 131072;
    std::memcpy(bytes.data() + at + key.size() + sizeof(uint32_t), &positions, sizeof(positions));
    std::ofstream(folder_ / "model.gguf", std::ios::binary) << bytes;
    engine_ = Load({.threads = 2});
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<const Engine> Load(const EngineOptions& options) const {
    auto engine = Engine::Load(folder_ / "model.gguf", options);
    EXPECT_TRUE(engine) << engine.error().message;
    return engine ? *engine : nullptr;
  }
  MemoryPlan Plan(const SessionOptions& wanted, std::optional<uint64_t> ram_bytes = std::nullopt) const {
    auto plan = PlanMemory(engine_, wanted, ram_bytes);
    EXPECT_TRUE(plan) << plan.error().message;
    return plan ? *plan : MemoryPlan{};
  }
  static uint64_t Part(const MemoryPlan& plan, std::string_view name) {
    const auto part = std::ranges::find(plan.parts, name, &MemoryPart::name);
    EXPECT_NE(part, plan.parts.end()) << name;
    return part == plan.parts.end() ? 0 : part->bytes;
  }

  std::filesystem::path folder_;
  std::shared_ptr<const Engine> engine_;
};

TEST_F(MemoryPlanTest, WithoutALimitItIsWhatASessionIs) {
  const MemoryPlan plan = Plan({.sampling = {.temperature = 0.5f}});
  EXPECT_EQ(plan.session.context, 8192);
  EXPECT_EQ(plan.session.kv_type, KvCacheType::kF16);
  EXPECT_EQ(plan.session.batch, 256);
  EXPECT_EQ(plan.session.sampling.temperature, 0.5f);
  uint64_t sum = 0;
  for (const MemoryPart& part : plan.parts) sum += part.bytes;
  EXPECT_GE(plan.peak_bytes, sum);
  EXPECT_GT(Part(plan, "tokenizer"), 0u);
  EXPECT_GE(Part(plan, "weights"), engine_->info().weight_bytes);
}

TEST_F(MemoryPlanTest, PlanAndSessionAgree) {
  for (const KvCacheType type : {KvCacheType::kF32, KvCacheType::kF16, KvCacheType::kInt8}) {
    const MemoryPlan plan = Plan({.context = 3000, .kv_type = type, .batch = 96});
    auto session = Session::Create(engine_, plan.session);
    ASSERT_TRUE(session) << session.error().message;
    std::vector<TokenId> ids;
    for (int i = 0; i < 3000; ++i) ids.push_back(i % 200);
    ASSERT_TRUE(session->Append(ids));
    ASSERT_TRUE(session->Sample());
    EXPECT_LE(session->kv_bytes(), Part(plan, "keys and values"));
    EXPECT_GE(session->kv_bytes() + 64 * 4096, Part(plan, "keys and values")) << "a full context is all resident";
    EXPECT_LE(session->scratch_bytes(), Part(plan, "activations"));
    // The same functions reserve and plan; what the plan is above the truth are pages that a buffer begins or ends on.
    EXPECT_GE(session->scratch_bytes() * 2 + (2 << 20), Part(plan, "activations"));
  }
}

TEST_F(MemoryPlanTest, WhatTheUserSetIsKept) {
  const uint64_t plenty = 4'000 * kMega;
  const MemoryPlan plan = Plan({.context = 1000, .kv_type = KvCacheType::kF32, .batch = 32}, plenty);
  EXPECT_EQ(plan.session.context, 1000);
  EXPECT_EQ(plan.session.kv_type, KvCacheType::kF32);
  EXPECT_EQ(plan.session.batch, 32);
}

TEST_F(MemoryPlanTest, PlentyGivesTheLongestContext) {
  const MemoryPlan plan = Plan({}, 4'000 * kMega);
  EXPECT_EQ(plan.session.context, 131072);
  EXPECT_EQ(plan.session.batch, 256);
  EXPECT_EQ(plan.session.kv_type, KvCacheType::kF16);
}

TEST_F(MemoryPlanTest, TheContextIsAsLongAsFits) {
  const uint64_t ram = (Plan({.context = 40000}).peak_bytes + Plan({.context = 41000}).peak_bytes) / 2 + kNoise;
  const MemoryPlan plan = Plan({}, ram);
  EXPECT_LE(plan.peak_bytes, ram);
  EXPECT_GE(plan.session.context, 40000 / 256 * 256);
  EXPECT_EQ(plan.session.context % 256, 0);
  EXPECT_GT(Plan({.context = plan.session.context + 256}).peak_bytes + kNoise, ram);
}

TEST_F(MemoryPlanTest, TheBatchShrinksBeforeTheType) {
  // A single-precision context that fits with a small batch alone.
  const SessionOptions wanted = {.context = 8192, .batch = 65536};
  const auto exact = Load({.threads = 2, .exact = true});
  const auto peak = [&](KvCacheType type, int batch) {
    SessionOptions options = wanted;
    options.kv_type = type;
    options.batch = batch;
    return PlanMemory(exact, options)->peak_bytes;
  };
  ASSERT_GT(peak(KvCacheType::kF32, 8192), peak(KvCacheType::kF32, 1024) + 4 * kMega);
  const auto small = PlanMemory(exact, wanted, peak(KvCacheType::kF32, 1024) + kNoise);
  ASSERT_TRUE(small) << small.error().message;
  EXPECT_EQ(small->session.kv_type, KvCacheType::kF32);
  EXPECT_GE(small->session.batch, 1024);
  EXPECT_LT(small->session.batch, 8192);
  EXPECT_EQ(small->session.context, 8192);
}

TEST_F(MemoryPlanTest, ThenTheTypeAndThenTheContext) {
  const auto exact = Load({.threads = 2, .exact = true});
  const auto peak = [&](int context, KvCacheType type) {
    return PlanMemory(exact, {.context = context, .kv_type = type, .batch = 16})->peak_bytes;
  };
  const uint64_t full = peak(131072, KvCacheType::kF32), half = peak(131072, KvCacheType::kF16);
  ASSERT_GT(full, half + 3 * kNoise);
  const auto narrow = PlanMemory(exact, {.context = 131072}, half + kNoise);
  ASSERT_TRUE(narrow) << narrow.error().message;
  EXPECT_EQ(narrow->session.kv_type, KvCacheType::kF16);
  // What the user set is not changed to make it fit.
  const auto refused = PlanMemory(exact, {.context = 131072, .kv_type = KvCacheType::kF32}, half + kNoise);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::kDoesNotFit);
}

TEST_F(MemoryPlanTest, WhatCannotFitIsRefusedWithNumbers) {
  const auto plan = PlanMemory(engine_, {}, 1 * kMega);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kDoesNotFit);
  for (const char* words : {"a context of 512 tokens does not fit into 1.0 MB", "weights ", "keys and values ",
                            "activations ", "tokenizer ", "program ", "MB would work"})
    EXPECT_NE(plan.error().message.find(words), std::string::npos) << plan.error().message;
  const auto smallest = SmallestMemoryPlan(engine_, {});
  ASSERT_TRUE(smallest);
  EXPECT_EQ(smallest->session.context, 512);
  EXPECT_EQ(smallest->session.batch, 16);
  EXPECT_TRUE(PlanMemory(engine_, {}, smallest->peak_bytes + kNoise));
}

TEST_F(MemoryPlanTest, MistakesAreThoseOfASession) {
  const auto plan = PlanMemory(engine_, {.context = 200000}, 4'000 * kMega);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::kUsage);
  EXPECT_FALSE(PlanMemory(engine_, {.batch = 0}, 4'000 * kMega));
}

}  // namespace
}  // namespace carat
