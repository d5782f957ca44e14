// Google's low-bit releases against the reference, piece by piece: rounding, linears as integers, embeddings. (Whole
// models: golden_test.)
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "base/float16.h"
#include "base/json.h"
#include "carat/engine.h"
#include "carat/session.h"
#include "formats/checkpoint.h"
#include "gemma/load_quantized.h"
#include "kernels/kernels.h"
#include "ops/linear.h"
#include "quant/codes.h"
#include "tests/support/dump.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using testing_support::Dump;

const fs::path kOwn = fs::path(CARAT_SOURCE_DIR) / "tests/data";
const fs::path kMore = fs::path(CARAT_SOURCE_DIR).parent_path() / "shared/golden/mobile";

std::vector<const kernels::Kernels*> Tables() {
  std::vector<const kernels::Kernels*> usable;
  for (const kernels::Kernels* table : kernels::AllKernels())
    if (kernels::Supported(*table)) usable.push_back(table);
  return usable;
}

quant::Type TypeOf(int64_t stored, int64_t columns) {
  return stored == columns ? quant::Type::kC8 : stored == (columns + 1) / 2 ? quant::Type::kC4 : quant::Type::kC2;
}

ops::Matrix MatrixOf(const Dump& dump, const std::string& packed, const std::string& scale, int64_t columns) {
  const int64_t rows = dump.Shape(packed)[0], stored = dump.Shape(packed)[1];
  const auto groups = static_cast<int64_t>(dump.Bytes(scale).size()) / 4 / rows;
  return {.type = dump.Type(packed) == quant::Type::kI8 ? quant::Type::kC8 : TypeOf(stored, columns),
          .rows = rows,
          .cols = columns,
          .data = dump.Bytes(packed).data(),
          .row_bytes = stored,
          .scales = {.group = columns / groups, .data = dump.Bytes(scale).data(), .row_bytes = groups * 4}};
}

// Largest difference, as a share of the largest value of its row.
double LargestDifference(const std::vector<float>& got, const std::vector<float>& want, int64_t columns) {
  EXPECT_EQ(got.size(), want.size());
  double largest = 0;
  for (size_t begin = 0; begin < want.size(); begin += static_cast<size_t>(columns)) {
    double size = 1e-30, off = 0;
    for (size_t i = begin; i < begin + static_cast<size_t>(columns); ++i) {
      size = std::max(size, std::abs(double{want[i]}));
      off = std::max(off, std::abs(double{got[i]} - want[i]));
    }
    largest = std::max(largest, off / size);
  }
  return largest;
}

std::vector<float> Multiply(const kernels::Kernels& table, const ops::Matrix& w, const std::vector<float>& x) {
  ThreadPool pool(1);
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.cols;
  ops::Linear linear({.kernels = &table, .pool = &pool}, tokens, w.cols);
  std::vector<float> y(static_cast<size_t>(tokens * w.rows));
  linear.SetInput(x.data(), tokens, w.cols);
  linear.Multiply(w, y.data());
  return y;
}

// What an integer kernel can be held to, of one linear of a dump: `prefix` + ":in", ":qx", ":acc", ":qy", ":out".
void CheckLinear(const kernels::Kernels& table, const ops::Matrix& w, const Dump& dump, const std::string& prefix) {
  const auto x = dump.Values<float>(prefix + "in");
  const auto out = dump.Values<float>(prefix + "out");
  const std::vector<float> y = Multiply(table, w, x);
  // An output code that is equal is an equal float; without one, the reference's float sum is the inexact one.
  const double most = w.output_scale != 0 ? 0 : 1e-5;
  EXPECT_LE(LargestDifference(y, out, w.rows), most);
  if (dump.Has(prefix + "qy")) {
    const auto qy = dump.Values<int32_t>(prefix + "qy");
    for (size_t i = 0; i < qy.size(); ++i) ASSERT_EQ(std::nearbyint(y[i] / w.output_scale), static_cast<float>(qy[i]));
  }
  if (!dump.Has(prefix + "qx")) return;
  const auto qx = dump.Values<int32_t>(prefix + "qx");
  std::vector<int8_t> codes(x.size());
  table.quantize_static(x.data(), static_cast<int64_t>(x.size()), w.input_scale, codes.data());
  EXPECT_TRUE(std::ranges::equal(codes, qx));
  // With scales of 1, the product is the sum of the codes.
  const auto acc = dump.Values<int32_t>(prefix + "acc");
  const std::vector<float> ones(static_cast<size_t>(w.rows), 1.0f);
  ops::Matrix plain = w;
  plain.input_scale = 1;
  plain.output_scale = 0;
  plain.scales = {.group = w.cols, .data = reinterpret_cast<const std::byte*>(ones.data()), .row_bytes = 4};
  const std::vector<float> sums = Multiply(table, plain, {codes.begin(), codes.end()});
  for (size_t i = 0; i < acc.size(); ++i) ASSERT_EQ(sums[i], static_cast<float>(acc[i]));
}

