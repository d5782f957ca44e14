// The activations of a model, under the names of the reference dumps: how a difference from the reference is found.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json.h"
#include "carat/engine.h"
#include "carat/result.h"
#include "carat/session.h"
#include "gemma/image_input.h"

namespace carat {

// A named array, row-major: numbers, or token ids.
struct TraceTensor {
  std::string name;
  std::vector<int64_t> shape;
  std::vector<float> values;
  std::vector<TokenId> ids;  // instead of values
};

struct TraceOptions {
  int chunk = 0;  // tokens computed at a time; 0: all at once
  bool shortcut =
      false;         // compute as a prompt is computed: above the last layer that owns K and V, the last token only
  int generate = 0;  // likeliest tokens to go on with; none of them stops it
  KvCacheType kv_type = KvCacheType::kAuto;
  ProgressCallback progress = {};  // between chunks, and between generated tokens
};

// What is computed: tokens, and the pictures that some of them stand for.
struct TraceInput {
  std::vector<TokenId> ids;                // none: the vision tower alone
  std::vector<gemma::PatchGrid> pictures;  // and frames
  std::vector<int64_t> soft;               // which of `ids` are the pictures' soft tokens, in order
};

// A conversation in the model's chat format as the input of a trace; `messages` as AddMessages takes them, with files
// by their paths. Errors: kUsage (no tokenizer or chat format, or the model does not see), kBadMedia.
Result<TraceInput> TraceInputOf(const Engine& engine, const Json& messages, const MediaOptions& options = {});
// Of one message: a prompt with media before it.
Result<TraceInput> TraceInputOf(const Engine& engine, const std::string& prompt, std::span<const Medium> media,
                                const MediaOptions& options = {});

// The pictures of a dump: values [N, 3pp] of N patches in all, positions [N, 2] (column, row) of each, picture after
// picture, row by row. Error: kUsage.
Result<std::vector<gemma::PatchGrid>> PicturesOf(std::span<const float> values, std::span<const int32_t> positions);

// T tokens of `input.ids`, in the order in which they are computed:
//   embed [T,H], ple [T,L,P] (models with per-layer embeddings), layer.I [T,H], final_norm [T,H], logits [T,V] after
//   the soft cap, greedy_ids [generate]
// Before them, of N patches and M soft tokens in all pictures:
//   vision.embed, vision.layer.I, vision.encoder [N,D] (the last layer), vision.pooled [M,D], vision.standardized [M,D]
//   (towers that standardise), vision.soft_tokens [M,H]
// With `shortcut`, what it computes: layer.I from the last owner of K and V on, final_norm and logits have one row,
// that of the last token, and there is no ple. Errors: kUsage (nothing to compute, ids outside the vocabulary, more
// than the model has positions, soft tokens that the pictures do not give), kInterrupted, those of
// ImageEncoder::Encode.
Result<std::vector<TraceTensor>> Trace(std::shared_ptr<const Engine> engine, const TraceInput& input,
                                       const TraceOptions& options = {});
// Of text alone.
Result<std::vector<TraceTensor>> TraceTokens(std::shared_ptr<const Engine> engine, std::span<const TokenId> ids,
                                             const TraceOptions& options = {});

}  // namespace carat
