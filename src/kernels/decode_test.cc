// What the blocks mean: every table's decode and unpack against vectors that others computed.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/expect.h"
#include "kernels/kernels.h"
#include "kernels/testing.h"
#include "quant/blocks.h"

namespace carat::kernels {
namespace {

using quant::Type;

std::vector<float> DecodeAll(const Kernels& table, Type type, std::span<const std::byte> blocks) {
  const quant::TypeInfo& info = quant::Info(type);
  const size_t n = blocks.size() / static_cast<size_t>(info.block_bytes) * static_cast<size_t>(info.block_elements);
  // An odd address, and exactly as many bytes as the row has, so that a sanitizer sees a read beyond them.
  std::vector<std::byte> unaligned(blocks.size() + 1);
  std::memcpy(unaligned.data() + 1, blocks.data(), blocks.size());
  std::vector<float> values(n);
  table.decode[static_cast<size_t>(type)](unaligned.data() + 1, values.data(), static_cast<int64_t>(n));
  return values;
}

// scale * code + offset of the unpacked row.
std::vector<float> UnpackAll(const Kernels& table, Type type, std::span<const std::byte> blocks) {
  const quant::TypeInfo& info = quant::Info(type);
  const auto n = static_cast<int64_t>(blocks.size()) / info.block_bytes * info.block_elements;
  testing::UnpackedRows rows(1, n, GroupColumns(type), HasOffset(type));
  table.unpack[static_cast<size_t>(type)](blocks.data(), rows.Row(0), n);
  std::vector<float> values;
  for (int64_t i = 0; i < n; ++i) {
    float value =
        rows.scale[static_cast<size_t>(i / rows.group)] * static_cast<float>(rows.codes[static_cast<size_t>(i)]);
    if (HasOffset(type)) value += rows.offset[static_cast<size_t>(i / rows.group)];
    values.push_back(value);
  }
  return values;
}

// Section "Conformance vectors" of the format's description: block bytes (37 i + 11) mod 256, first f16 field 1.0,
// second 0.5.
struct Conformance {
  Type type;
  int d, m;  // byte offsets of the f16 fields, -1: there is none
  double sum, abs_sum, weighted_sum;
  float first, second, middle, last;
};
constexpr Conformance kConformance[] = {
    {Type::kQ4_0, 0, -1, -21.0, 123.0, -518.0, -3.0f, 2.0f, -3.0f, 0.0f},
    {Type::kQ4_1, 0, 2, 261.0, 261.0, 4247.0, 15.5f, 4.5f, 9.5f, 12.5f},
    {Type::kQ5_0, 0, -1, 15.0, 247.0, 112.0, 9.0f, -2.0f, 14.0f, 1.0f},
    {Type::kQ5_1, 0, 2, 521.0, 521.0, 8165.0, 19.5f, 24.5f, 19.5f, 5.5f},
    {Type::kQ8_0, 0, -1, -176.0, 2172.0, -8080.0, 85.0f, 122.0f, -91.0f, -48.0f},
    {Type::kQ2_K, 80, 82, 2059.0, 2564.0, 243130.0, 33.0f, 0.0f, 7.5f, 4.5f},
    {Type::kQ3_K, 108, -1, 958.0, 9210.0, 177145.0, 81.0f, -108.0f, 2.0f, 42.0f},
    {Type::kQ4_K, 0, 2, 54440.0, 55028.0, 7572840.0, 315.5f, -25.5f, 423.0f, 48.5f},
    {Type::kQ5_K, 0, 2, 116216.0, 116559.0, 16027448.0, 811.5f, -25.5f, 1047.0f, 108.5f},
    {Type::kQ6_K, 208, -1, 4612.0, 266502.0, 784420.0, -1431.0f, 1696.0f, -351.0f, -60.0f},
    {Type::kIQ4_NL, 0, -1, -257.0, 1705.0, -6919.0, -35.0f, 25.0f, -35.0f, 1.0f},
    {Type::kIQ4_XS, 0, -1, -11005.0, 166663.0, -2091134.0, 65.0f, -1.0f, -585.0f, -16.0f},
};

class DecodeTest : public ::testing::TestWithParam<const Kernels*> {};

TEST_P(DecodeTest, ConformanceVectors) {
  for (const Conformance& expected : kConformance) {
    SCOPED_TRACE(quant::Info(expected.type).name);
    std::vector<std::byte> block(static_cast<size_t>(quant::Info(expected.type).block_bytes));
    for (size_t i = 0; i < block.size(); ++i) block[i] = static_cast<std::byte>((37 * i + 11) % 256);
    const uint16_t one = 0x3c00, half = 0x3800;
    std::memcpy(block.data() + expected.d, &one, 2);
    if (expected.m >= 0) std::memcpy(block.data() + expected.m, &half, 2);

    for (const auto& values :
         {DecodeAll(*GetParam(), expected.type, block), UnpackAll(*GetParam(), expected.type, block)}) {
      double sum = 0, abs_sum = 0, weighted_sum = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        sum += values[i];
        abs_sum += std::fabs(values[i]);
        weighted_sum += static_cast<double>(i + 1) * values[i];
      }
      EXPECT_EQ(sum, expected.sum);
      EXPECT_EQ(abs_sum, expected.abs_sum);
      EXPECT_EQ(weighted_sum, expected.weighted_sum);
      EXPECT_EQ(values[0], expected.first);
      EXPECT_EQ(values[1], expected.second);
      EXPECT_EQ(values[values.size() / 2], expected.middle);
      EXPECT_EQ(values.back(), expected.last);
    }
  }
}

Type TypeByName(std::string_view name) {
  for (int i = 0; i < quant::kTypeCount; ++i)
    if (quant::Info(static_cast<Type>(i)).name == name) return static_cast<Type>(i);
  ADD_FAILURE() << "no type " << name;
  return Type::kF32;
}

void ExpectDecodes(const Kernels& table, Type type, std::span<const std::byte> blocks,
                   std::span<const std::byte> values) {
  SCOPED_TRACE(quant::Info(type).name);
  std::vector<float> expected(values.size() / sizeof(float));
  std::memcpy(expected.data(), values.data(), values.size());
  testing::ExpectSameBits(DecodeAll(table, type, blocks), expected);
  if (table.unpack[static_cast<size_t>(type)] != nullptr)
    testing::ExpectSameBits(UnpackAll(table, type, blocks), expected);
}

std::vector<std::byte> FromHex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

// Random blocks and the weights that the gguf Python package reads from them (tools/reference/blocks.py).
TEST_P(DecodeTest, AgreesWithGgufPackage) {
  std::ifstream file(CARAT_SOURCE_DIR "/tests/data/quant/blocks.json");
  const nlohmann::json cases = nlohmann::json::parse(file, nullptr, false);
  ASSERT_TRUE(cases.is_object());
  EXPECT_EQ(cases["types"].size(), 14u);
  for (const auto& [name, data] : cases["types"].items())
    ExpectDecodes(*GetParam(), TypeByName(name), FromHex(data["blocks"]), FromHex(data["values"]));
}

// The larger set, where it is at hand: NAME:blocks and NAME:values in a safetensors file.
TEST_P(DecodeTest, AgreesWithSharedBlocks) {
  std::ifstream file(CARAT_SOURCE_DIR "/../shared/golden/mobile/blocks/decode.safetensors", std::ios::binary);
  if (!file) GTEST_SKIP() << "no shared data";
  uint64_t header_bytes = 0;
  file.read(reinterpret_cast<char*>(&header_bytes), 8);
  ASSERT_LT(header_bytes, 1u << 20);
  std::string text(header_bytes, ' ');
  file.read(text.data(), static_cast<std::streamsize>(header_bytes));
  const nlohmann::json header = nlohmann::json::parse(text, nullptr, false);
  const auto read = [&](const std::string& name) {
    const uint64_t begin = header[name]["data_offsets"][0], end = header[name]["data_offsets"][1];
    std::vector<std::byte> bytes(end - begin);
    file.seekg(static_cast<std::streamoff>(8 + header_bytes + begin));
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    return bytes;
  };
  int types = 0;
  for (const auto& [key, unused] : header.items()) {
    if (!key.ends_with(":blocks")) continue;
    const std::string name = key.substr(0, key.size() - 7);
    ExpectDecodes(*GetParam(), TypeByName(name), read(key), read(name + ":values"));
    ++types;
  }
  EXPECT_EQ(types, 14);
}

INSTANTIATE_TEST_SUITE_P(Tables, DecodeTest, ::testing::ValuesIn(testing::TablesToTest()), testing::TableName);

}  // namespace
}  // namespace carat::kernels
