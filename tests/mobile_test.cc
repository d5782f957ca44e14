// Google's low-bit releases against the reference, piece by piece: rounding, linears as integers, embeddings. (Whole
// models: golden_test.)
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/float16.h"
#include "base/json.h"
#include "carat/engine.h"
#include "carat/session.h"
#include "engine/trace_file.h"
#include "formats/checkpoint.h"
#include "gemma/load_quantized.h"
#include "kernels/kernels.h"
#include "ops/linear.h"
#include "quant/codes.h"
#include "tests/support/dump.h"
#include "tests/support/golden.h"

namespace carat {
namespace {

namespace fs = std::filesystem;
using testing_support::Dump;
using testing_support::FindTensor;

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
  ops::Linear linear({.kernels = &table, .pool = &pool});
  std::vector<float> y(static_cast<size_t>(tokens * w.rows));
  linear.SetInput(x.data(), tokens, w.cols);
  linear.Multiply(w, y.data());
  return y;
}

// Rows of extremes, whose products all have one sign: there the reference's float sums are the inexact ones.
double MostDifference(int64_t columns) { return columns >= 768 ? 1e-5 : 5e-7; }

// One linear of a dump, as integers: `prefix` + ":in", ":qx", ":qw", ":acc", ":raw", ":qy", ":out".
void CheckLinear(const kernels::Kernels& table, const ops::Matrix& w, const Dump& dump, const std::string& prefix) {
  const auto qw = dump.Values<int32_t>(prefix + "qw");
  ASSERT_EQ(static_cast<int64_t>(qw.size()), w.rows * w.cols);
  std::vector<int8_t> weights(qw.size());
  for (int64_t row = 0; row < w.rows; ++row)
    table.unpack_codes[static_cast<int>(w.type)](w.row(row), w.cols, weights.data() + row * w.cols);
  EXPECT_TRUE(std::ranges::equal(weights, qw));

  const auto x = dump.Values<float>(prefix + "in");
  ops::Matrix unrounded = w;
  unrounded.output_scale = 0;
  EXPECT_LE(LargestDifference(Multiply(table, unrounded, x), dump.Values<float>(prefix + "raw"), w.rows),
            MostDifference(w.cols));
  const std::vector<float> y = Multiply(table, w, x);
  ASSERT_EQ(dump.Has(prefix + "qy"), w.output_scale != 0);
  if (w.output_scale != 0) {
    const auto qy = dump.Values<int32_t>(prefix + "qy");
    for (size_t i = 0; i < qy.size(); ++i) ASSERT_EQ(y[i], static_cast<float>(qy[i]) * w.output_scale);
  } else {
    EXPECT_LE(LargestDifference(y, dump.Values<float>(prefix + "out"), w.rows), MostDifference(w.cols));
  }
  ASSERT_EQ(dump.Has(prefix + "qx"), w.input_scale != 0);
  if (w.input_scale == 0) return;
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
    EXPECT_EQ(table.quantize_static(x.data(), static_cast<int64_t>(x.size()), scale, codes.data()).scale, scale);
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

// Rows of one or two codes are one byte, be it of 4 bits or of 2: the first weight says which.
quant::Type NarrowType(const Dump& dump, const std::string& prefix) {
  const int first = std::to_integer<int>(dump.Bytes(prefix + "packed")[0]);
  return (first & 15) - 8 == dump.Values<int32_t>(prefix + "qw")[0] ? quant::Type::kC4 : quant::Type::kC2;
}

void CheckLinears(const kernels::Kernels& table, const Dump& dump) {
  int i = 0;
  for (; dump.Has("linear." + std::to_string(i) + ":in"); ++i) {
    const std::string prefix = "linear." + std::to_string(i) + ":";
    SCOPED_TRACE(prefix);
    ops::Matrix w = MatrixOf(dump, prefix + "packed", prefix + "w_scale", dump.Shape(prefix + "in")[1]);
    if (w.cols < 3) w.type = NarrowType(dump, prefix);
    w.input_scale = dump.Values<float>(prefix + "s_in")[0];
    w.output_scale = dump.Values<float>(prefix + "s_out")[0];
    CheckLinear(table, w, dump, prefix);
  }
  EXPECT_GE(i, 13);
}

// Every value that a byte can have.
void CheckUnpacking(const kernels::Kernels& table, const Dump& dump) {
  for (const quant::Type type : {quant::Type::kC4, quant::Type::kC2}) {
    const int64_t count = 8 / quant::CodeBits(type);
    const auto want = dump.Values<int32_t>("byte." + std::to_string(quant::CodeBits(type)));
    std::vector<std::byte> bytes(256);
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i);
    std::vector<int8_t> codes(want.size()), alone(static_cast<size_t>(count));
    table.unpack_codes[static_cast<int>(type)](bytes.data(), 256 * count, codes.data());
    EXPECT_TRUE(std::ranges::equal(codes, want));
    for (size_t i = 0; i < bytes.size(); ++i) {
      table.unpack_codes[static_cast<int>(type)](&bytes[i], count, alone.data());
      ASSERT_TRUE(std::ranges::equal(alone, std::span(want).subspan(i * alone.size(), alone.size())));
    }
  }
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
    CheckUnpacking(*table, own);
    CheckLinears(*table, own);
    CheckEmbeddings(*table, own);
    if (!fs::is_directory(kMore)) continue;
    CheckRounding(*table, Dump(kMore / "ops/srq.safetensors"));
    CheckUnpacking(*table, Dump(kMore / "ops/unpack.safetensors"));
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
  for (const char* name : {"mobile-e2b", "mobile-e4b", "mobile-odd", "mobile-ties"})
    EXPECT_GE(CheckModules(kOwn / "golden" / name / "model", kOwn / "golden" / name / "linears/1.safetensors"), 4)
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
  if (!fs::is_directory(kMore)) GTEST_SKIP() << "no shared data";
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

// K and V rounded with the checkpoint's scales as they enter the cache. `tolerances`: a dump of the same model.
void CheckInt8Cache(const fs::path& model, const fs::path& path, const fs::path& tolerances) {
  const auto tensors = ReadTrace(path);
  ASSERT_TRUE(tensors) << tensors.error().message;
  auto reference = ReadTraceReference(tolerances);
  ASSERT_TRUE(reference) << reference.error().message;
  reference->tensors = *tensors;
  const TraceTensor* input = FindTensor(*tensors, "input_ids");
  ASSERT_NE(input, nullptr);
  for (const kernels::Kernels* table : Tables()) {
    SCOPED_TRACE(path.string() + " with the kernels " + std::string(table->name));
    const auto engine = Engine::Load(model, {.threads = 2, .cpu = std::string(table->name), .progress = {}});
    ASSERT_TRUE(engine) << engine.error().message;
    const auto trace = TraceTokens(*engine, input->ids, {.chunk = 5, .kv_type = KvCacheType::kInt8});
    ASSERT_TRUE(trace) << trace.error().message;
    const auto differences = CompareTrace(*trace, *reference);
    EXPECT_GE(differences.size(), 5u);  // layers and logits
    for (const TraceDifference& difference : differences)
      EXPECT_TRUE(difference.within) << difference.name << " differs by " << difference.largest << ", tolerance "
                                     << difference.tolerance << ", " << difference.where;
  }
}

TEST(MobileTest, TheInt8CacheRoundsAsTheCheckpointSays) {
  for (const char* name : {"mobile-e2b", "mobile-e4b"}) {
    const fs::path folder = kOwn / "golden" / name;
    CheckInt8Cache(folder / "model", folder / "int8_cache/1.safetensors", folder / "1.safetensors");
  }
  if (!fs::is_directory(kMore)) return;
  for (const char* name : {"e2b", "e4b"})
    CheckInt8Cache(kMore / name / "model", kMore / name / "int8_cache.safetensors", kMore / name / "1.safetensors");
}

}  // namespace
}  // namespace carat
