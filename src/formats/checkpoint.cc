#include "formats/checkpoint.h"

#include <algorithm>
#include <cstdio>
#include <set>

#include "base/try.h"
#include "formats/safetensors.h"

namespace carat::formats {

namespace {

constexpr int64_t kMaxShards = 1000;

std::unexpected<Error> FailPath(const std::filesystem::path& path, const std::string& what) {
  return Fail(ErrorCode::kBadModel, path.string() + ": " + what);
}

// A file that `naming` says belongs to the checkpoint.
Result<MappedFile> OpenPart(const std::filesystem::path& path, const std::filesystem::path& naming) {
  Result<MappedFile> file = MappedFile::Open(path);
  if (!file && file.error().code == ErrorCode::kNotFound)
    return FailPath(path, "is missing; " + naming.filename().string() + " needs it: was the model downloaded whole?");
  return file;
}

// The one model file of a folder that is no Hugging Face checkpoint: somebody's download folder.
Result<std::filesystem::path> FindGguf(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> found;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    const bool other_shard = name.find("-of-") != std::string::npos && name.find("-00001-of-") == std::string::npos;
    if (entry.path().extension() == ".gguf" && !name.starts_with("mmproj") && !name.starts_with("mtp-") && !other_shard)
      found.push_back(entry.path());
  }
  if (error) return Fail(ErrorCode::kFailure, folder.string() + ": " + error.message());
  if (found.empty())
    return Fail(ErrorCode::kNotFound, folder.string() + ": there is neither a config.json nor a .gguf file");
  if (found.size() > 1) {
    std::ranges::sort(found);
    return Fail(ErrorCode::kUsage, folder.string() + ": there are " + std::to_string(found.size()) +
                                       " .gguf files; name one, such as " + found[0].filename().string());
  }
  return found[0];
}

}  // namespace

Result<Checkpoint> Checkpoint::Open(const std::filesystem::path& path) { return OpenAny(path, /*weights=*/true); }

Result<Checkpoint> Checkpoint::OpenForText(const std::filesystem::path& path) {
  return OpenAny(path, /*weights=*/false);
}

Result<Checkpoint> Checkpoint::OpenAny(const std::filesystem::path& path, bool weights) {
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    return Fail(ErrorCode::kNotFound, path.string() + ": no such file or folder");
  if (!std::filesystem::is_directory(path, error)) {
    if (path.extension() == ".safetensors")
      return Fail(ErrorCode::kUsage,
                  path.string() + ": name the folder, which holds config.json and the tokenizer as well");
    return OpenGguf(path, weights);
  }
  if (std::filesystem::exists(path / "config.json", error) ||
      (!weights && std::filesystem::exists(path / "tokenizer.json", error)))
    return OpenFolder(path, weights);
  TRY_ASSIGN(const std::filesystem::path file, FindGguf(path));
  return OpenGguf(file, weights);
}

std::string Checkpoint::name() const {
  if (gguf_) {
    const auto name = gguf_->String("general.name");
    if (name && !name->empty()) return std::string(*name);
  }
  return path_.has_filename() ? path_.filename().string() : path_.parent_path().filename().string();
}

const Tensor* Checkpoint::Find(std::string_view name) const {
  const auto it = std::ranges::lower_bound(tensors_, name, {}, &Tensor::name);
  return it == tensors_.end() || it->name != name ? nullptr : &*it;
}

Status Checkpoint::SortTensors() {
  std::ranges::sort(tensors_, {}, &Tensor::name);
  const auto twice = std::ranges::adjacent_find(tensors_, {}, &Tensor::name);
  if (twice != tensors_.end()) return FailPath(path_, "tensor '" + std::string(twice->name) + "' occurs in two files");
  return {};
}

Result<Checkpoint> Checkpoint::OpenGguf(const std::filesystem::path& path, bool weights) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  TRY_ASSIGN(MappedFile file, MappedFile::Open(path));
  if (!weights) {
    TRY_ASSIGN(checkpoint.gguf_, ParseGgufMetadata(file.bytes(), path.string()));
    checkpoint.files_.push_back(std::move(file));
    return checkpoint;
  }
  TRY(checkpoint.AddGgufShard(std::move(file), 0, 0));
  TRY_ASSIGN(const int64_t shards, checkpoint.gguf_->IntegerOr("split.count", 1, 0, kMaxShards));
  if (shards > 1) TRY(checkpoint.AddShards(path, shards));
  TRY(checkpoint.SortTensors());
  return checkpoint;
}

// The files of a split set are named PREFIX-00001-of-00003.gguf and so on; only the prefix of the file that the user
// named is believed.
Status Checkpoint::AddShards(const std::filesystem::path& first, int64_t shards) {
  TRY_ASSIGN(const int64_t number, gguf_->Integer("split.no", 0, kMaxShards));
  char ending[64];
  std::snprintf(ending, sizeof(ending), "-%05d-of-%05d.gguf", 1, static_cast<int>(shards));
  const std::string name = first.filename().string();
  if (number != 0 || !name.ends_with(ending))
    return FailPath(first, "part " + std::to_string(number + 1) + " of a model of " + std::to_string(shards) +
                               " files; name the first of them (its name ends in '" + ending + "')");
  const std::string prefix = name.substr(0, name.size() - std::string_view(ending).size());
  for (int64_t shard = 1; shard < shards; ++shard) {
    std::snprintf(ending, sizeof(ending), "-%05d-of-%05d.gguf", static_cast<int>(shard + 1), static_cast<int>(shards));
    TRY_ASSIGN(MappedFile file, OpenPart(first.parent_path() / (prefix + ending), first));
    TRY(AddGgufShard(std::move(file), shard, shards));
  }
  TRY_ASSIGN(const int64_t tensors,
             gguf_->IntegerOr("split.tensors.count", static_cast<int64_t>(tensors_.size()), 0, INT32_MAX));
  if (tensors != static_cast<int64_t>(tensors_.size()))
    return FailPath(first, "the set should have " + std::to_string(tensors) + " tensors, but its files hold " +
                               std::to_string(tensors_.size()));
  return {};
}

