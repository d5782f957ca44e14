// Folders of picture files with what they must decode to: tests/data/pictures, and others of that form.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"

namespace carat::testing_support {

struct Picture {
  std::string name;
  std::filesystem::path path;
  int64_t width = 0, height = 0;
  std::string rgb_sha256;
};

inline std::filesystem::path OwnPictures() { return std::filesystem::path(CARAT_SOURCE_DIR) / "tests/data/pictures"; }

// Of the folder's decode.json; none if that is no such file.
inline std::vector<Picture> PicturesIn(const std::filesystem::path& folder) {
  std::ifstream file(folder / "decode.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const Result<Json> json = ParseJson(text, "decode.json");
  std::vector<Picture> pictures;
  if (!json || !json->contains("pictures")) return pictures;
  for (const auto& [name, picture] : json->at("pictures").items()) {
    pictures.push_back({.name = name,
                        .path = folder / picture.at("file").get<std::string>(),
                        .width = picture.at("size").at(0).get<int64_t>(),
                        .height = picture.at("size").at(1).get<int64_t>(),
                        .rgb_sha256 = picture.at("rgb_sha256").get<std::string>()});
  }
  return pictures;
}

inline std::vector<std::byte> FileBytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

}  // namespace carat::testing_support
