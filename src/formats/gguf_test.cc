#include "formats/gguf.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/support/gguf_builder.h"

namespace carat::formats {
namespace {

using testing_support::GgufBuilder;
using Tensor = GgufBuilder::TensorSpec;

Result<GgufFile> Parse(const std::string& bytes) { return ParseGguf(std::as_bytes(std::span(bytes)), "m.gguf"); }

// The fault, or "" if the file is accepted. Every fault names the file, in one line.
std::string Fault(const std::string& bytes) {
  const Result<GgufFile> file = Parse(bytes);
  if (file) return "";
  EXPECT_EQ(file.error().code, ErrorCode::kBadModel);
  EXPECT_TRUE(file.error().message.starts_with("m.gguf: ")) << file.error().message;
  EXPECT_EQ(file.error().message.find('\n'), std::string::npos);
  return file.error().message;
}
std::string Fault(const GgufBuilder& builder) { return Fault(builder.Build()); }

#define EXPECT_FAULT(file, part) EXPECT_NE(Fault(file).find(part), std::string::npos) << "'" << Fault(file) << "'"

GgufBuilder Valid() {
  GgufBuilder builder;
  builder.String("general.architecture", "t").U32("n", 7).F32("f", 0.5f);
  builder.Tensor({"a.weight", {32, 2}, 2, std::string(36, '\x11')});
  builder.Tensor({"b", {3}, 0, std::string(12, '\0')});
  return builder;
}

// The worked example of the format description this reader was written from.
TEST(Gguf, ReadsTheWorkedExample) {
  GgufBuilder builder;
  builder.String("general.architecture", "t").U32("general.alignment", 32);
  builder.Add(GgufBuilder::Entry("t.a", GgufBuilder::kArray,
                                 GgufBuilder::Raw<uint32_t>(GgufBuilder::kI32) + GgufBuilder::Raw<uint64_t>(3) +
                                     GgufBuilder::Raw<int32_t>(1) + GgufBuilder::Raw<int32_t>(-2) +
                                     GgufBuilder::Raw<int32_t>(3)));
  builder.Add(GgufBuilder::Entry("t.b", GgufBuilder::kBool, std::string(1, '\1')));
  builder.Tensor({"a.weight", {32, 2}, 2, std::string(36, 'q')});
  builder.Tensor({"b", {3}, 0, std::string(12, 'f')});
  const std::string bytes = builder.Build();
  ASSERT_EQ(bytes.size(), 352u);
  const Result<GgufFile> file = Parse(bytes);
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->metadata.version, 3u);
  EXPECT_EQ(file->metadata.String("general.architecture").value(), "t");
  EXPECT_EQ(file->metadata.Integers("t.a", -9, 9).value(), (std::vector<int64_t>{1, -2, 3}));
  EXPECT_TRUE(file->metadata.Bool("t.b").value());
  ASSERT_EQ(file->tensors.size(), 2u);
  EXPECT_EQ(file->tensors[0].type, quant::Type::kQ4_0);
  EXPECT_EQ(file->tensors[0].shape, (std::vector<int64_t>{2, 32}));
  EXPECT_EQ(file->tensors[0].offset, 256u);
  EXPECT_EQ(file->tensors[1].offset, 320u);
  EXPECT_EQ(file->tensors[1].size_bytes, 12u);
}

TEST(Gguf, RefusesBrokenHeaders) {
  EXPECT_FAULT(std::string("GGUF"), "too short");
  GgufBuilder builder = Valid();
  builder.magic = "GGML";
  EXPECT_FAULT(builder, "not a GGUF file");
  for (const uint32_t version : {0u, 1u, 4u}) {
    builder = Valid();
    builder.version = version;
    EXPECT_FAULT(builder, "versions 2 and 3");
  }
  builder = Valid();
  builder.version = 0x03000000;
  EXPECT_FAULT(builder, "big-endian");
  builder.version = 2;
  EXPECT_EQ(Fault(builder), "");
  for (const int64_t count : {int64_t{20}, int64_t{1} << 40, INT64_MAX}) {
    builder = Valid();
    builder.tensor_count = count;
    EXPECT_NE(Fault(builder), "");
    builder = Valid();
    builder.entry_count = count;
    EXPECT_NE(Fault(builder), "");
  }
}

TEST(Gguf, RefusesBrokenMetadata) {
  const auto with = [](const std::string& entry) { return Valid().Add(entry).Build(); };
  EXPECT_FAULT(with(GgufBuilder::Entry("", GgufBuilder::kU32, "1234")), "empty or broken key");
  EXPECT_FAULT(with(GgufBuilder::Entry("two\nlines", GgufBuilder::kU32, "1234")), "empty or broken key");
  EXPECT_FAULT(with(GgufBuilder::Entry("n", GgufBuilder::kU32, "1234")), "'n' occurs twice");
  EXPECT_FAULT(with(GgufBuilder::Entry("x", 13, "1234")), "unknown value type 13");
  EXPECT_FAULT(with(GgufBuilder::Raw<uint64_t>(1 << 20) + "key"), "at most 65535");
  EXPECT_FAULT(with(GgufBuilder::Raw<uint64_t>(~0ull) + "key"), "at most");
  EXPECT_FAULT(with(GgufBuilder::Entry("x", GgufBuilder::kString, GgufBuilder::Raw<uint64_t>(~0ull))), "at most");
  EXPECT_FAULT(with(GgufBuilder::Entry("x", GgufBuilder::kString, GgufBuilder::Raw<uint64_t>(1 << 20))), "ends inside");
  const auto array = [](uint32_t type, uint64_t count) {
    return GgufBuilder::Entry("x", GgufBuilder::kArray, GgufBuilder::Raw(type) + GgufBuilder::Raw(count));
  };
  EXPECT_FAULT(with(array(GgufBuilder::kArray, 1)), "holds arrays");
  EXPECT_FAULT(with(array(99, 1)), "unknown element type 99");
  EXPECT_FAULT(with(array(GgufBuilder::kU32, uint64_t{1} << 62)), "more than the file can hold");
  EXPECT_FAULT(with(array(GgufBuilder::kString, uint64_t{1} << 61)), "more than the file can hold");
  EXPECT_FAULT(Valid().U32("general.alignment", 0).Build(), "general.alignment");
  EXPECT_FAULT(Valid().U32("general.alignment", 48).Build(), "no power of two");
  EXPECT_FAULT(Valid().U32("general.alignment", 1u << 20).Build(), "out of the range");
  EXPECT_FAULT(Valid().String("general.alignment", "32").Build(), "must be an integer");
  EXPECT_FAULT(Valid().U32("general.quantization_version", 3).Build(), "only 2 is known");
}

TEST(Gguf, RefusesBrokenTensors) {
  const auto with = [](Tensor tensor) { return Valid().Tensor(std::move(tensor)).Build(); };
  const std::string four(4, '\0');
  EXPECT_FAULT(with({"", {1}, 0, four}), "has no name");
  EXPECT_FAULT(with({"two\nlines", {1}, 0, four}), "or a broken one");
  EXPECT_FAULT(with({std::string(64, 'n'), {1}, 0, four}), "at most 63");
  EXPECT_FAULT(with({"b", {1}, 0, four}), "'b' occurs twice");
  EXPECT_FAULT(with({"x", {}, 0, four}), "0 dimensions");
  EXPECT_FAULT(with({"x", {1, 1, 1, 1, 1}, 0, four}), "5 dimensions");
  EXPECT_FAULT(with({"x", {0}, 0, four}), "a dimension of 0");
  EXPECT_FAULT(with({"x", {~0ull}, 0, four}), "a dimension of");
  EXPECT_FAULT(with({"x", {1ull << 40, 1ull << 40}, 0, four}), "overflows");
  EXPECT_FAULT(with({"x", {1ull << 33, 1ull << 33, 4}, 0, four}), "overflows");
  EXPECT_FAULT(with({"x", {33}, 2, four}), "no multiple of the block");
  EXPECT_FAULT(with({"x", {1}, 0, four, 3}), "is not aligned");
  EXPECT_FAULT(with({"x", {1}, 0, four, 1 << 20}), "beyond the end");
  EXPECT_FAULT(with({"x", {1}, 0, four, INT64_MAX / 32 * 32}), "beyond the end");
  EXPECT_FAULT(with({"x", {1 << 20}, 0, four}), "beyond the end");
  EXPECT_FAULT(with({"x", {1}, 0, four, 0}), "overlap");
  EXPECT_FAULT(with({"x", {32}, 4, four}), "removed from GGUF");
  EXPECT_FAULT(with({"x", {256}, 16, four}), "grid type");
  EXPECT_FAULT(with({"x", {32}, 39, four}), "MXFP4");
  EXPECT_FAULT(with({"x", {256}, 137, four}), "another engine");
  EXPECT_FAULT(with({"x", {32}, 77, four}), "unknown type 77");
  EXPECT_FAULT(with({"x", {32}, 0xffffffff, four}), "unknown type");
}

TEST(Gguf, RefusesEveryTruncation) {
  const std::string whole = Valid().Build();
  // The padding behind the last tensor may be absent.
  const size_t needed = whole.size() - (32 - 12);
  EXPECT_EQ(Fault(whole.substr(0, needed)), "");
  for (size_t length = 0; length < needed; ++length) EXPECT_NE(Fault(whole.substr(0, length)), "") << length;
}

TEST(Gguf, AcceptsReorderedTensorsWithGaps) {
  GgufBuilder builder = Valid();
  builder.tensors[0].offset = 128;
  builder.tensors[1].offset = 0;
  std::string bytes = builder.Build();
  bytes.resize(bytes.size() + 128);
  EXPECT_EQ(Fault(bytes), "");
}

TEST(GgufMetadata, LookUpsCheckTypesAndRanges) {
  GgufBuilder builder;
  builder.String("s", "text").U32("n", 7).F32("f", 0.5f).F32("inf", INFINITY);
  builder.Add(GgufBuilder::Entry("big", 10, GgufBuilder::Raw<uint64_t>(~0ull)));
  builder.Add(GgufBuilder::Entry("d", 12, GgufBuilder::Raw<double>(0.25)));
  builder.Add(GgufBuilder::Entry("strings", GgufBuilder::kArray, GgufBuilder::StringArray({"a", "", "bc"})));
  const std::string bytes = builder.Build();
  const Result<GgufFile> file = Parse(bytes);
  ASSERT_TRUE(file) << file.error().message;
  const GgufMetadata& metadata = file->metadata;
  EXPECT_EQ(metadata.Integer("n", 0, 9).value(), 7);
  EXPECT_EQ(metadata.Integer("n", 0, 6).error().message, "m.gguf: the key 'n' is 7, out of the range 0 to 6");
  EXPECT_EQ(metadata.Integer("s", 0, 6).error().message,
            "m.gguf: the key 's' must be an integer, but is of the type string");
  EXPECT_EQ(metadata.Integer("x", 0, 6).error().message, "m.gguf: the key 'x' is missing");
  EXPECT_FALSE(metadata.Integer("big", 0, INT64_MAX));
  EXPECT_EQ(metadata.IntegerOr("x", 5, 0, 6).value(), 5);
  EXPECT_FALSE(metadata.IntegerOr("s", 5, 0, 6));
  EXPECT_EQ(metadata.Float("f").value(), 0.5);
  EXPECT_EQ(metadata.Float("d").value(), 0.25);
  EXPECT_FALSE(metadata.Float("n"));
  EXPECT_FALSE(metadata.Float("inf"));
  EXPECT_FALSE(metadata.Bool("n"));
  EXPECT_FALSE(metadata.String("n"));
  EXPECT_EQ(metadata.Integers("n", 0, 9).value(), (std::vector<int64_t>{7}));
  EXPECT_FALSE(metadata.Integers("strings", 0, 9));
  EXPECT_EQ(metadata.Floats("f").value(), (std::vector<double>{0.5}));
  ASSERT_EQ(metadata.Strings("strings")->size(), 3u);
  EXPECT_EQ((*metadata.Strings("strings"))[2], "bc");
  EXPECT_FALSE(metadata.Strings("s"));
  EXPECT_EQ(metadata.keys().front(), "s");
}

}  // namespace
}  // namespace carat::formats
