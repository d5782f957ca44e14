// The decoder of Gemma 4 (and 3): from tokens to logits, one batch at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "carat/result.h"
#include "gemma/kv_cache.h"
#include "gemma/model.h"
#include "gemma/trace_sink.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/linear.h"
#include "ops/rope.h"

namespace carat::gemma {

// What enters the decoder: text tokens by id, or soft tokens (of an image, a clip) by their vectors.
struct Segment {
  std::span<const int32_t> ids;  // in 0 .. vocabulary-1
  std::span<const float> soft;   // [n, H], already projected; used if ids is empty
};

struct DecoderOptions {
  kernels::KvType kv_type = kernels::KvType::kF32;
  int context = 0;           // tokens
  int max_batch = 0;         // tokens of one Run
  bool copy_weights = true;  // may decoding fill the copies of weights (ops/interleaved.h)?
  int max_keep = 0;  // of those, the most that are computed to the end; the layers above need room for no others
};

// The state of one timeline. Used by one thread at a time; nothing is allocated after Create.
//
// A token's numbers do not depend on the batch it came in: every operator computes a row by itself, in one fixed order.
class Decoder {
 public:
  static Result<std::unique_ptr<Decoder>> Create(const Model& model, const ops::Context& context,
                                                 const DecoderOptions& options);

  // Appends a batch (at most max_batch tokens in all, which must fit in the context). Its last `keep` (at most
  // max_keep) tokens are computed to the end; of the others only what later tokens need ("prefill shortcut"). With a
  // trace, all activations of the kept rows are shown; with keep = all tokens, every activation. Errors, after which
  // the timeline is as it was: those of the per-layer embeddings, kFailure (keys or values that an 8-bit cache cannot
  // hold).
  Status Run(std::span<const Segment> segments, int keep, const TraceSink& trace = {});
  // Hidden states after the final norm of the tokens kept by the last Run: [kept, H].
  std::span<const float> hidden() const { return {hidden_.data(), static_cast<size_t>(kept_ * model_.config.hidden)}; }
  // Soft-capped logits of rows first .. first+count-1 of hidden(): out [count, V].
  void Logits(int64_t first, int64_t count, float* out);

  KvCache& cache() { return cache_; }
  const KvCache& cache() const { return cache_; }
  const Model& model() const { return model_; }
  // For activations. Batches touch as much of it as they are long.
  MemoryUse scratch() const;

 private:
  // Rows of the batch that are still on their way up: `count` of them from batch row `first` on.
  struct Rows {
    int64_t first = 0;
    int64_t count = 0;
  };

  Decoder(const Model& model, const ops::Context& context, const DecoderOptions& options, KvCache cache);

  Status Embed(std::span<const Segment> segments);
  const std::byte* EmbeddingRow(int64_t id);
  Status PerLayerInputs(std::span<const Segment> segments, int64_t tokens, int64_t keep);
  Status PerLayerInputRow(int64_t row, int64_t id, int64_t layers, int worker);
  void ShowPle(const TraceSink& trace, int64_t tokens);
  Status WriteKv(int layer, const Rows& rows);
  void AttentionBlock(int layer, const Rows& rows);
  void MlpBlock(int layer, const Rows& rows);
  void PleBlock(int layer, const Rows& rows);

  // y[r] = RMSNorm(x[r]; weight).
  void Norm(const float* x, const Vector& weight, int64_t rows, float* y);
  // x += RMSNorm(delta_; weight), on the residual stream.
  void AddNormedDelta(const Vector& weight, const Rows& rows);

  // The slice of a layer of the per-layer inputs of batch row `row`.
  float* Ple(int64_t row, int64_t layer);
  float* X(const Rows& rows) { return x_.data() + rows.first * model_.config.hidden; }
  float* Normed(const Rows& rows) { return normed_.data() + rows.first * model_.config.hidden; }

  const Model& model_;
  ops::Context context_;
  DecoderOptions options_;
  KvCache cache_;
  ops::Linear linear_;
  ops::Attention attention_;
  ops::RopeTable sliding_rope_, global_rope_;
  int64_t first_position_ = 0;  // of the batch
  int64_t first_kept_ = 0;      // row of the batch
  int64_t kept_ = 0;

  // Activations of a batch of at most T tokens, of which at most K are kept; B layers see all of them, the others the
  // kept ones.
  AlignedBuffer<float> x_;               // [T, H] the residual stream
  AlignedBuffer<float> normed_;          // [T, H]
  AlignedBuffer<float> delta_;           // [T, H] what a block adds
  AlignedBuffer<float> ple_, kept_ple_;  // [T, B*P], [K, (L-B)*P]
  AlignedBuffer<float> q_, mixed_;       // [T or K, nq*d]
  AlignedBuffer<float> k_, v_;           // [T, nkv*d]
  AlignedBuffer<float> gate_, up_;       // [T or K, F]
  AlignedBuffer<float> hidden_;          // [K, H]
  AlignedBuffer<std::byte> embedding_row_;
  std::vector<AlignedBuffer<std::byte>> ple_rows_;  // of each worker: one row of the table
  std::vector<AlignedBuffer<float>> ple_floats_;    // of each worker: the same, decoded
};

}  // namespace carat::gemma
