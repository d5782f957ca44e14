// The JSON side of a Hugging Face checkpoint folder.
#pragma once

#include <filesystem>

#include "base/json.h"
#include "carat/result.h"

namespace carat::formats {

struct HfFolder {
  std::filesystem::path path;
  Json config;             // config.json, an object
  Json generation_config;  // generation_config.json, an object; empty if there is none
  std::filesystem::path tokenizer_json;  // empty if there is none

  JsonObject Config() const { return {&config, (path / "config.json").string()}; }
  JsonObject GenerationConfig() const { return {&generation_config, (path / "generation_config.json").string()}; }
};

}  // namespace carat::formats
