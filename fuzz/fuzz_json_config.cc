// config.json beside real tensors: the loader refuses it, or builds a model that it has checked.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "formats/checkpoint.h"
#include "gemma/model.h"

using namespace carat;

namespace {

// A folder of this process with the weights of a small checkpoint, made on first use.
const std::filesystem::path& Folder() {
  static const std::filesystem::path folder = [] {
    const auto path = std::filesystem::temp_directory_path() / ("carat-fuzz-config-" + std::to_string(::getpid()));
    std::filesystem::create_directories(path);
    std::filesystem::copy_file(CARAT_SOURCE_DIR "/tests/data/golden/hf-e2b/model/model.safetensors",
                               path / "model.safetensors", std::filesystem::copy_options::overwrite_existing);
    std::atexit([] { std::filesystem::remove_all(Folder()); });
    return path;
  }();
  return folder;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::ofstream(Folder() / "config.json", std::ios::binary | std::ios::trunc)
      .write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
  const auto checkpoint = formats::Checkpoint::Open(Folder());
  if (!checkpoint) {
    if (checkpoint.error().message.empty()) std::abort();
    return 0;
  }
  const auto model = gemma::Model::Load(*checkpoint);
  if (!model && (model.error().code != ErrorCode::kBadModel || model.error().message.find(Folder().string()) != 0))
    std::abort();
  return 0;
}
