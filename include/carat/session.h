// Session: one timeline of an engine: its tokens, their KV cache, and a random state.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "carat/engine.h"
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
  int logit_batch = 16;      // the same for AppendWithLogits, which takes more memory per token; at most `batch` count
  SamplingOptions sampling = {};
  ProgressCallback progress = {};  // for prefills of more than one batch
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
  Status Append(std::span<const TokenId> ids);
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
