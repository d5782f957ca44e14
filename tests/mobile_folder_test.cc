// The synthetic checkpoints that benchmarks run on.
#include "bench/mobile_folder.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>

#include "carat/engine.h"
#include "carat/session.h"

namespace carat::bench {
namespace {

namespace fs = std::filesystem;

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(MobileFolder, TheTinyOneLoadsAndDecodes) {
  const fs::path folder = fs::path(testing::TempDir()) / "carat-mobile-folder";
  const auto shape = MobileShapeOf("tiny");
  ASSERT_TRUE(shape);
  ASSERT_TRUE(WriteMobileFolder(folder, *shape, 1));
  const auto engine = Engine::Load(folder, {.threads = 2, .cpu = {}, .progress = {}});
  ASSERT_TRUE(engine) << engine.error().message;
  EXPECT_EQ((*engine)->info().layers, 6);
  EXPECT_EQ((*engine)->info().stop_ids, (std::vector<TokenId>{1, 50, 106}));
  SessionOptions options;
  options.sampling.temperature = 0;
  options.kv_type = KvCacheType::kInt8;
  auto session = Session::Create(*engine, options);
  ASSERT_TRUE(session) << session.error().message;
  const TokenId prompt[] = {2, 100, 200, 300};
  ASSERT_TRUE(session->Append(prompt));
  for (int i = 0; i < 8; ++i) {
    const auto next = session->Sample();
    ASSERT_TRUE(next);
    ASSERT_TRUE(session->Append({&*next, 1}));
  }
  // Random, but alive: neither all alike nor all at the cap.
  const auto logits = session->Logits();
  ASSERT_TRUE(logits);
  double square = 0;
  for (const float logit : *logits) square += double{logit} * logit / static_cast<double>(logits->size());
  EXPECT_GT(std::sqrt(square), 1.0);
  EXPECT_LT(std::sqrt(square), 10.0);
  fs::remove_all(folder);
}

TEST(MobileFolder, SameSeedSameBytes) {
  const fs::path folder = fs::path(testing::TempDir()) / "carat-mobile-seeds";
  const auto shape = MobileShapeOf("tiny");
  ASSERT_TRUE(shape);
  std::vector<std::string> files;
  for (const uint64_t seed : {1, 1, 2}) {
    ASSERT_TRUE(WriteMobileFolder(folder, *shape, seed));
    files.push_back(ReadFile(folder / "model.safetensors"));
  }
  EXPECT_EQ(files[0], files[1]);
  EXPECT_NE(files[0], files[2]);
  EXPECT_EQ(files[0].size(), files[2].size());
  fs::remove_all(folder);
}

TEST(MobileFolder, UnknownShapesAreRefused) {
  const auto shape = MobileShapeOf("e8b");
  ASSERT_FALSE(shape);
  EXPECT_EQ(shape.error().code, ErrorCode::kUsage);
}

}  // namespace
}  // namespace carat::bench
