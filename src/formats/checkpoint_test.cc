#include "formats/checkpoint.h"

#include <gtest/gtest.h>

#include <fstream>

#include "tests/support/gguf_builder.h"

namespace carat::formats {
namespace {

using testing_support::GgufBuilder;

class CheckpointTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& name, const std::string& bytes) {
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
  }
  // A safetensors file of one F32 tensor of one element.
  void WriteTensor(const std::string& file, const std::string& tensor) {
    const std::string header = "{\"" + tensor + R"(":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
    Write(file, GgufBuilder::Raw<uint64_t>(header.size()) + header + std::string(4, '\0'));
  }
  std::string Fault(const std::string& name = "") {
    const auto checkpoint = Checkpoint::Open(name.empty() ? folder_ : folder_ / name);
    return checkpoint ? "" : checkpoint.error().message;
  }

  std::filesystem::path folder_;
};

#define EXPECT_FAULT(part, ...) \
  EXPECT_NE(Fault(__VA_ARGS__).find(part), std::string::npos) << "'" << Fault(__VA_ARGS__) << "'"

GgufBuilder Shard(int number, int count, const std::string& tensor) {
  GgufBuilder builder;
  builder.Add(GgufBuilder::Entry("split.no", 2, GgufBuilder::Raw<uint16_t>(static_cast<uint16_t>(number))));
  builder.Add(GgufBuilder::Entry("split.count", 2, GgufBuilder::Raw<uint16_t>(static_cast<uint16_t>(count))));
  builder.Tensor({tensor, {1}, 0, std::string(4, static_cast<char>('0' + number))});
  return builder;
}

TEST_F(CheckpointTest, OpensSplitGguf) {
  GgufBuilder first = Shard(0, 3, "c");
  first.Add(GgufBuilder::Entry("split.tensors.count", GgufBuilder::kI32, GgufBuilder::Raw<int32_t>(3)));
  Write("m-00001-of-00003.gguf", first.String("general.architecture", "t").Build());
  Write("m-00002-of-00003.gguf", Shard(1, 3, "a").Build());
  Write("m-00003-of-00003.gguf", Shard(2, 3, "b").Build());
  for (const char* name : {"m-00001-of-00003.gguf", ""}) {
    const auto checkpoint = Checkpoint::Open(*name ? folder_ / name : folder_);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->tensors().size(), 3u);
    ASSERT_NE(checkpoint->Find("b"), nullptr);
    EXPECT_EQ(static_cast<char>(checkpoint->Find("b")->data[0]), '2');
    EXPECT_EQ(checkpoint->Find("nothing"), nullptr);
    EXPECT_NE(checkpoint->gguf(), nullptr);
    EXPECT_EQ(checkpoint->hf(), nullptr);
  }
  EXPECT_FAULT("name the first of them", "m-00002-of-00003.gguf");
  Write("m-00002-of-00003.gguf", Shard(2, 3, "a").Build());
  EXPECT_FAULT("says that it is part 3 of 3", "m-00001-of-00003.gguf");
  Write("m-00002-of-00003.gguf", Shard(1, 3, "b").Build());
  EXPECT_FAULT("'b' occurs in two files", "m-00001-of-00003.gguf");
  std::filesystem::remove(folder_ / "m-00002-of-00003.gguf");
  EXPECT_FAULT("m-00002-of-00003.gguf", "m-00001-of-00003.gguf");
}

TEST_F(CheckpointTest, SplitGgufMustHaveAllTensors) {
  GgufBuilder first = Shard(0, 2, "a");
  first.Add(GgufBuilder::Entry("split.tensors.count", GgufBuilder::kI32, GgufBuilder::Raw<int32_t>(9)));
  Write("m-00001-of-00002.gguf", first.Build());
  Write("m-00002-of-00002.gguf", Shard(1, 2, "b").Build());
  EXPECT_FAULT("should have 9 tensors", "m-00001-of-00002.gguf");
}

