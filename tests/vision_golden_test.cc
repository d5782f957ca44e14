// Every activation of the vision tower against the reference dumps, and what must not show in them: threads, kernel
// tables, the container of the weights.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/thread_pool.h"
#include "formats/checkpoint.h"
#include "gemma/model.h"
#include "gemma/vision_encoder.h"
#include "gemma/vision_model.h"
#include "kernels/kernels.h"
#include "tests/support/dump.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using gemma::PatchGrid;
using gemma::VisionEncoder;
using gemma::VisionModel;
using testing_support::Dump;

// By name, the pictures of a dump one behind the other.
using Activations = std::map<std::string, std::vector<float>>;

// A checkpoint, a file of pictures that have become patches, and what should come of them.
struct Case {
  std::string name;
  fs::path model, inputs, expected;
  std::map<std::string, double> tolerance;
};

Json ReadJson(const fs::path& path) {
  std::ifstream file(path);
  auto json = ParseJson(std::string(std::istreambuf_iterator<char>(file), {}), path.string());
  EXPECT_TRUE(json) << path;
  return json ? *json : Json::object();
}

std::map<std::string, double> Tolerances(const Json& object) {
  std::map<std::string, double> tolerances;
  for (const auto& [name, value] : object.items())
    tolerances[name] = value.is_object() ? value.value("tolerance", 0.0) : value.get<double>();
  return tolerances;
}

// CASE/model or CASE/*.gguf with CASE/N.safetensors and N.json; or files of mmproj with one input and a list in 0.json
// of what each should give.
void AddCases(const fs::path& folder, std::vector<Case>& cases) {
  const std::string name = folder.filename().string();
  if (fs::exists(folder / "input.safetensors")) {
    for (const auto& [file, facts] : ReadJson(folder / "0.json").at("files").items())
      cases.push_back({.name = name + "/" + file,
                       .model = folder / file,
                       .inputs = folder / "input.safetensors",
                       .expected = folder / facts.at("activations").get<std::string>(),
                       .tolerance = Tolerances(facts.at("tensors"))});
    return;
  }
  const fs::path model = fs::exists(folder / "model") ? folder / "model" : folder / "mmproj.gguf";
  for (int index = 0; fs::exists(folder / (std::to_string(index) + ".json")) || index == 0; ++index) {
    const fs::path dump = folder / (std::to_string(index) + ".safetensors");
    if (!fs::exists(dump)) continue;
    cases.push_back({.name = name + "/" + std::to_string(index),
                     .model = model,
                     .inputs = dump,
                     .expected = dump,
                     .tolerance = Tolerances(ReadJson(fs::path(dump).replace_extension(".json")).at("tolerance"))});
  }
}

std::vector<Case> OwnCases() {
  std::vector<Case> cases;
  for (const auto& entry : fs::directory_iterator(fs::path(CARAT_SOURCE_DIR) / "tests/data/vision")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("hf-") || name.starts_with("gguf-")) AddCases(entry.path(), cases);
  }
  std::ranges::sort(cases, {}, &Case::name);
  return cases;
}

// More of them, where they stand beside the source tree.
fs::path SharedGolden() { return fs::path(CARAT_SOURCE_DIR).parent_path() / "shared/golden"; }

std::vector<Case> MoreCases() {
  std::vector<Case> cases;
  if (!fs::is_directory(SharedGolden() / "vision")) return cases;
  for (const auto& entry : fs::directory_iterator(SharedGolden() / "vision")) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with("tower-") || name.starts_with("gguf-")) AddCases(entry.path(), cases);
  }
  const fs::path towers = SharedGolden() / "mobile/towers";
  cases.push_back({.name = "mobile/towers",
                   .model = towers / "model",
                   .inputs = towers / "1.safetensors",
                   .expected = towers / "1.safetensors",
                   .tolerance = Tolerances(ReadJson(towers / "1.json").at("tolerance"))});
  return cases;
}

