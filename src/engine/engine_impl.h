// What an Engine holds. Shared by the engine room's files.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "carat/engine.h"
#include "engine/image_encoder.h"
#include "engine/weight_pages.h"
#include "formats/checkpoint.h"
#include "gemma/model.h"
#include "ops/context.h"
#include "ops/interleaved.h"
#include "text/tokenizer.h"

namespace carat {

struct Engine::Impl {
  EngineOptions options;
  formats::Checkpoint checkpoint;
  std::optional<text::Tokenizer> tokenizer;
  gemma::Model model;
  ops::InterleavedWeights copies;  // of matrices of the model
  PageRanges weight_pages;
  std::unique_ptr<ThreadPool> pool;
  ops::Context context;
  std::unique_ptr<ImageEncoder> images;  // null: the model does not see
  ModelInfo info;
  double load_seconds = 0;

  // `media`, and where it says nothing, what the checkpoint says.
  MediaOptions Complete(MediaOptions media) const;
  // Error: kUsage, saying what would make it see, if it does not.
  Status CheckSees() const;
};

}  // namespace carat
