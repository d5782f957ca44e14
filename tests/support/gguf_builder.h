// Builds GGUF files in memory, right ones and wrong ones, for tests and fuzz seeds.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace carat::testing_support {

class GgufBuilder {
 public:
  // Type ids of the format.
  enum : uint32_t { kU32 = 4, kI32 = 5, kF32 = 6, kBool = 7, kString = 8, kArray = 9 };

  struct TensorSpec {
    std::string name;
    std::vector<uint64_t> dims;  // fastest first, as in the file
    uint32_t type = 0;
    std::string data;
    int64_t offset = -1;  // -1: behind the tensor before it
  };

  // Raw little-endian parts of values.
  template <typename T>
  static std::string Raw(T value) {
    std::string bytes(sizeof(T), '\0');
    std::memcpy(bytes.data(), &value, sizeof(T));
    return bytes;
  }
  static std::string Text(std::string_view text) { return Raw<uint64_t>(text.size()) + std::string(text); }
  static std::string Entry(std::string_view key, uint32_t type, const std::string& payload) {
    return Text(key) + Raw(type) + payload;
  }
  static std::string StringArray(const std::vector<std::string>& strings) {
    std::string payload = Raw<uint32_t>(kString) + Raw<uint64_t>(strings.size());
    for (const std::string& text : strings) payload += Text(text);
    return payload;
  }

  GgufBuilder& String(std::string_view key, std::string_view value) { return Add(Entry(key, kString, Text(value))); }
  GgufBuilder& U32(std::string_view key, uint32_t value) { return Add(Entry(key, kU32, Raw(value))); }
  GgufBuilder& F32(std::string_view key, float value) { return Add(Entry(key, kF32, Raw(value))); }
  GgufBuilder& Add(std::string entry) {
    entries.push_back(std::move(entry));
    return *this;
  }
  GgufBuilder& Tensor(TensorSpec tensor) {
    tensors.push_back(std::move(tensor));
    return *this;
  }

  std::string Build() const {
    std::string head = magic + Raw(version) +
                       Raw(tensor_count >= 0 ? static_cast<uint64_t>(tensor_count) : tensors.size()) +
                       Raw(entry_count >= 0 ? static_cast<uint64_t>(entry_count) : entries.size());
    for (const std::string& entry : entries) head += entry;
    std::string data;
    for (const TensorSpec& tensor : tensors) {
      head += Text(tensor.name) + Raw(static_cast<uint32_t>(tensor.dims.size()));
      for (const uint64_t size : tensor.dims) head += Raw(size);
      head += Raw(tensor.type) + Raw(tensor.offset >= 0 ? static_cast<uint64_t>(tensor.offset) : data.size());
      data += tensor.data;
      data.resize((data.size() + alignment - 1) / alignment * alignment);
    }
    if (tensors.empty()) return head;
    head.resize((head.size() + alignment - 1) / alignment * alignment);
    return head + data;
  }

  std::string magic = "GGUF";
  uint32_t version = 3;
  int64_t tensor_count = -1, entry_count = -1;  // -1: the true ones
  size_t alignment = 32;                        // of the layout; say so in the metadata if it is not 32
  std::vector<std::string> entries;
  std::vector<TensorSpec> tensors;
};

}  // namespace carat::testing_support
