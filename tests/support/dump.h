// The tensors of a safetensors file by name, for tests.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "formats/safetensors.h"

namespace carat::testing_support {

class Dump {
 public:
  explicit Dump(const std::filesystem::path& path) {
    auto file = MappedFile::Open(path);
    if (!file) {
      ADD_FAILURE() << file.error().message;
      return;
    }
    file_ = std::move(*file);
    auto entries = formats::ParseSafetensors(file_.bytes(), path.string());
    if (!entries) ADD_FAILURE() << entries.error().message;
    if (entries)
      for (formats::SafetensorsEntry& entry : *entries) entries_.emplace(entry.name, entry);
  }

  bool Has(const std::string& name) const { return entries_.contains(name); }
  const std::map<std::string, formats::SafetensorsEntry>& entries() const { return entries_; }
  const std::vector<int64_t>& Shape(const std::string& name) const { return entries_.at(name).shape; }
  quant::Type Type(const std::string& name) const { return entries_.at(name).type; }
  std::span<const std::byte> Bytes(const std::string& name) const {
    return file_.bytes().subspan(entries_.at(name).offset, entries_.at(name).size_bytes);
  }
  // The elements of an F32 or I32 tensor.
  template <typename T>
  std::vector<T> Values(const std::string& name) const {
    std::vector<T> values(Bytes(name).size() / sizeof(T));
    std::memcpy(values.data(), Bytes(name).data(), values.size() * sizeof(T));
    return values;
  }

 private:
  MappedFile file_;
  std::map<std::string, formats::SafetensorsEntry> entries_;
};

}  // namespace carat::testing_support
