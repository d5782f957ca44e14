// Session: one timeline of an engine: its tokens, their KV cache, and a random state.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "carat/engine.h"
#include "carat/media.h"
#include "carat/result.h"

namespace carat {

enum class KvCacheType {
  // f32 where nothing is rounded that the checkpoint does not round: in exact engines, with float weights, and with
  // Google's low-bit releases, whose trained roundings a rounded cache would upset; else f16
  kAuto,
  kF32,
  kF16,
  // a byte per number and a scale for each head of a token: that of the layer where the checkpoint brings one, as
  // Google's low-bit releases do, else one for the largest number
  kInt8
};

struct SessionOptions {
  int context = 0;  // most tokens the session can hold; 0: the model's maximum, at most 8192
  KvCacheType kv_type = KvCacheType::kAuto;
  int batch = 256;           // tokens computed at a time in a prefill; a matter of speed and memory, not of results
  bool copy_weights = true;  // may decoding copy weights of an engine that is not in_place? Takes some memory more
  // Memory is planned (PlanMemory) for pictures and frames of up to so many soft tokens, and conversations on the
  // session refuse larger ones; 0: none is planned for, and none refused. They also refuse pictures and videos with
  // more than so many pixels in their files; 0: 100 million.
  int image_tokens = 0;
  uint64_t image_pixels = 0;
  // May the vision tower stay loaded between pictures? Else it is there while it encodes, and takes the place of the
  // decoder's weights, which come back from the file.
  bool keep_tower = true;
  int logit_batch = 16;  // the same for AppendWithLogits, which takes more memory per token; at most `batch` count
  SamplingOptions sampling = {};
  ProgressCallback progress = {};  // for prefills of more than one batch
};

// Soft tokens `first` .. `first + count - 1` in the place of the tokens from `position` on.
struct SoftRun {
  int64_t position = 0;
  std::shared_ptr<const SoftTokens> tokens;
  int64_t first = 0, count = 0;
};

// Used by one thread at a time. Results depend on the tokens alone: not on how they were cut into appends, on threads,
// or on rollbacks.
class Session {
 public:
  // Error: kUsage (context above the maximum of the model), kDoesNotFit.
  static Result<Session> Create(std::shared_ptr<const Engine> engine, const SessionOptions& options = {});
  Session(Session&&) noexcept;
  Session& operator=(Session&&) noexcept;
  ~Session();

  // Appends tokens and computes them. Error: kDoesNotFit, with the numbers, before anything is computed if they do not
  // fit; kUsage for ids outside the vocabulary; kInterrupted (the tokens computed so far stay).
  // `soft`: those of them that are soft tokens, by their positions in `ids`, in order and apart from each other. Their
  // ids (of the placeholder) count for nothing but penalties; their vectors have the model's width.
  Status Append(std::span<const TokenId> ids, std::span<const SoftRun> soft = {});
  // Logits [vocabulary] after the last token, as the model gives them (soft-capped). Valid until the session changes.
  // Error: kUsage if the session is empty.
  Result<std::span<const float>> Logits();
  // Logits of every one of `ids`, as they are appended: rows(first_row, logits [n, vocabulary]).
  Status AppendWithLogits(std::span<const TokenId> ids,
                          const std::function<void(int64_t first_row, std::span<const float> logits)>& rows);
  // Chooses a token from the logits (does not append it).
  Result<TokenId> Sample();
  // Drops all tokens from position `length` on. Recomputes what a sliding window has forgotten, if it must.
  Status Truncate(int length);

  std::span<const TokenId> tokens() const;
  std::span<const SoftRun> soft_tokens() const;  // by their positions in tokens()
  int length() const;
  int context() const;
  const Engine& engine() const;
  const SamplingOptions& sampling() const;
  // Restarts the random state if the seed differs. Error: kUsage, naming the setting that is out of range.
  Status set_sampling(const SamplingOptions& options);
  uint64_t seed() const;  // in use, also when it was drawn
  void set_progress(ProgressCallback progress);
  uint64_t kv_bytes() const;       // of the KV cache, resident now
  uint64_t scratch_bytes() const;  // for activations, resident now

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace carat
