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
  folder.processor_config = Json::object();
  std::error_code error;
  const struct {
    const char* name;
    Json& json;
  } files[] = {{"config.json", folder.config},
               {"generation_config.json", folder.generation_config},
               {"processor_config.json", folder.processor_config}};
  for (const auto& [name, json] : files) {
    if (!std::filesystem::exists(path / name, error)) continue;
    TRY_ASSIGN(json, ReadJsonObject(path / name));
  }
  if (std::filesystem::exists(path / "tokenizer.json", error)) folder.tokenizer_json = path / "tokenizer.json";
  return folder;
}

}  // namespace carat::formats
