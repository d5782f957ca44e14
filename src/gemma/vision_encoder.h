// The vision tower: from the patches of a picture to the soft tokens that enter the decoder.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "carat/result.h"
#include "gemma/image_input.h"
#include "gemma/trace_sink.h"
#include "gemma/vision_model.h"
#include "ops/attention.h"
#include "ops/context.h"
#include "ops/linear.h"
#include "ops/rope.h"

namespace carat::gemma {

// Is told after each layer how many of how many are done; false: the encoder is to stop.
using EncodeProgress = std::function<bool(int64_t done, int64_t layers)>;

// Used by one thread at a time; nothing is allocated after the constructor. Pictures do not see each other: each is
// encoded by itself, and its soft tokens depend on nothing else, neither on max_patches nor on the number of threads.
class VisionEncoder {
 public:
  // For pictures of up to `max_patches` patches. The model must outlive it.
  VisionEncoder(const VisionModel& model, const ops::Context& context, int64_t max_patches);

  // Soft tokens that a grid of patches becomes.
  int64_t SoftTokens(const PatchGrid& grid) const {
    return grid.columns * grid.rows / (model_.config.pooling * model_.config.pooling);
  }
  // soft [SoftTokens(grid), H], row by row of the pooled grid. Errors: kUsage (a grid that is no whole number of
  // blocks, larger than the encoder or the table of positions, or without its values), kInterrupted (`progress` said
  // so).
  Status Encode(const PatchGrid& grid, std::span<float> soft, const TraceSink& trace = {},
                const EncodeProgress& progress = {});

  // For activations. Pictures touch as much of it as they are large.
  MemoryUse scratch() const;
  const VisionModel& model() const { return model_; }
  int64_t max_patches() const { return max_patches_; }

 private:
  Status Check(const PatchGrid& grid, std::span<float> soft) const;
  void Embed(const PatchGrid& grid);
  void AddPositions(const PatchGrid& grid, int64_t first, int64_t rows);
  void AttentionBlock(const VisionLayerWeights& w, const PatchGrid& grid);
  void QueriesKeysValues(const VisionLayerWeights& w, const PatchGrid& grid, int64_t first, int64_t rows);
  void MlpBlock(const VisionLayerWeights& w, int64_t patches);
  void Pool(const PatchGrid& grid);

  // y = clipped linear of x: [rows, weight.rows] of [rows, weight.cols].
  void Multiply(const ClippedLinear& w, const float* x, int64_t rows, float* y);
  // y[r] = RMSNorm(x[r]; weight), D wide; no weight: 1.
  void Norm(const float* x, const Vector& weight, int64_t rows, float* y);
  // x += RMSNorm(delta; weight) of the rows from `first` on.
  void AddNormedDelta(const Vector& weight, int64_t first, int64_t rows);
  // Calls body(first, rows) for blocks of the patches, as even as they can be.
  template <typename Body>
  void ForEachBlock(int64_t patches, const Body& body) const;

  const VisionModel& model_;
  ops::Context context_;
  int64_t max_patches_;
  ops::Linear linear_;
  ops::Attention attention_;
  ops::RopeTable rope_;  // of columns and rows alike

  // Activations of at most N patches, and of blocks of B of them: what is done patch by patch is done in blocks, so
  // that the widest activations never are there for all.
  AlignedBuffer<float> x_;                           // [N, D] the residual stream
  AlignedBuffer<float> q_;                           // [N, nq*d]; then what attention makes of them
  AlignedBuffer<float> k_, v_;                       // [N, nkv*d]
  AlignedBuffer<float> normed_;                      // [B, D]
  AlignedBuffer<float> k_rows_, v_rows_;             // [B, nkv*d] as they are computed
  AlignedBuffer<float> delta_;                       // [B, D] what a block of a layer adds
  AlignedBuffer<float> clipped_;                     // [B, widest input of a product]
  AlignedBuffer<float> gate_, up_;                   // [B, F]
  AlignedBuffer<float> pooled_;                      // [N/kk, D]
  std::vector<AlignedBuffer<float>> position_rows_;  // of each worker: [2, D]
};

}  // namespace carat::gemma
