// What a checkpoint holds, for people who look before they run it.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "carat/result.h"
#include "engine/defaults.h"
#include "formats/checkpoint.h"
#include "gemma/census.h"
#include "gemma/model.h"
#include "text/tokenizer.h"

namespace carat {

// What becomes of a tensor's bytes.
enum class TensorUse {
  kDecoder,    // mapped, and read for every token: resident
  kPleTable,   // the per-layer embeddings: a row is read from the file per token
  kEmbedding,  // a table that is not the head as well: mapped, and resident where tokens were looked up
  kVision,     // an encoder's, which is not run yet: stays on disk, as the following
  kAudio,
  kIdle  // keys and values of layers that read others', a head that is a copy of the embedding
};

struct Inspection {
  formats::Checkpoint checkpoint;
  std::vector<TensorUse> uses;             // by tensor of the checkpoint
  std::vector<gemma::WeightShare> towers;  // the matrices of the encoders, which no token reads yet
  // Each may be missing without the others: of a model that Carat does not run, the tensors can be shown.
  Result<gemma::Model> model;
  Result<std::optional<text::Tokenizer>> tokenizer;
  Result<GenerationDefaults> defaults;
};

// Errors: as of Checkpoint::Open.
Result<Inspection> Inspect(const std::filesystem::path& path);

}  // namespace carat