void CheckRounding(const kernels::Kernels& table, const Dump& dump) {
  int checked = 0;
  for (int i = 0; dump.Has("srq." + std::to_string(i) + ":x"); ++i) {
    const std::string prefix = "srq." + std::to_string(i) + ":";
    const float scale = dump.Values<float>(prefix + "scale")[0];
    if (scale == 0) continue;  // not calibrated: not rounded
    SCOPED_TRACE(prefix);
    auto x = dump.Values<float>(prefix + "x");
    const auto y = dump.Values<float>(prefix + "y");
    std::vector<int8_t> codes(x.size());
    EXPECT_EQ(table.quantize_static(x.data(), static_cast<int64_t>(x.size()), scale, codes.data()), scale);
    EXPECT_TRUE(std::ranges::equal(codes, dump.Values<int32_t>(prefix + "q")));
    table.round_static(x.data(), static_cast<int64_t>(x.size()), scale);
    for (size_t j = 0; j < x.size(); ++j) {
      ASSERT_EQ(x[j], y[j]) << j;
      ASSERT_EQ(std::signbit(x[j]), std::signbit(y[j])) << j;
    }
    ++checked;
  }
  EXPECT_GE(checked, 4);
}

void CheckLinears(const kernels::Kernels& table, const Dump& dump) {
  int i = 0;
  for (; dump.Has("linear." + std::to_string(i) + ":in"); ++i) {
    const std::string prefix = "linear." + std::to_string(i) + ":";
    SCOPED_TRACE(prefix);
    const int64_t columns = dump.Shape(prefix + "in")[1];
    if (columns < 3) continue;  // 4 and 2 bits cannot be told apart
    ops::Matrix w = MatrixOf(dump, prefix + "packed", prefix + "w_scale", columns);
    w.input_scale = dump.Values<float>(prefix + "s_in")[0];
    w.output_scale = dump.Values<float>(prefix + "s_out")[0];
    CheckLinear(table, w, dump, prefix);
  }
  EXPECT_GE(i, 8);
}

void CheckEmbeddings(const kernels::Kernels& table, const Dump& dump) {
  int i = 0;
  for (; dump.Has("embedding." + std::to_string(i) + ":rows"); ++i) {
    const std::string prefix = "embedding." + std::to_string(i) + ":";
    SCOPED_TRACE(prefix);
    const auto rows = dump.Values<float>(prefix + "rows");
    const int64_t columns = dump.Shape(prefix + "rows")[1];
    const float factor = dump.Values<float>(prefix + "factor")[0];
    const ops::Matrix w = MatrixOf(dump, prefix + "packed", prefix + "scale", columns);
    std::vector<float> got;
    for (const int32_t id : dump.Values<int32_t>(prefix + "ids")) {
      std::vector<float> row(static_cast<size_t>(columns));
      ops::DecodeRow(table, w, w.row(id), w.row_scales(id), columns, row.data());
      for (const float value : row) got.push_back(value * factor);
    }
    EXPECT_EQ(got, rows);
  }
  EXPECT_GE(i, 4);
}

TEST(MobileTest, SingleOperationsAreTheReferences) {
  for (const kernels::Kernels* table : Tables()) {
    SCOPED_TRACE(table->name);
    const Dump own(kOwn / "quant/codes.safetensors");
    CheckRounding(*table, own);
    CheckLinears(*table, own);
    CheckEmbeddings(*table, own);
    if (!fs::is_directory(kMore)) continue;
    CheckRounding(*table, Dump(kMore / "ops/srq.safetensors"));
    CheckLinears(*table, Dump(kMore / "ops/linear.safetensors"));
    CheckEmbeddings(*table, Dump(kMore / "ops/embedding.safetensors"));
  }
}

