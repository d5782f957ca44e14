// config.json beside real tensors: the loaders of the decoder and of the vision tower refuse it, or build a model that
// they have checked.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>

#include "formats/checkpoint.h"
#include "gemma/model.h"
#include "gemma/vision_model.h"

namespace carat {
namespace {

// A folder of this process with the weights of a small checkpoint, made on first use.
const std::filesystem::path& FolderOf(const std::string& model) {
  static std::map<std::string, std::filesystem::path> folders;
  const auto [place, is_new] = folders.try_emplace(model);
  if (is_new) {
    static const std::string root =
        std::filesystem::temp_directory_path() / ("carat-fuzz-config-" + std::to_string(::getpid()));
    if (folders.size() == 1) std::atexit([] { std::filesystem::remove_all(root); });
    place->second = std::filesystem::path(root) / model;
    std::filesystem::create_directories(place->second);
    std::filesystem::copy_file(std::string(CARAT_SOURCE_DIR "/tests/data/") + model + "/model/model.safetensors",
                               place->second / "model.safetensors", std::filesystem::copy_options::overwrite_existing);
  }
  return place->second;
}

// Which tensors the text is for.
const char* ModelOf(std::string_view text) {
  if (text.find("quantization_config") != std::string_view::npos) return "golden/mobile-e2b";
  return text.find("gemma4_vision") != std::string_view::npos ? "vision/hf-f32" : "golden/hf-e2b";
}

void CheckError(const Error& error, const std::filesystem::path& folder, bool may_be_absent) {
  const bool absent = may_be_absent && error.code == ErrorCode::kNotFound;
  if ((error.code != ErrorCode::kBadModel && !absent) || !error.message.starts_with(folder.string())) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::filesystem::path& folder = FolderOf(ModelOf(text));
  std::ofstream(folder / "config.json", std::ios::binary | std::ios::trunc) << text;
  const auto checkpoint = formats::Checkpoint::Open(folder);
  if (!checkpoint) {
    if (checkpoint.error().message.empty()) std::abort();
    return 0;
  }
  const auto model = gemma::Model::Load(*checkpoint);
  if (!model) CheckError(model.error(), folder, /*may_be_absent=*/false);
  const auto tower = gemma::VisionModel::Load(*checkpoint);
  if (!tower) CheckError(tower.error(), folder, /*may_be_absent=*/true);
  return 0;
}

}  // namespace carat
