#include "formats/hf_folder.h"

#include "base/mapped_file.h"
#include "base/try.h"

namespace carat::formats {

namespace {

constexpr size_t kMaxJsonBytes = 64 << 20;

Result<Json> ReadJsonObject(const std::filesystem::path& path) {
  TRY_ASSIGN(const MappedFile file, MappedFile::Open(path));
  if (file.bytes().size() > kMaxJsonBytes)
    return Fail(ErrorCode::kBadModel,
                path.string() + ": " + std::to_string(file.bytes().size()) + " bytes are too many for a configuration");
  TRY_ASSIGN(Json json, ParseJson(file.text(), path.string()));
  if (!json.is_object()) return Fail(ErrorCode::kBadModel, path.string() + ": not a JSON object");
  return json;
}

}  // namespace

Result<HfFolder> HfFolder::Open(const std::filesystem::path& path) {
  HfFolder folder;
  folder.path = path;
  folder.config = Json::object();
  folder.generation_config = Json::object();
  std::error_code error;
  if (std::filesystem::exists(path / "config.json", error)) {
    TRY_ASSIGN(folder.config, ReadJsonObject(path / "config.json"));
  }
  if (std::filesystem::exists(path / "generation_config.json", error)) {
    TRY_ASSIGN(folder.generation_config, ReadJsonObject(path / "generation_config.json"));
  }
  if (std::filesystem::exists(path / "tokenizer.json", error)) folder.tokenizer_json = path / "tokenizer.json";
  return folder;
}

}  // namespace carat::formats