// Linears of a checkpoint, with the inputs that the reference gave them. Returns how many.
int CheckModules(const fs::path& model, const fs::path& linears) {
  const auto checkpoint = formats::Checkpoint::Open(model);
  if (!checkpoint) ADD_FAILURE() << checkpoint.error().message;
  if (!checkpoint) return 0;
  const Dump dump(linears);
  int checked = 0;
  for (const auto& [name, entry] : dump.entries()) {
    if (!name.ends_with(":in")) continue;
    if (name.find("lconv1d.linear_end") != std::string::npos) continue;  // this :out was added to in place
    const std::string module = name.substr(0, name.size() - 3);
    SCOPED_TRACE(module);
    const auto w = gemma::BindGemmaLinear(*checkpoint, module, dump.Shape(module + ":out")[1], entry.shape[1]);
    if (!w) ADD_FAILURE() << w.error().message;
    if (!w) continue;
    for (const kernels::Kernels* table : Tables()) CheckLinear(*table, *w, dump, module + ":");
    ++checked;
  }
  return checked;
}

TEST(MobileTest, LinearsAreTheReferencesCodeForCode) {
  for (const char* name : {"mobile-e2b", "mobile-odd", "mobile-ties"})
    EXPECT_GE(CheckModules(kOwn / "golden" / name / "model", kOwn / "golden" / name / "linears/1.safetensors"), 10)
        << name;
  if (!fs::is_directory(kMore)) return;
  for (const char* name : {"e2b", "e4b", "odd", "uncalibrated", "ties", "towers"})
    EXPECT_GE(CheckModules(kMore / name / "model", kMore / name / "linears.safetensors"), 5) << name;
}

TEST(MobileTest, GroupsDecodeToCodeTimesScale) {
  const fs::path model = kOwn / "golden/w4a16/model";
  const auto checkpoint = formats::Checkpoint::Open(model);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const Dump file(model / "model.safetensors");
  const std::string module = "model.language_model.layers.0.mlp.gate_proj";
  const auto words = file.Values<uint32_t>(module + ".weight_packed");
  const auto w = gemma::BindGroupLinear(*checkpoint, module, 32, 32);
  ASSERT_TRUE(w) << w.error().message;
  std::vector<float> row(32);
  for (const kernels::Kernels* table : Tables())
    for (size_t r = 0; r < 32; ++r) {
      uint16_t half = 0;
      std::memcpy(&half, file.Bytes(module + ".weight_scale").data() + 2 * r, 2);
      ops::DecodeRow(*table, *w, w->row(static_cast<int64_t>(r)), w->row_scales(static_cast<int64_t>(r)), 32,
                     row.data());
      for (size_t i = 0; i < 32; ++i) {
        const int code = static_cast<int>((words[4 * r + i / 8] >> (4 * (i % 8))) & 15) - 8;
        ASSERT_EQ(row[i], static_cast<float>(code) * Bf16ToFloat(half));
      }
    }
}

// W4A16 weights are Q4_0 blocks in another order of nibbles, with other scales: the same numbers.
TEST(MobileTest, GroupsDecodeToTheWeightsOfBlocks) {
  if (!fs::is_directory(kMore)) return;  // more than the clone brings
  const auto checkpoint = formats::Checkpoint::Open(kMore / "w4a16/model");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  const Dump blocks(kMore / "w4a16/q4_0.safetensors");
  for (const auto& [module, entry] : blocks.entries()) {
    const int64_t rows = entry.shape[0], columns = entry.shape[1] / 18 * 32;
    const auto w = gemma::BindGroupLinear(*checkpoint, module, rows, columns);
    ASSERT_TRUE(w) << w.error().message;
    std::vector<float> a(static_cast<size_t>(columns)), b = a;
    for (const kernels::Kernels* table : Tables())
      for (int64_t row = 0; row < rows; ++row) {
        ops::DecodeRow(*table, *w, w->row(row), w->row_scales(row), columns, a.data());
        table->decode[static_cast<int>(quant::Type::kQ4_0)](blocks.Bytes(module).data() + row * entry.shape[1],
                                                            b.data(), columns);
        ASSERT_EQ(a, b) << module << " row " << row;
      }
  }
}

