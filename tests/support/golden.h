// The reference dumps of a folder such as tests/data/golden: checkpoints, and prompts with what they should give.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "engine/trace_file.h"

namespace carat::testing_support {

// A checkpoint in one form, with the dumps N.safetensors of its case.
struct GoldenModel {
  std::string name;  // "hf-e2b/model", "gguf-f32-split/model-00001-of-00003.gguf"
  std::filesystem::path path;
  std::vector<std::filesystem::path> dumps;
};

// tests/data/golden.
std::filesystem::path OwnGolden();
// All of a folder of cases, sorted by name. A case is CASE/model (a Hugging Face folder) or CASE/*.gguf, or both.
std::vector<GoldenModel> GoldenModels(const std::filesystem::path& folder);

// Null if there is none of that name.
const TraceTensor* FindTensor(const std::vector<TraceTensor>& tensors, std::string_view name);

}  // namespace carat::testing_support
