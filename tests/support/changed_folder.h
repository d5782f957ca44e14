// A Hugging Face folder that a test can change before it is written again.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "formats/safetensors.h"
#include "tests/support/dump.h"

namespace carat::testing_support {

struct ChangedFolder {
  struct Entry {
    std::string name;
    quant::Type type;
    std::vector<int64_t> shape;
    std::vector<std::byte> bytes;
  };

  // Of config.json and one model.safetensors.
  explicit ChangedFolder(const std::filesystem::path& path) {
    const Dump dump(path / "model.safetensors");
    for (const auto& [key, entry] : dump.entries()) {
      const auto bytes = dump.Bytes(key);
      tensors.push_back({key, entry.type, entry.shape, {bytes.begin(), bytes.end()}});
    }
    std::ifstream file(path / "config.json");
    config = Json::parse(file);
  }

  Entry& At(const std::string& name) {
    const auto found = std::ranges::find(tensors, name, &Entry::name);
    EXPECT_NE(found, tensors.end()) << name;
    return *found;
  }
  void Remove(const std::string& name) {
    EXPECT_EQ(std::erase_if(tensors, [&](const Entry& entry) { return entry.name == name; }), 1u) << name;
  }
  void SetFloat(const std::string& name, size_t index, float value) {
    std::memcpy(At(name).bytes.data() + index * sizeof(float), &value, sizeof(value));
  }

  // Into a folder of the running test.
  std::filesystem::path Write() const {
    std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();  // several run at a time
    std::ranges::replace(test, '/', '-');
    const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / ("carat-changed-" + test);
    std::filesystem::create_directories(path);
    std::vector<formats::SafetensorsTensor> views;
    views.reserve(tensors.size());
    for (const Entry& entry : tensors)
      views.push_back({.name = entry.name, .type = entry.type, .shape = entry.shape, .data = entry.bytes});
    EXPECT_TRUE(formats::WriteSafetensors(path / "model.safetensors", views));
    std::ofstream(path / "config.json") << config.dump();
    return path;
  }

  std::vector<Entry> tensors;
  Json config;
};

}  // namespace carat::testing_support