TEST_F(CheckpointTest, OpensFolders) {
  EXPECT_FAULT("neither a config.json nor a .gguf");
  Write("config.json", "{\"model_type\": \"x\"}");
  EXPECT_FAULT("neither model.safetensors nor");
  WriteTensor("model.safetensors", "t");
  const auto checkpoint = Checkpoint::Open(folder_);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  ASSERT_NE(checkpoint->hf(), nullptr);
  EXPECT_EQ(checkpoint->hf()->Config().String("model_type").value(), "x");
  EXPECT_TRUE(checkpoint->hf()->tokenizer_json.empty());
  ASSERT_NE(checkpoint->Find("t"), nullptr);
  EXPECT_EQ(checkpoint->Find("t")->shape, std::vector<int64_t>{1});
  EXPECT_FAULT("name the folder", "model.safetensors");
  Write("config.json", "[]");
  EXPECT_FAULT("not a JSON object");
  Write("config.json", "{");
  EXPECT_FAULT("config.json: not valid JSON");
}

TEST_F(CheckpointTest, OpensShardedFoldersButTrustsNoNames) {
  Write("config.json", "{}");
  WriteTensor("model-1.safetensors", "a");
  WriteTensor("model-2.safetensors", "b");
  const auto index = [&](const std::string& map) {
    Write("model.safetensors.index.json", "{\"weight_map\": " + map + "}");
  };
  index(R"({"a": "model-1.safetensors", "b": "model-2.safetensors"})");
  EXPECT_EQ(Fault(), "");
  index(R"({"a": "model-2.safetensors", "b": "model-2.safetensors"})");
  EXPECT_FAULT("tensor 'a' is not in 'model-2.safetensors'");
  for (const char* name :
       {"../model-1.safetensors", "/etc/passwd", "x/y.safetensors", "C:m.safetensors", "model-1.bin", ""}) {
    index(std::string(R"({"a": ")") + name + "\"}");
    EXPECT_FAULT("no .safetensors file of this folder");
  }
  index(R"({"a": 1})");
  EXPECT_FAULT("is no string");
  index("[]");
  EXPECT_FAULT("must be an object");
  index(R"({"a": "model-3.safetensors"})");
  EXPECT_FAULT("model-3.safetensors");
}

TEST_F(CheckpointTest, NamesWhatIsMissingOrAmbiguous) {
  const auto missing = Checkpoint::Open(folder_ / "nothing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::kNotFound);
  Write("a.gguf", GgufBuilder().Build());
  Write("b.gguf", GgufBuilder().Build());
  Write("mmproj-a.gguf", "");
  EXPECT_FAULT("there are 2 .gguf files; name one, such as a.gguf");
}

TEST_F(CheckpointTest, PartsThatAreNamedMustBeThere) {
  Write("config.json", "{}");
  Write("model.safetensors.index.json", R"({"weight_map": {"a": "model-00001-of-00002.safetensors"}})");
  EXPECT_FAULT("model-00001-of-00002.safetensors: is missing; model.safetensors.index.json needs it");
}

TEST_F(CheckpointTest, TextNeedsNoWeights) {
  Write("tokenizer.json", "{}");
  EXPECT_NE(Fault(), "");
  const auto checkpoint = Checkpoint::OpenForText(folder_);
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->hf()->tokenizer_json, folder_ / "tokenizer.json");
  EXPECT_TRUE(checkpoint->tensors().empty());
}

TEST_F(CheckpointTest, TextNeedsTheMetadataOfAGgufFileOnly) {
  GgufBuilder builder;
  builder.String("general.name", "x").U32("split.count", 2).U32("split.no", 0);  // the second file is not here
  builder.Tensor({.name = "a", .dims = {4}, .type = 99, .data = std::string(16, '\0')});
  const std::string bytes = builder.Build();
  Write("model.gguf", bytes);
  EXPECT_NE(Fault(), "");
  const auto whole = Checkpoint::OpenForText(folder_);
  ASSERT_TRUE(whole) << whole.error().message;
  EXPECT_EQ(*whole->gguf()->String("general.name"), "x");
  Write("model.gguf", bytes.substr(0, 120));  // cut off inside of the description of the tensor
  EXPECT_TRUE(Checkpoint::OpenForText(folder_));
  Write("model.gguf", bytes.substr(0, 50));
  EXPECT_FALSE(Checkpoint::OpenForText(folder_));
}

}  // namespace
}  // namespace carat::formats
