// Every activation of every layer against the reference dumps.
#include "tests/support/golden.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine_impl.h"
#include "engine/trace.h"
#include "engine/trace_file.h"
#include "kernels/kernels.h"
#include "tests/support/emulated_tiles.h"

namespace carat {
namespace {

using testing_support::FindTensor;
using testing_support::GoldenModel;
using testing_support::GoldenModels;
using testing_support::OwnGolden;

// The kernels to check with. All give the same bits on the exact path (invariance_test), which needs no more than the
// fastest.
std::vector<const kernels::Kernels*> KernelsFor(bool exact) {
  if (exact) return {kernels::SelectKernels()};
  std::vector<const kernels::Kernels*> usable;
  for (const kernels::Kernels* table : kernels::AllKernels())
    if (kernels::Supported(*table)) usable.push_back(table);
  return usable;
}

// Every tensor of the dump must have been computed, and the first one that is off is named.
void ExpectWithinTolerance(const std::vector<TraceTensor>& trace, const TraceReference& reference) {
  for (const TraceTensor& want : reference.tensors) {
    // What goes in; and logits of a run in chunks, which invariance_test holds to the bits of the others.
    if (want.name == "input_ids" || want.name == "chunked_logits") continue;
    EXPECT_NE(FindTensor(trace, want.name), nullptr) << want.name << " was not computed";
    EXPECT_TRUE(!want.ids.empty() || reference.tolerance.contains(want.name)) << "no tolerance for " << want.name;
  }
  for (const TraceDifference& difference : CompareTrace(trace, reference)) {
    ASSERT_TRUE(difference.within) << difference.name << " is the first that differs: by " << difference.largest
                                   << ", tolerance " << difference.tolerance << ", " << difference.where;
  }
}

// Root mean square of the difference, as a share of the standard deviation of what is wanted.
double RelativeError(const TraceTensor& got, const TraceTensor& want) {
  if (got.values.size() != want.values.size()) return HUGE_VAL;
  const auto count = static_cast<double>(want.values.size());
  double mean = 0, spread = 0, error = 0;
  for (const float value : want.values) mean += value / count;
  for (size_t i = 0; i < want.values.size(); ++i) {
    spread += (want.values[i] - mean) * (want.values[i] - mean);
    error += (double{got.values[i]} - want.values[i]) * (double{got.values[i]} - want.values[i]);
  }
  return std::sqrt(error / spread);
}

// What activations rounded to 8 bits and a half-precision cache may cost quantised weights. A layer adds about 0.3 %;
// how far a model amplifies that is its own affair, and random ones of real depths, which only the big set of
// tools/reference/text.py has, do so up to twentyfold (docs/decisions/0002 has measurements).
constexpr double kMostErrorOfALayer = 0.005;
double MostErrorOfLogits(int layers) { return layers <= 20 ? 0.02 : 0.06; }

// What an 8-bit cache alone may cost. Low-bit releases round what comes of it to 8 bits again and again, with static
// scales, and a number that falls to the other side of a half moves the rest: that alone is a tenth in random models.
double MostErrorOfAnInt8Cache(bool low_bit) { return low_bit ? 0.2 : 0.03; }

void CheckDump(const std::shared_ptr<const Engine>& engine, const std::filesystem::path& dump) {
  const auto reference = ReadTraceReference(dump);
  ASSERT_TRUE(reference) << reference.error().message;
  const TraceTensor* input = FindTensor(reference->tensors, "input_ids");
  const TraceTensor* greedy = FindTensor(reference->tensors, "greedy_ids");
  const TraceTensor* logits = FindTensor(reference->tensors, "logits");
  ASSERT_TRUE(input != nullptr && greedy != nullptr && logits != nullptr);
  const auto trace = TraceTokens(engine, input->ids, {.generate = static_cast<int>(greedy->ids.size())});
  ASSERT_TRUE(trace) << trace.error().message;
  const Engine::Impl& impl = engine->impl();
  if (impl.context.exact || !impl.model.has_blocks) {
    ExpectWithinTolerance(*trace, *reference);
    return;
  }
  const TraceTensor* got = FindTensor(*trace, "logits");
  const TraceTensor* got_first = FindTensor(*trace, "layer.0");
  const TraceTensor* first = FindTensor(reference->tensors, "layer.0");
  ASSERT_TRUE(got != nullptr && got_first != nullptr && first != nullptr);
  EXPECT_LE(RelativeError(*got_first, *first), kMostErrorOfALayer);
  EXPECT_LE(RelativeError(*got, *logits), MostErrorOfLogits(engine->info().layers));
}

// Every model of `folder`, on the normal path with every kernel table of this CPU. Returns how many dumps were checked.
int CheckFolder(const std::filesystem::path& folder, bool exact) {
  int checked = 0;
  for (const GoldenModel& model : GoldenModels(folder)) {
    if (model.name.starts_with("drafter/")) continue;  // no decoder
    if (model.name.starts_with("towers/")) continue;   // needs eyes and ears
    EXPECT_FALSE(model.dumps.empty()) << model.name;
    for (const kernels::Kernels* table : KernelsFor(exact)) {
      const auto engine = Engine::Load(model.path, {.threads = 1, .cpu = std::string(table->name), .exact = exact});
      if (!engine) {
        ADD_FAILURE() << engine.error().message;
        continue;
      }
      for (const std::filesystem::path& dump : model.dumps) {
        SCOPED_TRACE(model.name + " with " + dump.filename().string() + " and the kernels " + std::string(table->name));
        CheckDump(*engine, dump);
        ++checked;
      }
    }
  }
  return checked;
}

// Blocks as the level amx multiplies them are held to what 8-bit activations may cost.
TEST(GoldenTest, BlocksInBfloat16StayClose) {
  int checked = 0;
  for (const GoldenModel& model : GoldenModels(OwnGolden())) {
    if (model.dumps.empty() || model.name.starts_with("drafter/") || model.name.starts_with("towers/")) continue;
    const auto engine = Engine::Load(model.path, {.threads = 2});
    ASSERT_TRUE(engine) << engine.error().message;
    if (!(*engine)->impl().model.has_blocks) continue;
    SCOPED_TRACE(model.name);
    CheckDump(testing_support::OnEmulatedTiles(*engine), model.dumps.front());
    ++checked;
  }
  EXPECT_GE(checked, 4);
}

// The logits with keys and values rounded to 8 bits beside those of floats, on the exact path: the cache's share alone.
TEST(GoldenTest, An8BitCacheStaysClose) {
  int checked = 0;
  for (const GoldenModel& model : GoldenModels(OwnGolden())) {
    if (model.dumps.empty() || model.name.starts_with("drafter/") || model.name.starts_with("towers/")) continue;
    SCOPED_TRACE(model.name);
    const auto engine = Engine::Load(model.path, {.threads = 1, .exact = true});
    const auto reference = ReadTraceReference(model.dumps.front());
    ASSERT_TRUE(engine && reference);
    const TraceTensor* input = FindTensor(reference->tensors, "input_ids");
    ASSERT_NE(input, nullptr);
    const auto floats = TraceTokens(*engine, input->ids, {.kv_type = KvCacheType::kF32});
    const auto bytes = TraceTokens(*engine, input->ids, {.kv_type = KvCacheType::kInt8});
    ASSERT_TRUE(floats && bytes);
    const TraceTensor *want = FindTensor(*floats, "logits"), *got = FindTensor(*bytes, "logits");
    ASSERT_TRUE(want != nullptr && got != nullptr);
    const double error = RelativeError(*got, *want);
    EXPECT_LE(error, MostErrorOfAnInt8Cache(model.name.starts_with("mobile")));
    EXPECT_GT(error, 0) << "8 bits that change nothing are none";
    ++checked;
  }
  EXPECT_GE(checked, 10);
}

// More dumps, where there are some: in a folder beside the source tree, and in one that tools/reference/text.py made.
std::vector<std::filesystem::path> MoreFolders() {
  std::vector<std::filesystem::path> folders;
  const std::filesystem::path shared = std::filesystem::path(CARAT_SOURCE_DIR).parent_path() / "shared/golden";
  for (const char* part : {"text", "mobile"})
    if (std::filesystem::is_directory(shared / part)) folders.push_back(shared / part);
  if (const char* named = std::getenv("CARAT_GOLDEN")) folders.emplace_back(named);
  return folders;
}

constexpr int kOwnDumps = 17;
TEST(GoldenTest, ExactActivationsAreTheReferences) { EXPECT_GE(CheckFolder(OwnGolden(), /*exact=*/true), kOwnDumps); }
TEST(GoldenTest, TheNormalPathStaysClose) { EXPECT_GE(CheckFolder(OwnGolden(), /*exact=*/false), kOwnDumps); }
TEST(GoldenTest, MoreExactActivations) {
  if (MoreFolders().empty()) GTEST_SKIP() << "no shared data";
  for (const std::filesystem::path& folder : MoreFolders()) EXPECT_GT(CheckFolder(folder, /*exact=*/true), 0) << folder;
}
TEST(GoldenTest, MoreOfTheNormalPath) {
  if (MoreFolders().empty()) GTEST_SKIP() << "no shared data";
  for (const std::filesystem::path& folder : MoreFolders())
    EXPECT_GT(CheckFolder(folder, /*exact=*/false), 0) << folder;
}

}  // namespace
}  // namespace carat
