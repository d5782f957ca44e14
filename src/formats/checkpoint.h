// An opened checkpoint, whatever its container: tensors described and mapped, never copied.
//   a GGUF file (v2, v3), alone or the first of a split set
//   a Hugging Face folder (config.json, safetensors, sharded or not)
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "carat/result.h"
#include "formats/gguf.h"
#include "formats/hf_folder.h"
#include "quant/type.h"

namespace carat::formats {

// A tensor of a checkpoint. Views into the mapping; valid as long as the Checkpoint.
struct Tensor {
  std::string_view name;
  quant::Type type = quant::Type::kF32;
  std::vector<int64_t> shape;       // outermost first, as PyTorch prints it: a linear layer is [out, in]
  std::span<const std::byte> data;  // row-major; within the file, checked. Not aligned to anything.
  int file = 0;                     // index into Checkpoint::files()
  uint64_t file_offset = 0;         // of data, in that file
};

// Move-only, immutable, usable from any thread.
class Checkpoint {
 public:
  // `path`: a .gguf file (of a split set, the first), or a folder. Errors name the file and the fault: kNotFound,
  // kBadModel.
  static Result<Checkpoint> Open(const std::filesystem::path& path);
  // For what needs no weights (tokenizing, rendering): a folder may lack its weights and its config.json; of a GGUF
  // file only the metadata is read, so that it may be cut off behind that. There are no tensors.
  static Result<Checkpoint> OpenForText(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  // As the checkpoint calls itself, or else the name of its file or folder.
  std::string name() const;
  std::span<const Tensor> tensors() const { return tensors_; }
  const Tensor* Find(std::string_view name) const;  // null if there is none
  std::span<const MappedFile> files() const { return files_; }

  // Exactly one of these is set.
  const GgufMetadata* gguf() const { return gguf_ ? &*gguf_ : nullptr; }
  const HfFolder* hf() const { return hf_ ? &*hf_ : nullptr; }

 private:
  static Result<Checkpoint> OpenAny(const std::filesystem::path& path, bool weights);
  static Result<Checkpoint> OpenGguf(const std::filesystem::path& path, bool weights);
  static Result<Checkpoint> OpenFolder(const std::filesystem::path& path, bool weights);
  Status AddGgufShard(MappedFile file, int64_t shard, int64_t shards);
  Status AddShards(const std::filesystem::path& first, int64_t shards);
  Status AddSafetensors(MappedFile file);
  Status AddIndexedSafetensors(const std::filesystem::path& index);
  Status SortTensors();

  std::filesystem::path path_;
  std::vector<MappedFile> files_;
  std::vector<Tensor> tensors_;                      // sorted by name
  std::vector<std::unique_ptr<std::string>> names_;  // of safetensors, whose names are not views into the file
  std::optional<GgufMetadata> gguf_;
  std::optional<HfFolder> hf_;
};

}  // namespace carat::formats
