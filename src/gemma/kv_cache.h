// Keys and values of past tokens, of the layers that own some.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/lazy_memory.h"
#include "carat/result.h"
#include "gemma/config.h"
#include "kernels/kernels.h"
#include "ops/attention.h"

namespace carat::gemma {

// What the codes of an 8-bit cache are times, in all rows of a layer. 0: each row and head has a scale of its own.
struct KvScales {
  float key = 0, value = 0;
};

// Global layers keep every token. Sliding layers keep a ring of the window, one batch, and some slack, so that the rows
// of a batch can be written before its first token is computed, and so that short rollbacks need no recomputation.
class KvCache {
 public:
  // `config` must outlive the cache. `scales`: one entry for each layer; of kI8 alone, where none means that all rows
  // and heads have scales of their own. Error: kDoesNotFit.
  static Result<KvCache> Create(const DecoderConfig& config, kernels::KvType type, int context, int max_batch,
                                std::span<const KvScales> scales = {});

  // Writes row `position` of `layer` (an owner): k and v are [kv_heads * head_dim]. False: there is a NaN (or, where
  // scales are not static, an infinity), which 8 bits cannot hold; other caches keep it, so that it shows in the
  // result.
  [[nodiscard]] bool Write(int layer, int64_t position, const float* k, const float* v,
                           const kernels::Kernels& kernels);
  // What `layer` reads, be it an owner or not.
  ops::KvView View(int layer) const;

  // Says that rows of `tokens` tokens from length() on are about to be written. What rings forget for them stays
  // forgotten, whether or not they are counted in.
  void WillWrite(int64_t tokens) { written_ = std::max(written_, length_ + tokens); }
  // Tokens so far. Rows are written from length() on; Extend counts them in.
  int64_t length() const { return length_; }
  void Extend(int64_t tokens);
  // Can the tokens from `length` on be dropped, with all that the window needs still in the rings?
  bool CanTruncate(int64_t length) const;
  void Truncate(int64_t length);

  int context() const { return context_; }
  kernels::KvType type() const { return type_; }
  // Of the pages that rows were ever written to.
  uint64_t resident_bytes() const;
  uint64_t reserved_bytes() const;  // of all pages
  // Bytes that computing a token behind `length` others reads, in all layers: a row is read by each layer that attends
  // to it.
  uint64_t attended_bytes(int64_t length) const;

 private:
  struct Layer {
    int64_t capacity = 0;  // rows; 0: this layer owns nothing
    int64_t row_bytes = 0;
    bool ring = false;
    KvScales scales;
    LazyMemory keys, values;
    LazyMemory key_scales, value_scales;  // [kv_heads, capacity] floats; of kI8 alone
  };

  const DecoderConfig* config_ = nullptr;
  kernels::KvType type_ = kernels::KvType::kF32;
  int context_ = 0;
  int64_t length_ = 0;
  int64_t written_ = 0;  // one past the highest position ever written since the rings were last whole
  std::vector<Layer> layers_;
};

}  // namespace carat::gemma
