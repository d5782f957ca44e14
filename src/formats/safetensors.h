// safetensors: a JSON header that describes tensors, then their bytes (little endian, row-major).
// Format: https://github.com/huggingface/safetensors. Everything is checked before it is believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/result.h"
#include "quant/type.h"

namespace carat::formats {

struct SafetensorsEntry {
  std::string name;
  quant::Type type = quant::Type::kF32;
  std::vector<int64_t> shape;  // empty for a scalar
  uint64_t offset = 0;         // in the file
  uint64_t size_bytes = 0;
};

// In the order of their offsets. Error: kBadModel, naming `file_name`, and the tensor where one is to blame.
Result<std::vector<SafetensorsEntry>> ParseSafetensors(std::span<const std::byte> bytes, std::string_view file_name);

struct SafetensorsTensor {
  std::string name;
  quant::Type type = quant::Type::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> data;
};

// Writes to a temporary name first, so that `path` is a whole file or what it was before. Error: kFailure.
Status WriteSafetensors(const std::filesystem::path& path, std::span<const SafetensorsTensor> tensors);

}  // namespace carat::formats
