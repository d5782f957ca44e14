#include "formats/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>

namespace carat::formats {
namespace {

std::string File(const std::string& header, size_t data_bytes) {
  const uint64_t length = header.size();
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + std::string(data_bytes, '\0');
}

std::string Fault(const std::string& bytes) {
  const auto entries = ParseSafetensors(std::as_bytes(std::span(bytes)), "m.safetensors");
  if (entries) return "";
  EXPECT_EQ(entries.error().code, ErrorCode::kBadModel);
  EXPECT_TRUE(entries.error().message.starts_with("m.safetensors: ")) << entries.error().message;
  EXPECT_EQ(entries.error().message.find('\n'), std::string::npos);
  return entries.error().message;
}

#define EXPECT_FAULT(file, part) EXPECT_NE(Fault(file).find(part), std::string::npos) << "'" << Fault(file) << "'"

constexpr const char* kValid =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[4,16]},)"
    R"("a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})";

TEST(Safetensors, MessagesStayOnOneLine) {
  const std::string message = Fault(File(R"({"two\nlines":7})", 0));
  EXPECT_NE(message.find("tensor 'two lines'"), std::string::npos) << message;
}

TEST(Safetensors, ReadsInOffsetOrder) {
  const std::string bytes = File(kValid, 16);
  const auto entries = ParseSafetensors(std::as_bytes(std::span(bytes)), "m");
  ASSERT_TRUE(entries) << entries.error().message;
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].name, "a");
  EXPECT_TRUE((*entries)[0].shape.empty());
  EXPECT_EQ((*entries)[1].type, quant::Type::kBF16);
  EXPECT_EQ((*entries)[1].shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ((*entries)[1].offset, 8 + std::strlen(kValid) + 4);
}

TEST(Safetensors, RefusesEveryTruncationAndTrailingBytes) {
  const std::string whole = File(kValid, 16);
  for (size_t length = 0; length < whole.size(); ++length) EXPECT_NE(Fault(whole.substr(0, length)), "") << length;
  EXPECT_FAULT(whole + "x", "behind the last tensor");
}

TEST(Safetensors, RefusesBrokenHeaders) {
  const auto tensor = [](const std::string& description, size_t data) {
    return File(R"({"t":)" + description + "}", data);
  };
  EXPECT_FAULT(File("", 0), "no JSON object");
  EXPECT_FAULT(File("[]", 0), "no JSON object");
  EXPECT_FAULT(File("{", 0), "not valid JSON");
  EXPECT_FAULT(File(R"({"a":1,"a":2})", 0), "occurs twice");
  EXPECT_FAULT(File(R"({"__metadata__":{"a":1}})", 0), "no string");
  EXPECT_FAULT(tensor("1", 0), "not described by an object");
  EXPECT_FAULT(tensor(R"({"dtype":"F9","shape":[1],"data_offsets":[0,4]})", 4), "dtype 'F9'");
  EXPECT_FAULT(tensor(R"({"shape":[1],"data_offsets":[0,4]})", 4), "'dtype' is missing");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","data_offsets":[0,4]})", 4), "has no shape");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[1]})", 4), "'data_offsets' is missing");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})", 4), "out of the range");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[1.5],"data_offsets":[0,4]})", 4), "must be an integer");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[1099511627776,1099511627776],"data_offsets":[0,4]})", 4), "overflows");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})", 4), "no range");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[0,8]})", 8), "spans 8 bytes");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8]})", 4), "beyond the end");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[9223372036854775803,9223372036854775807]})", 4),
               "beyond");
  EXPECT_FAULT(tensor(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})", 8), "leaves a hole");
  EXPECT_FAULT(
      File(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
          6),
      "overlaps");
  std::string huge(8, '\xff');
  EXPECT_FAULT(huge + "{}", "header would have");
}

TEST(Safetensors, WritesWhatItReads) {
  const auto path = std::filesystem::path(testing::TempDir()) / "written.safetensors";
  const float values[] = {1.0f, -2.0f, 0.5f};
  const int32_t ids[] = {7, 8};
  const SafetensorsTensor tensors[] = {
      {"layer.0", quant::Type::kF32, {3}, std::as_bytes(std::span(values))},
      {"ids", quant::Type::kI32, {1, 2}, std::as_bytes(std::span(ids))},
  };
  ASSERT_TRUE(WriteSafetensors(path, tensors));
  std::ifstream file(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(file), {}};
  const auto entries = ParseSafetensors(std::as_bytes(std::span(bytes)), "m");
  ASSERT_TRUE(entries) << entries.error().message;
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ((*entries)[0].name, "layer.0");
  EXPECT_EQ(std::memcmp(bytes.data() + (*entries)[0].offset, values, sizeof(values)), 0);
  EXPECT_EQ((*entries)[1].shape, (std::vector<int64_t>{1, 2}));
  const Status failed = WriteSafetensors("/no/such/folder/x.safetensors", tensors);
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("/no/such/folder"), std::string::npos);
}

}  // namespace
}  // namespace carat::formats
