// The JSON side of a Hugging Face checkpoint folder.
#pragma once

#include <filesystem>

#include "base/json.h"
#include "carat/result.h"

namespace carat::formats {

struct HfFolder {
  // Reads what is there; a file that is missing leaves an empty object. Errors: kBadModel, kFailure.
  static Result<HfFolder> Open(const std::filesystem::path& path);

  std::filesystem::path path;
  Json config;                           // config.json, an object; empty if there is none
  Json generation_config;                // generation_config.json, an object; empty if there is none
  Json processor_config;                 // processor_config.json, an object; empty if there is none
  std::filesystem::path tokenizer_json;  // empty if there is none

  JsonObject Config() const { return {&config, (path / "config.json").string()}; }
  JsonObject GenerationConfig() const { return {&generation_config, (path / "generation_config.json").string()}; }
  JsonObject ProcessorConfig() const { return {&processor_config, (path / "processor_config.json").string()}; }
};

}  // namespace carat::formats
