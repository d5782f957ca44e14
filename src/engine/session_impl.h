// What a Session holds. Shared by the engine room's files.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "carat/session.h"
#include "engine/engine_impl.h"
#include "engine/timeline.h"
#include "gemma/decoder.h"
#include "sample/sampler.h"

namespace carat {

struct Session::Impl {
  explicit Impl(const SamplingOptions& sampling) : sampler(sampling) {}

  Status CheckAppend(const TokenView& added) const;
  Status Append(const TokenView& added);
  // Appends checked tokens in batches, of logit_batch tokens if all rows are wanted. Of each batch all rows are kept
  // (`all_rows`), or of the last batch the last row. on_rows, if given, is called after each batch: `count` rows of
  // decoder->hidden() are those of added[first ...].
  Status Run(const TokenView& added, bool all_rows, const gemma::TraceSink& trace,
             const std::function<void(int64_t first, int64_t count)>& on_rows);

  // Appends one token that is not computed before the session goes on: with the next ones, or for its logits.
  Status AppendForLater(TokenId id);
  bool last_waits() const { return tokens.size() > decoder->cache().length(); }

  // For everything but keys and values.
  MemoryUse Scratch() const;

  std::shared_ptr<const Engine> engine;
  std::unique_ptr<gemma::Decoder> decoder;
  Timeline tokens;                       // the cache has all of them, or all but the last
  Timeline queue;                        // tokens that are to be computed while `tokens` changes
  std::vector<gemma::Segment> segments;  // of a batch
  sample::Sampler sampler;
  ProgressCallback progress;
  AlignedBuffer<float> logits;  // [vocabulary]
  bool hidden_valid = false;    // decoder->hidden() ends with the row of the last token
  bool logits_valid = false;
  int context = 0;
  int batch = 0;
  int logit_batch = 0;   // at most `batch`
  int image_tokens = 0;  // planned for; 0: nothing was planned
  uint64_t image_pixels = 0;
  bool keep_tower = true;
};

}  // namespace carat
