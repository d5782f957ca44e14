#include "tests/support/golden.h"

#include <algorithm>
#include <cctype>

namespace carat::testing_support {

std::filesystem::path OwnGolden() { return std::filesystem::path(CARAT_SOURCE_DIR) / "tests/data/golden"; }

std::vector<GoldenModel> GoldenModels(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::vector<GoldenModel> models;
  for (const fs::directory_entry& golden_case : fs::directory_iterator(folder)) {
    if (!golden_case.is_directory()) continue;
    std::vector<fs::path> forms, dumps;
    for (const fs::directory_entry& entry : fs::directory_iterator(golden_case)) {
      const std::string name = entry.path().filename().string();
      const bool later_shard = name.find("-of-") != name.npos && name.find("-00001-of-") == name.npos;
      if (name == "model" || (name.ends_with(".gguf") && !later_shard)) forms.push_back(entry.path());
      if (name.ends_with(".safetensors") && std::isdigit(static_cast<unsigned char>(name.front())) != 0)
        dumps.push_back(entry.path());
    }
    std::ranges::sort(dumps);
    for (const fs::path& form : forms) models.push_back({fs::relative(form, folder).string(), form, dumps});
  }
  std::ranges::sort(models, {}, &GoldenModel::name);
  return models;
}

const TraceTensor* FindTensor(const std::vector<TraceTensor>& tensors, std::string_view name) {
  const auto found = std::ranges::find(tensors, name, &TraceTensor::name);
  return found == tensors.end() ? nullptr : &*found;
}

}  // namespace carat::testing_support