// shards 0: the first file, which brings the metadata.
Status Checkpoint::AddGgufShard(MappedFile file, int64_t shard, int64_t shards) {
  TRY_ASSIGN(GgufFile gguf, ParseGguf(file.bytes(), file.path().string()));
  if (shards > 0) {
    TRY_ASSIGN(const int64_t count, gguf.metadata.Integer("split.count", 0, kMaxShards));
    TRY_ASSIGN(const int64_t number, gguf.metadata.Integer("split.no", 0, kMaxShards));
    if (count != shards || number != shard)
      return FailPath(file.path(), "says that it is part " + std::to_string(number + 1) + " of " +
                                       std::to_string(count) + ", but is named as part " + std::to_string(shard + 1) +
                                       " of " + std::to_string(shards));
  }
  for (GgufTensorInfo& tensor : gguf.tensors)
    tensors_.push_back({.name = tensor.name,
                        .type = tensor.type,
                        .shape = std::move(tensor.shape),
                        .data = file.bytes().subspan(tensor.offset, tensor.size_bytes),
                        .file = static_cast<int>(files_.size()),
                        .file_offset = tensor.offset});
  if (shards == 0) gguf_ = std::move(gguf.metadata);
  files_.push_back(std::move(file));
  return {};
}

Result<Checkpoint> Checkpoint::OpenFolder(const std::filesystem::path& path, bool weights) {
  Checkpoint checkpoint;
  checkpoint.path_ = path;
  TRY_ASSIGN(checkpoint.hf_, HfFolder::Open(path));
  if (!weights) return checkpoint;
  std::error_code error;
  if (std::filesystem::exists(path / "model.safetensors.index.json", error)) {
    TRY(checkpoint.AddIndexedSafetensors(path / "model.safetensors.index.json"));
  } else if (std::filesystem::exists(path / "model.safetensors", error)) {
    TRY_ASSIGN(MappedFile file, MappedFile::Open(path / "model.safetensors"));
    TRY(checkpoint.AddSafetensors(std::move(file)));
  } else {
    return Fail(ErrorCode::kBadModel,
                path.string() + ": there is neither model.safetensors nor model.safetensors.index.json");
  }
  TRY(checkpoint.SortTensors());
  return checkpoint;
}

Status Checkpoint::AddSafetensors(MappedFile file) {
  TRY_ASSIGN(std::vector<SafetensorsEntry> entries, ParseSafetensors(file.bytes(), file.path().string()));
  for (SafetensorsEntry& entry : entries) {
    names_.push_back(std::make_unique<std::string>(std::move(entry.name)));
    tensors_.push_back({.name = *names_.back(),
                        .type = entry.type,
                        .shape = std::move(entry.shape),
                        .data = file.bytes().subspan(entry.offset, entry.size_bytes),
                        .file = static_cast<int>(files_.size()),
                        .file_offset = entry.offset});
  }
  files_.push_back(std::move(file));
  return {};
}

// model.safetensors.index.json: {"weight_map": {tensor: file}}. The names are a stranger's: plain names of this folder
// only.
Status Checkpoint::AddIndexedSafetensors(const std::filesystem::path& index) {
  TRY_ASSIGN(const MappedFile file, MappedFile::Open(index));
  TRY_ASSIGN(const Json json, ParseJson(file.text(), index.string()));
  TRY_ASSIGN(const JsonObject map, (JsonObject{&json, index.string()}.Object("weight_map")));
  std::set<std::string> names;
  for (const auto& [tensor, value] : map.json->items()) {
    if (!value.is_string()) return FailPath(index, "the file of tensor '" + tensor + "' is no string");
    const std::string name = value.get<std::string>();
    const bool plain =
        name.find_first_of(std::string_view("/\\:\0", 4)) == std::string::npos && name.find("..") == std::string::npos;
    if (!plain || !name.ends_with(".safetensors"))
      return FailPath(index, "tensor '" + tensor + "' is said to be in '" + name +
                                 "', which is no .safetensors file of this folder");
    names.insert(name);
  }
  if (names.size() > static_cast<size_t>(kMaxShards))
    return FailPath(index, std::to_string(names.size()) + " files are too many");
  for (const std::string& name : names) {
    TRY_ASSIGN(MappedFile part, OpenPart(index.parent_path() / name, index));
    TRY(AddSafetensors(std::move(part)));
  }
  std::set<std::pair<std::string_view, std::string>> present;
  for (const Tensor& tensor : tensors_)
    present.emplace(tensor.name, files_[static_cast<size_t>(tensor.file)].path().filename().string());
  for (const auto& [tensor, value] : map.json->items())
    if (!present.contains({tensor, value.get<std::string>()}))
      return FailPath(index, "tensor '" + tensor + "' is not in '" + value.get<std::string>() + "'");
  return {};
}

}  // namespace carat::formats