// The pictures of a file; each begins where the positions begin anew.
std::vector<PatchGrid> Pictures(const fs::path& path) {
  const Dump dump(path);
  const std::string key = dump.Has("position_ids") ? "position_ids" : "image_position_ids";
  const auto positions = dump.Values<int32_t>(key);
  std::vector<float> values;
  if (dump.Has("pixel_values")) {
    values = dump.Values<float>("pixel_values");
  } else {
    for (const uint8_t byte : dump.Values<uint8_t>("pixel_bytes"))
      values.push_back(static_cast<float>(byte) * (1.0f / 255.0f));
  }
  const size_t width = values.size() / (positions.size() / 2);
  std::vector<PatchGrid> pictures;
  for (size_t n = 0; n < positions.size() / 2; ++n) {
    if (positions[2 * n] == 0 && positions[2 * n + 1] == 0) pictures.emplace_back();
    PatchGrid& grid = pictures.back();
    grid.columns = std::max<int64_t>(grid.columns, positions[2 * n] + 1);
    grid.rows = std::max<int64_t>(grid.rows, positions[2 * n + 1] + 1);
    grid.values.insert(grid.values.end(), values.begin() + static_cast<ptrdiff_t>(n * width),
                       values.begin() + static_cast<ptrdiff_t>((n + 1) * width));
  }
  return pictures;
}

struct How {
  std::string_view kernels = {};  // the best
  int threads = 1;
  bool exact = true;
  int64_t spare_patches = 0;  // that the encoder has room for
};

Activations Encode(const VisionModel& model, const std::vector<PatchGrid>& pictures, const How& how = {}) {
  ThreadPool pool(how.threads);
  const ops::Context context = {.kernels = kernels::SelectKernels(how.kernels), .pool = &pool, .exact = how.exact};
  int64_t most = 0;
  for (const PatchGrid& grid : pictures) most = std::max(most, grid.columns * grid.rows);
  VisionEncoder encoder(model, context, most + how.spare_patches);
  Activations seen;
  for (const PatchGrid& grid : pictures) {
    std::vector<float> soft(static_cast<size_t>(encoder.SoftTokens(grid) * model.config.text_hidden));
    const Status status =
        encoder.Encode(grid, soft, [&](std::string_view name, std::span<const int64_t> shape, const float* v) {
          std::vector<float>& all = seen[std::string(name)];
          all.insert(all.end(), v, v + shape[0] * shape[1]);
        });
    EXPECT_TRUE(status) << status.error().message;
  }
  return seen;
}

// A loaded tower with the file that it is views into.
struct Tower {
  explicit Tower(const fs::path& path) {
    auto opened = formats::Checkpoint::Open(path);
    if (!opened) {
      ADD_FAILURE() << opened.error().message;
      return;
    }
    checkpoint.emplace(std::move(*opened));
    auto loaded = VisionModel::Load(*checkpoint);
    if (!loaded) ADD_FAILURE() << loaded.error().message;
    if (loaded) model.emplace(std::move(*loaded));
  }
  std::optional<formats::Checkpoint> checkpoint;
  std::optional<VisionModel> model;
};

