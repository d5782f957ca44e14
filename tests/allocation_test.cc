// Nothing is allocated while tokens are decoded.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <string>

#include "bench/mobile_folder.h"
#include "carat/session.h"

namespace {
std::atomic<int64_t> allocations{0};
}  // namespace

// The linker sends the library's calls here (--wrap). What shared libraries do among themselves is not seen.
extern "C" {
void* __real__Znwm(size_t size);                                                            // NOLINT
void* __real_malloc(size_t size);                                                           // NOLINT
void* __real_calloc(size_t count, size_t size);                                             // NOLINT
void* __real_realloc(void* old, size_t size);                                               // NOLINT
void* __real_aligned_alloc(size_t alignment, size_t size);                                  // NOLINT
void* __real_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset);  // NOLINT

void* __wrap_malloc(size_t size) {  // NOLINT
  ++allocations;
  return __real_malloc(size);
}
void* __wrap_calloc(size_t count, size_t size) {  // NOLINT
  ++allocations;
  return __real_calloc(count, size);
}
void* __wrap_realloc(void* old, size_t size) {  // NOLINT
  ++allocations;
  return __real_realloc(old, size);
}
void* __wrap_aligned_alloc(size_t alignment, size_t size) {  // NOLINT
  ++allocations;
  return __real_aligned_alloc(alignment, size);
}
void* __wrap_mmap(void* at, size_t size, int protection, int flags, int fd, off_t offset) {  // NOLINT
  ++allocations;
  return __real_mmap(at, size, protection, flags, fd, offset);
}
void* __wrap__Znwm(size_t size) {  // NOLINT: operator new
  ++allocations;
  return __real__Znwm(size);
}
}

namespace carat {
namespace {

class AllocationTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "/carat_allocation_XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  static std::string Golden(const std::string& name) {
    return std::string(CARAT_SOURCE_DIR) + "/tests/data/golden/" + name;
  }

  // How many allocations it takes to decode four tokens behind a prompt and a first one.
  static int64_t CountWhileDecoding(const std::filesystem::path& model, const SamplingOptions& sampling) {
    const auto engine = Engine::Load(model, {.threads = 2});
    EXPECT_TRUE(engine) << engine.error().message;
    auto session = Session::Create(*engine, {.batch = 8, .sampling = sampling});
    EXPECT_TRUE(session) << session.error().message;
    const std::vector<TokenId> prompt = {2, 5, 7, 9, 11, 13, 17, 19, 23, 29, 31};
    EXPECT_TRUE(session->Append(prompt));
    const auto step = [&] {
      const auto token = session->Sample();
      return token && session->Append({&*token, 1});
    };
    EXPECT_TRUE(step());
    const int64_t before = allocations;
    bool good = true;
    for (int i = 0; i < 4; ++i) good &= step();
    const int64_t count = allocations - before;
    EXPECT_TRUE(good);
    return count;
  }

  std::filesystem::path folder_;
};

TEST_F(AllocationTest, AreSeenHere) {
  const int64_t before = allocations;
  ::operator delete(::operator new(8));  // called by name, so that no compiler leaves them out
  EXPECT_GT(allocations, before);
}

TEST_F(AllocationTest, NoneOfBlocksAndFloats) {
  for (const char* name : {"gguf-q8_0-arrays/model.gguf", "gguf-f32-split/model-00001-of-00003.gguf"})
    EXPECT_EQ(CountWhileDecoding(Golden(name), {.temperature = 0}), 0) << name;
}

TEST_F(AllocationTest, NoneOfCodes) {
  const auto shape = bench::MobileShapeOf("tiny");
  ASSERT_TRUE(shape);
  ASSERT_TRUE(bench::WriteMobileFolder(folder_ / "model", *shape, /*seed=*/1));
  EXPECT_EQ(CountWhileDecoding(folder_ / "model", {.temperature = 0}), 0);
}

TEST_F(AllocationTest, NoneForAnySampling) {
  const std::string model = Golden("gguf-q8_0-arrays/model.gguf");
  EXPECT_EQ(CountWhileDecoding(model, {.seed = 1}), 0);
  EXPECT_EQ(CountWhileDecoding(model, {.top_k = 0, .seed = 1}), 0);
  EXPECT_EQ(CountWhileDecoding(model, {.top_k = 0, .top_p = 1, .min_p = 0.1f, .seed = 1}), 0);
  EXPECT_EQ(CountWhileDecoding(model, {.repetition_penalty = 1.2f, .presence_penalty = 0.5f, .seed = 1}), 0);
}

}  // namespace
}  // namespace carat