// Logits of a prompt within the tolerance of the dump, and the same greedy text, whichever way it is computed: nothing
// but the order of float sums may differ from the reference.
void CheckModel(const fs::path& folder) {
  const Dump dump(folder / "1.safetensors");
  std::ifstream file(folder / "1.json");
  const double tolerance = Json::parse(file)["tolerance"]["logits"].get<double>();
  const auto ids = dump.Values<int32_t>("input_ids");
  const auto logits = dump.Values<float>("logits");
  for (const kernels::Kernels* table : Tables())
    for (const bool exact : {true, false}) {
      SCOPED_TRACE(folder.string() + " with the kernels " + std::string(table->name) + (exact ? ", exact" : ""));
      const auto engine =
          Engine::Load(folder / "model",
                       {.threads = exact ? 1 : 2, .cpu = std::string(table->name), .exact = exact, .progress = {}});
      ASSERT_TRUE(engine) << engine.error().message;
      SessionOptions options;
      options.batch = exact ? 256 : 3;
      options.sampling.temperature = 0;
      auto session = Session::Create(*engine, options);
      ASSERT_TRUE(session) << session.error().message;
      double largest = 0;
      const auto compare = [&](int64_t first, std::span<const float> rows) {
        const size_t begin = static_cast<size_t>(first) * (logits.size() / ids.size());
        for (size_t i = 0; i < rows.size(); ++i)
          largest = std::max(largest, std::abs(double{rows[i]} - logits[begin + i]));
      };
      ASSERT_TRUE(session->AppendWithLogits(ids, compare));
      EXPECT_LE(largest, tolerance);
      std::vector<int32_t> generated;
      for (size_t i = 0; i < dump.Values<int32_t>("greedy_ids").size(); ++i) {
        const auto next = session->Sample();
        ASSERT_TRUE(next);
        generated.push_back(*next);
        ASSERT_TRUE(session->Append({&*next, 1}));
      }
      EXPECT_EQ(generated, dump.Values<int32_t>("greedy_ids"));
    }
}

TEST(MobileTest, ModelsAreTheReferenceInEveryMode) {
  for (const char* name : {"mobile-e2b", "mobile-odd", "mobile-ties", "w4a16"}) CheckModel(kOwn / "golden" / name);
  if (!fs::is_directory(kMore)) return;
  for (const char* name : {"e2b", "e4b", "odd", "uncalibrated", "ties", "w4a16"}) CheckModel(kMore / name);
}

// K and V rounded with the checkpoint's scales as they enter the cache.
void CheckInt8Cache(const fs::path& model, const fs::path& path, double tolerance) {
  const Dump dump(path);
  const auto ids = dump.Values<int32_t>("input_ids");
  const auto logits = dump.Values<float>("logits");
  for (const kernels::Kernels* table : Tables()) {
    SCOPED_TRACE(path.string() + " with the kernels " + std::string(table->name));
    const auto engine = Engine::Load(model, {.threads = 2, .cpu = std::string(table->name), .progress = {}});
    ASSERT_TRUE(engine) << engine.error().message;
    SessionOptions options;
    options.batch = 5;
    options.kv_type = KvCacheType::kInt8;
    auto session = Session::Create(*engine, options);
    ASSERT_TRUE(session) << session.error().message;
    double largest = 0;
    ASSERT_TRUE(session->AppendWithLogits(ids, [&](int64_t first, std::span<const float> rows) {
      const size_t begin = static_cast<size_t>(first) * (logits.size() / ids.size());
      for (size_t i = 0; i < rows.size(); ++i)
        largest = std::max(largest, std::abs(double{rows[i]} - logits[begin + i]));
    }));
    EXPECT_LE(largest, tolerance);
  }
}

TEST(MobileTest, TheInt8CacheRoundsAsTheCheckpointSays) {
  CheckInt8Cache(kOwn / "golden/mobile-e2b/model", kOwn / "golden/mobile-e2b/int8_cache/1.safetensors", 2e-4);
  if (!fs::is_directory(kMore)) return;
  for (const char* name : {"e2b", "e4b"})
    CheckInt8Cache(kMore / name / "model", kMore / name / "int8_cache.safetensors", 4e-4);
}

TEST(MobileTest, AnInt8CacheNeedsScales) {
  const auto engine = Engine::Load(kOwn / "golden/mobile-odd/model");
  ASSERT_TRUE(engine) << engine.error().message;
  SessionOptions options;
  options.kv_type = KvCacheType::kInt8;
  const auto session = Session::Create(*engine, options);
  ASSERT_FALSE(session);
  EXPECT_EQ(session.error().code, ErrorCode::kUsage);
  EXPECT_NE(session.error().message.find("no scales for an int8 cache"), std::string::npos) << session.error().message;
}

}  // namespace
}  // namespace carat