void ExpectWithinTolerance(const Activations& seen, const Case& golden) {
  const Dump dump(golden.expected);
  int compared = 0;
  for (const auto& [name, entry] : dump.entries()) {
    if (!name.starts_with("vision.")) continue;
    const auto got = seen.find(name);
    ASSERT_NE(got, seen.end()) << name << " was not computed";
    const auto want = dump.Values<float>(name);
    ASSERT_EQ(got->second.size(), want.size()) << name;
    ASSERT_TRUE(golden.tolerance.contains(name)) << "no tolerance for " << name;
    const double tolerance = golden.tolerance.at(name);
    for (size_t i = 0; i < want.size(); ++i)
      ASSERT_LE(std::abs(double{got->second[i]} - want[i]), tolerance) << name << " at " << i;
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

void CheckExact(const std::vector<Case>& cases) {
  for (const Case& golden : cases) {
    SCOPED_TRACE(golden.name);
    const Tower tower(golden.model);
    if (tower.model) ExpectWithinTolerance(Encode(*tower.model, Pictures(golden.inputs)), golden);
  }
}

// Root mean square of the difference, as a share of that of what is wanted.
double RelativeError(const std::vector<float>& got, const std::vector<float>& want) {
  double error = 0, size = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (double{got[i]} - want[i]) * (double{got[i]} - want[i]);
    size += double{want[i]} * want[i];
  }
  return std::sqrt(error / size);
}

// What activations rounded to 8 bits may cost weights in blocks, on the soft tokens; others are multiplied as in exact
// mode, to the bit.
constexpr double kMostErrorOfBlocks = 0.03;

void CheckNormal(const std::vector<Case>& cases) {
  for (const Case& golden : cases) {
    SCOPED_TRACE(golden.name);
    const Tower tower(golden.model);
    if (!tower.model) continue;
    const std::vector<PatchGrid> pictures = Pictures(golden.inputs);
    const Activations exact = Encode(*tower.model, pictures), normal = Encode(*tower.model, pictures, {.exact = false});
    if (!tower.model->has_blocks) {
      EXPECT_EQ(exact, normal);
      continue;
    }
    const double error = RelativeError(normal.at("vision.soft_tokens"), exact.at("vision.soft_tokens"));
    EXPECT_LE(error, kMostErrorOfBlocks);
    EXPECT_GT(error, 0) << "8 bits that change nothing are none";
  }
}

constexpr size_t kOwnCases = 10;

TEST(VisionGolden, ExactActivationsAreTheReferences) {
  ASSERT_GE(OwnCases().size(), kOwnCases);
  CheckExact(OwnCases());
}
TEST(VisionGolden, TheNormalPathStaysClose) { CheckNormal(OwnCases()); }

TEST(VisionGolden, MoreExactActivations) {
  if (MoreCases().empty()) GTEST_SKIP() << "no shared data";
  CheckExact(MoreCases());
}
TEST(VisionGolden, MoreOfTheNormalPath) {
  if (MoreCases().empty()) GTEST_SKIP() << "no shared data";
  CheckNormal(MoreCases());
}

// Neither the number of threads, nor the kernels, nor the room that the encoder has.
TEST(VisionGolden, HowItIsComputedDoesNotShow) {
  for (const Case& golden : OwnCases()) {
    SCOPED_TRACE(golden.name);
    const Tower tower(golden.model);
    if (!tower.model) continue;
    const std::vector<PatchGrid> pictures = Pictures(golden.inputs);
    for (const bool exact : {true, false}) {
      const Activations first = Encode(*tower.model, pictures, {.exact = exact});
      for (const int threads : {2, 3, 4})
        EXPECT_EQ(first, Encode(*tower.model, pictures, {.threads = threads, .exact = exact, .spare_patches = 100}))
            << threads << " threads";
      const bool on_tiles = kernels::SelectKernels()->bf16 != nullptr;  // those multiply blocks in another way
      for (const kernels::Kernels* table : kernels::AllKernels())
        if (kernels::Supported(*table) && (exact || (table->bf16 != nullptr) == on_tiles)) {
          EXPECT_EQ(first, Encode(*tower.model, pictures, {.kernels = table->name, .exact = exact})) << table->name;
        }
    }
  }
}

// The same weights in a Hugging Face folder and in an mmproj file.
void ExpectSameNumbers(const fs::path& folder, const fs::path& mmproj, const fs::path& inputs) {
  const Tower a(folder), b(mmproj);
  ASSERT_TRUE(a.model && b.model);
  const std::vector<PatchGrid> pictures = Pictures(inputs);
  EXPECT_EQ(Encode(*a.model, pictures), Encode(*b.model, pictures));
}

TEST(VisionGolden, TheContainerDoesNotShow) {
  const fs::path own = fs::path(CARAT_SOURCE_DIR) / "tests/data/vision";
  ExpectSameNumbers(own / "hf-f32/model", own / "gguf-f32/mmproj.gguf", own / "hf-f32/0.safetensors");
  ExpectSameNumbers(own / "hf-bf16/model", own / "gguf-bf16/mmproj.gguf", own / "hf-bf16/0.safetensors");
}

TEST(VisionGolden, TheContainerOfMoreDoesNotShow) {
  const fs::path shared = SharedGolden() / "vision";
  if (!fs::is_directory(shared)) GTEST_SKIP() << "no shared data";
  ExpectSameNumbers(shared / "tower-clip/model", shared / "gguf-tower-clip/mmproj-f32.gguf",
                    shared / "gguf-tower-clip/input.safetensors");
}

// The rule of the larger models: images that see ahead in the decoder.
TEST(VisionGolden, ModelsThatLookAheadAreRefused) {
  const fs::path model = SharedGolden() / "vision/model-blocks/model";
  if (!fs::is_directory(model)) GTEST_SKIP() << "no shared data";
  const auto checkpoint = formats::Checkpoint::Open(model);
  ASSERT_TRUE(checkpoint);
  const auto loaded = gemma::Model::Load(*checkpoint);
  ASSERT_FALSE(loaded);
  EXPECT_NE(loaded.error().message.find("use_bidirectional_attention"), std::string::npos) << loaded.error().message;
}

}  // namespace
}  // namespace carat
