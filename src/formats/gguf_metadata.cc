// Typed look-ups in GGUF metadata.
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "base/try.h"
#include "formats/gguf.h"

namespace carat::formats {

namespace {

constexpr const char* kTypeNames[] = {"u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
                                      "bool", "string", "array", "u64", "i64", "f64"};

template <typename T>
T Load(std::span<const std::byte> bytes, uint64_t index) {
  T value;
  std::memcpy(&value, bytes.data() + index * sizeof(T), sizeof(T));
  return value;
}

bool IsFloat(GgufType type) { return type == GgufType::kF32 || type == GgufType::kF64; }

double LoadFloat(GgufType type, std::span<const std::byte> bytes, uint64_t index) {
  return type == GgufType::kF32 ? static_cast<double>(Load<float>(bytes, index)) : Load<double>(bytes, index);
}

// An integer of any width, or a bool. Nothing for other types and for numbers beyond int64.
std::optional<int64_t> LoadInteger(GgufType type, std::span<const std::byte> bytes, uint64_t index) {
  switch (type) {
    case GgufType::kU8:
      return Load<uint8_t>(bytes, index);
    case GgufType::kI8:
      return Load<int8_t>(bytes, index);
    case GgufType::kU16:
      return Load<uint16_t>(bytes, index);
    case GgufType::kI16:
      return Load<int16_t>(bytes, index);
    case GgufType::kU32:
      return Load<uint32_t>(bytes, index);
    case GgufType::kI32:
      return Load<int32_t>(bytes, index);
    case GgufType::kI64:
      return Load<int64_t>(bytes, index);
    case GgufType::kBool:
      return Load<uint8_t>(bytes, index) != 0;
    case GgufType::kU64: {
      const auto value = Load<uint64_t>(bytes, index);
      if (value > uint64_t{std::numeric_limits<int64_t>::max()}) return std::nullopt;
      return static_cast<int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

class Lookup {
 public:
  Lookup(const GgufMetadata& metadata, std::string_view key)
      : metadata_(metadata), key_(key), value_(metadata.Find(key)) {}

  std::unexpected<Error> FailKey(const std::string& what) const {
    return Fail(ErrorCode::kBadModel, metadata_.file_name + ": the key '" + std::string(key_) + "' " + what);
  }
  std::unexpected<Error> FailType(const char* wanted) const {
    const GgufType type = value_->type;
    return FailKey(std::string("must be ") + wanted + ", but is of the type " + kTypeNames[static_cast<size_t>(type)]);
  }
  Result<const GgufValue*> Require() const {
    if (value_ == nullptr) return FailKey("is missing");
    return value_;
  }
  Result<int64_t> Integer(GgufType type, uint64_t index, int64_t min, int64_t max) const {
    const std::optional<int64_t> number = LoadInteger(type, value_->bytes, index);
    if (!number) return FailType("an integer");
    if (*number < min || *number > max)
      return FailKey("is " + std::to_string(*number) + ", out of the range " + std::to_string(min) + " to " +
                     std::to_string(max));
    return *number;
  }
  Result<double> Float(GgufType type, uint64_t index) const {
    if (!IsFloat(type)) return FailType("a float");
    const double number = LoadFloat(type, value_->bytes, index);
    if (!std::isfinite(number)) return FailKey("is not finite");
    return number;
  }

 private:
  const GgufMetadata& metadata_;
  std::string_view key_;
  const GgufValue* value_;
};

}  // namespace

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

std::span<const std::string_view> GgufMetadata::keys() const { return keys_; }

Result<std::string_view> GgufMetadata::String(std::string_view key) const {
  const Lookup lookup(*this, key);
  TRY_ASSIGN(const GgufValue* value, lookup.Require());
  if (value->type != GgufType::kString) return lookup.FailType("a string");
  return std::string_view(reinterpret_cast<const char*>(value->bytes.data()), value->bytes.size());
}

Result<int64_t> GgufMetadata::Integer(std::string_view key, int64_t min, int64_t max) const {
  const Lookup lookup(*this, key);
  TRY_ASSIGN(const GgufValue* value, lookup.Require());
  if (value->type == GgufType::kBool) return lookup.FailType("an integer");
  return lookup.Integer(value->type, 0, min, max);
}

Result<double> GgufMetadata::Float(std::string_view key) const {
  const Lookup lookup(*this, key);
  TRY_ASSIGN(const GgufValue* value, lookup.Require());
  return lookup.Float(value->type, 0);
}

Result<bool> GgufMetadata::Bool(std::string_view key) const {
  const Lookup lookup(*this, key);
  TRY_ASSIGN(const GgufValue* value, lookup.Require());
  if (value->type != GgufType::kBool) return lookup.FailType("a bool");
  return Load<uint8_t>(value->bytes, 0) != 0;
}

Result<std::vector<std::string_view>> GgufMetadata::Strings(std::string_view key) const {
  const Lookup lookup(*this, key);
  TRY_ASSIGN(const GgufValue* value, lookup.Require());
  if (value->type != GgufType::kArray || value->element_type != GgufType::kString)
    return lookup.FailType("an array of strings");
  std::vector<std::string_view> strings;
  strings.reserve(value->count);
  const std::byte* at = value->bytes.data();  // of a length and the characters behind it, which the parser has checked
  for (uint64_t i = 0; i < value->count; ++i) {
    uint64_t length = 0;
    std::memcpy(&length, at, sizeof(length));
    strings.emplace_back(reinterpret_cast<const char*>(at) + sizeof(length), length);
    at += sizeof(length) + length;
  }
  return strings;
}

Result<std::vector<int64_t>> GgufMetadata::Integers(std::string_view key, int64_t min, int64_t max) const {
  const Lookup lookup(*this, key);
  TRY_ASSIGN(const GgufValue* value, lookup.Require());
  const GgufType type = value->type == GgufType::kArray ? value->element_type : value->type;
  std::vector<int64_t> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    TRY_ASSIGN(const int64_t number, lookup.Integer(type, i, min, max));
    numbers.push_back(number);
  }
  return numbers;
}

Result<std::vector<double>> GgufMetadata::Floats(std::string_view key) const {
  const Lookup lookup(*this, key);
  TRY_ASSIGN(const GgufValue* value, lookup.Require());
  const GgufType type = value->type == GgufType::kArray ? value->element_type : value->type;
  std::vector<double> numbers;
  numbers.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    TRY_ASSIGN(const double number, lookup.Float(type, i));
    numbers.push_back(number);
  }
  return numbers;
}

Result<int64_t> GgufMetadata::IntegerOr(std::string_view key, int64_t fallback, int64_t min, int64_t max) const {
  if (Find(key) == nullptr) return fallback;
  return Integer(key, min, max);
}
Result<double> GgufMetadata::FloatOr(std::string_view key, double fallback) const {
  if (Find(key) == nullptr) return fallback;
  return Float(key);
}
Result<bool> GgufMetadata::BoolOr(std::string_view key, bool fallback) const {
  if (Find(key) == nullptr) return fallback;
  return Bool(key);
}

}  // namespace carat::formats
