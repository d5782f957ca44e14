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
  // `path`: a .gguf file or a folder. Errors name the file and the fault: kNotFound, kBadModel.
  static Result<Checkpoint> Open(const std::filesystem::path& path);

  const std::filesystem::path& path() const { return path_; }
  std::span<const Tensor> tensors() const { return tensors_; }
  const Tensor* Find(std::string_view name) const;  // null if there is none
  std::span<const MappedFile> files() const { return files_; }

  // Exactly one of these is set.
  const GgufMetadata* gguf() const { return gguf_ ? &*gguf_ : nullptr; }
  const HfFolder* hf() const { return hf_ ? &*hf_ : nullptr; }

 private:
  std::filesystem::path path_;
  std::vector<MappedFile> files_;
  std::vector<Tensor> tensors_;  // sorted by name
  std::optional<GgufMetadata> gguf_;
  std::optional<HfFolder> hf_;
};

}  // namespace carat::formats
