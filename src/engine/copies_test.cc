// Copies of weights, as a user of the library sees them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "carat/session.h"
#include "kernels/kernels.h"

namespace carat {
namespace {

constexpr int kTokens = 12;

std::shared_ptr<const Engine> Load(const std::string& model, const EngineOptions& options) {
  auto engine = Engine::Load(std::string(CARAT_SOURCE_DIR) + "/tests/data/golden/" + model, options);
  EXPECT_TRUE(engine) << engine.error().message;
  return *engine;
}

// Logits after each of kTokens tokens that come one by one, and after the same tokens at once.
std::vector<float> Decode(const std::shared_ptr<const Engine>& engine) {
  std::vector<TokenId> ids(kTokens);
  for (int i = 0; i < kTokens; ++i) ids[static_cast<size_t>(i)] = 5 + 7 * i;
  std::vector<float> all;
  auto session = Session::Create(engine, {.context = kTokens});
  const auto add = [&](std::span<const TokenId> some) {
    if (!session || !session->Append(some)) return;
    const auto logits = session->Logits();
    all.insert(all.end(), logits->begin(), logits->end());
  };
  for (const TokenId id : ids) add({&id, 1});
  EXPECT_TRUE(session->Truncate(0));
  add(ids);
  return all;
}

bool Same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

// Of every model with a matrix that may be copied.
constexpr const char* kModels[] = {"gguf-blocks32/model.gguf", "gguf-blocks256/model.gguf",
                                   "gguf-q8_0-arrays/model.gguf", "mobile-e2b/model", "mobile-ties/model"};

TEST(Copies, AreMadeByDecodingAndChangeNothing) {
  const bool has_kernels =
      kernels::SelectKernels()->gemv_interleaved[static_cast<size_t>(quant::Type::kQ8_0)] != nullptr;
  uint64_t bytes = 0;
  for (const char* model : kModels) {
    SCOPED_TRACE(model);
    const auto engine = Load(model, {.threads = 2}), in_place = Load(model, {.threads = 2, .in_place = true});
    EXPECT_EQ(engine->copies().copied_bytes, 0u);
    EXPECT_TRUE(Same(Decode(engine), Decode(in_place)));
    EXPECT_EQ(engine->copies().copied_bytes, engine->copies().bytes);
    EXPECT_EQ(in_place->copies().bytes, 0u);
    bytes += engine->copies().bytes;
  }
  EXPECT_EQ(bytes > 0, has_kernels);
  EXPECT_EQ(Load(kModels[0], {.exact = true})->copies().bytes, 0u);
}

TEST(Copies, AreMadeWhileOtherSessionsRun) {
  const auto engine = Load("gguf-q8_0-arrays/model.gguf", {.threads = 2});
  const std::vector<float> expected = Decode(Load("gguf-q8_0-arrays/model.gguf", {.in_place = true}));
  std::vector<std::vector<float>> results(3);
  std::vector<std::thread> threads;
  for (std::vector<float>& result : results) threads.emplace_back([&] { result = Decode(engine); });
  for (std::thread& thread : threads) thread.join();
  for (const std::vector<float>& result : results) EXPECT_TRUE(Same(result, expected));
}

}  // namespace
}  // namespace carat
