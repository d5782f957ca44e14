// GGUF v2 and v3: a self-describing container of metadata and tensors (little endian).
// Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Everything is checked before it is believed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "carat/result.h"
#include "quant/type.h"

namespace carat::formats {

enum class GgufType : uint32_t { kU8 = 0, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

// A metadata value: a view into the file's bytes.
struct GgufValue {
  GgufType type = GgufType::kU8;          // of the value; kArray for arrays
  GgufType element_type = GgufType::kU8;  // arrays only
  uint64_t count = 1;                     // arrays: elements
  std::span<const std::byte> bytes;       // payload; strings without their length, but with it in arrays
};

// Typed look-ups. A key that is there with another type, or a number out of range, is an error (kBadModel) that names
// the key; integers of any width serve where an integer is asked for, f32 and f64 where a float is.
class GgufMetadata {
 public:
  const GgufValue* Find(std::string_view key) const;  // null if absent
  std::span<const std::string_view> keys() const;     // in file order

  Result<std::string_view> String(std::string_view key) const;
  Result<int64_t> Integer(std::string_view key, int64_t min, int64_t max) const;
  Result<double> Float(std::string_view key) const;  // finite
  Result<bool> Bool(std::string_view key) const;
  // Made anew for each call: those of a vocabulary and its merges take as much memory as a small model.
  Result<std::vector<std::string_view>> Strings(std::string_view key) const;
  // Arrays of any integer width, bool or float; a scalar is taken as an array of one.
  Result<std::vector<int64_t>> Integers(std::string_view key, int64_t min, int64_t max) const;
  Result<std::vector<double>> Floats(std::string_view key) const;
  // As the function of the same name, but `fallback` if the key is absent.
  Result<int64_t> IntegerOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const;
  Result<double> FloatOr(std::string_view key, double fallback) const;
  Result<bool> BoolOr(std::string_view key, bool fallback) const;

  std::string file_name;  // for messages
  uint32_t version = 0;

 private:
  friend struct GgufParser;
  std::vector<std::string_view> keys_;
  std::unordered_map<std::string_view, GgufValue> values_;
};

struct GgufTensorInfo {
  std::string_view name;
  quant::Type type = quant::Type::kF32;
  std::vector<int64_t> shape;  // outermost first (the reverse of the file's order)
  uint64_t offset = 0;         // in the file
  uint64_t size_bytes = 0;
};

struct GgufFile {
  GgufMetadata metadata;
  std::vector<GgufTensorInfo> tensors;  // in file order
};

// `file_name` is for messages. Views into `bytes`.
Result<GgufFile> ParseGguf(std::span<const std::byte> bytes, std::string_view file_name);
// The metadata alone: what stands behind it may be missing, or of types that are not supported.
Result<GgufMetadata> ParseGgufMetadata(std::span<const std::byte> bytes, std::string_view file_name);

}  // namespace carat::formats
