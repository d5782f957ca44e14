// The activations of a model, under the names of the reference dumps: how a difference from the reference is found.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "carat/engine.h"
#include "carat/result.h"
#include "carat/session.h"

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

// T tokens of `ids`, in the order in which they are computed:
//   embed [T,H], ple [T,L,P] (models with per-layer embeddings), layer.I [T,H], final_norm [T,H], logits [T,V] after
//   the soft cap, greedy_ids [generate]
// With `shortcut`, what it computes: layer.I from the last owner of K and V on, final_norm and logits have one row,
// that of the last token, and there is no ple. Errors: kUsage (no ids, ids outside the vocabulary, more than the model
// has positions), kInterrupted.
Result<std::vector<TraceTensor>> TraceTokens(std::shared_ptr<const Engine> engine, std::span<const TokenId> ids,
                                             const TraceOptions& options = {});

}  // namespace carat
