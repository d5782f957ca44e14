#include "engine/trace_file.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

namespace carat {
namespace {

class TraceFileTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) /
              ("trace_file_" + std::string(testing::UnitTest::GetInstance()->current_test_info()->name()));
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }

  std::filesystem::path folder_;
};

std::vector<TraceTensor> Sample() {
  return {{.name = "embed", .shape = {2, 2}, .values = {1, 2, 3, 4}, .ids = {}},
          {.name = "layer.0", .shape = {3, 2}, .values = {1, -1, 2, -2, 3, -3}, .ids = {}},
          {.name = "greedy_ids", .shape = {3}, .values = {}, .ids = {7, 0, -1}}};
}

TraceReference SampleReference() { return {Sample(), {{"embed", 0.0}, {"layer.0", 0.25}}}; }

TEST_F(TraceFileTest, WritesWhatItReads) {
  const std::filesystem::path path = folder_ / "trace.safetensors";
  ASSERT_TRUE(WriteTrace(path, Sample()));
  const auto read = ReadTrace(path);
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 3U);
  for (const TraceTensor& want : Sample()) {
    const auto got = std::ranges::find(*read, want.name, &TraceTensor::name);
    ASSERT_NE(got, read->end()) << want.name;
    EXPECT_EQ(got->shape, want.shape);
    EXPECT_EQ(got->values, want.values);
    EXPECT_EQ(got->ids, want.ids);
  }
}

// A safetensors file of one tensor, I64: ids as PyTorch writes them.
std::string WideIds(int64_t id) {
  const std::string header = R"({"input_ids":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}})";
  std::string file(8, '\0');
  file[0] = static_cast<char>(header.size());
  file += header;
  for (int byte = 0; byte < 8; ++byte) file += static_cast<char>(static_cast<uint64_t>(id) >> (8 * byte));
  return file;
}

TEST_F(TraceFileTest, NarrowsWideIds) {
  Write("ids.safetensors", WideIds(123456));
  const auto read = ReadTrace(folder_ / "ids.safetensors");
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(read->at(0).ids, std::vector<TokenId>{123456});

  Write("ids.safetensors", WideIds(int64_t{1} << 32));
  const auto refused = ReadTrace(folder_ / "ids.safetensors");
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("'input_ids': 4294967296 is no id"), std::string::npos)
      << refused.error().message;
}

TEST_F(TraceFileTest, ReadsTolerancesBesideTheDump) {
  ASSERT_TRUE(WriteTrace(folder_ / "0.safetensors", Sample()));
  auto reference = ReadTraceReference(folder_ / "0.safetensors");
  ASSERT_TRUE(reference) << reference.error().message;
  EXPECT_TRUE(reference->tolerance.empty());

  Write("0.json", R"({"case": "x", "tolerance": {"layer.0": 0.25, "embed": 1e-5}})");
  reference = ReadTraceReference(folder_ / "0.safetensors");
  ASSERT_TRUE(reference) << reference.error().message;
  EXPECT_EQ(reference->tolerance.at("layer.0"), 0.25);
  EXPECT_EQ(reference->tolerance.at("embed"), 1e-5);

  Write("0.json", R"({"tolerance": {"layer.0": "small"}})");
  EXPECT_FALSE(ReadTraceReference(folder_ / "0.safetensors"));
  EXPECT_EQ(ReadTraceReference(folder_ / "1.safetensors").error().code, ErrorCode::kNotFound);
}

TEST(CompareTraceTest, EqualTracesDoNotDiffer) {
  const std::vector<TraceDifference> differences = CompareTrace(Sample(), SampleReference());
  ASSERT_EQ(differences.size(), 3U);
  for (const TraceDifference& difference : differences) {
    EXPECT_TRUE(difference.within) << difference.name;
    EXPECT_EQ(difference.largest, 0);
  }
}

TEST(CompareTraceTest, FindsTheLargestDifference) {
  std::vector<TraceTensor> trace = Sample();
  trace[1].values = {1, -1, 2.25F, -2, 3, -3};
  std::vector<TraceDifference> differences = CompareTrace(trace, SampleReference());
  EXPECT_TRUE(differences[1].within);  // just
  EXPECT_EQ(differences[1].largest, 0.25);
  trace[1].values = {1.1F, -1, 2, -2.5F, 3, -3};
  differences = CompareTrace(trace, SampleReference());
  EXPECT_TRUE(differences[0].within);
  EXPECT_FALSE(differences[1].within);
  EXPECT_EQ(differences[1].largest, 0.5);
  EXPECT_EQ(differences[1].where, "[1, 1]");
}

TEST(CompareTraceTest, WithoutAToleranceNothingMayDiffer) {
  std::vector<TraceTensor> trace = Sample();
  trace[0].values[3] = std::nextafter(4.0F, 5.0F);
  EXPECT_FALSE(CompareTrace(trace, {Sample(), {}})[0].within);
  EXPECT_TRUE(CompareTrace(Sample(), {Sample(), {}})[0].within);
}

TEST(CompareTraceTest, NothingIsCloseToNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<TraceTensor> trace = Sample();
  trace[1].values[2] = nan;
  const std::vector<TraceDifference> differences = CompareTrace(trace, SampleReference());
  EXPECT_FALSE(differences[1].within);
  EXPECT_TRUE(std::isnan(differences[1].largest));
  EXPECT_EQ(differences[1].where, "[1, 0]");
  TraceReference broken = SampleReference();
  broken.tensors[1].values[5] = nan;
  EXPECT_FALSE(CompareTrace(Sample(), broken)[1].within);
}

TEST(CompareTraceTest, ShapesMustAgree) {
  std::vector<TraceTensor> trace = Sample();
  trace[1].shape = {2, 3};
  EXPECT_FALSE(CompareTrace(trace, SampleReference())[1].within);
  EXPECT_EQ(CompareTrace(trace, SampleReference())[1].where, "the shape is [2, 3] instead of [3, 2]");
}

TEST(CompareTraceTest, AShortcutHasTheLastRows) {
  std::vector<TraceTensor> trace = Sample();
  trace[1] = {.name = "layer.0", .shape = {1, 2}, .values = {3, -2}, .ids = {}};
  EXPECT_FALSE(CompareTrace(trace, SampleReference())[1].within);
  const TraceDifference difference = CompareTrace(trace, SampleReference(), /*last_rows=*/true)[1];
  EXPECT_FALSE(difference.within);
  EXPECT_EQ(difference.largest, 1);
  EXPECT_EQ(difference.where, "[2, 1]");
  trace[1].values[1] = -3;
  EXPECT_TRUE(CompareTrace(trace, SampleReference(), /*last_rows=*/true)[1].within);
}

TEST(CompareTraceTest, IdsAreEqualOrNot) {
  std::vector<TraceTensor> trace = Sample();
  trace[2].ids = {7, 1, 1};
  TraceDifference difference = CompareTrace(trace, SampleReference())[2];
  EXPECT_FALSE(difference.within);
  EXPECT_EQ(difference.largest, 2);
  EXPECT_EQ(difference.where, "[1]: 1 instead of 0");  // the first
  trace[2].ids = {7, 0};                               // fewer were asked for
  EXPECT_TRUE(CompareTrace(trace, SampleReference())[2].within);
}

}  // namespace
}  // namespace carat
