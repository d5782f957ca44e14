// The decoder's weights, bound to the tensors of a checkpoint.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/mapped_file.h"
#include "carat/result.h"
#include "gemma/config.h"
#include "gemma/kv_cache.h"
#include "kernels/kernels.h"
#include "ops/matrix.h"

namespace carat::formats {
class Checkpoint;
}

namespace carat::gemma {

using Vector = std::vector<float>;  // norm weights and the like, widened to float

// Names in a Hugging Face folder on the right; H hidden, d head size, F MLP width, P PLE width.
struct LayerWeights {
  Vector attention_norm;       // [H]      input_layernorm
  ops::Matrix q;               // [nq*d,H] self_attn.q_proj
  ops::Matrix k, v;            // [nkv*d,H] self_attn.k_proj, v_proj; empty in layers that share K and V
  Vector q_norm, k_norm;       // [d]      self_attn.q_norm, k_norm
  ops::Matrix o;               // [H,nq*d] self_attn.o_proj
  Vector post_attention_norm;  // [H]      post_attention_layernorm
  Vector mlp_norm;             // [H]      pre_feedforward_layernorm
  ops::Matrix gate, up;        // [F,H]    mlp.gate_proj, mlp.up_proj
  ops::Matrix down;            // [H,F]    mlp.down_proj
  Vector post_mlp_norm;        // [H]      post_feedforward_layernorm
  ops::Matrix ple_gate;        // [P,H]    per_layer_input_gate
  ops::Matrix ple_projection;  // [H,P]    per_layer_projection
  Vector post_ple_norm;        // [H]      post_per_layer_input_norm
  float scale = 1.0f;          //          layer_scalar
  KvScales cache_scales;       //          self_attn.k_cache_scale, v_cache_scale, of an 8-bit cache; 0: of each row
};

// Where bytes of a mapping are in the file.
struct FilePlace {
  const MappedFile* file = nullptr;
  uint64_t offset = 0;
};

// The table of per-layer embeddings, [V, L*P]: one row is read from the file per token, so that the table, half of the
// model's bytes, is never resident. Any thread.
class PleTable {
 public:
  PleTable() = default;
  // `matrix` is read at `weights` and, if its scales lie apart, at `scales`.
  PleTable(const ops::Matrix& matrix, FilePlace weights, FilePlace scales)
      : matrix_(matrix), weights_(weights), scales_(scales) {}

  // out[0 .. count) = the first `count` elements of row `id`, times `scale`. `buffer`: scratch of row_bytes().
  // Error: kBadModel, kFailure.
  Status ReadRow(int64_t id, int64_t count, float scale, const kernels::Kernels& kernels, std::span<std::byte> buffer,
                 float* out) const;

  const ops::Matrix& matrix() const { return matrix_; }
  int64_t row_bytes() const { return matrix_.row_bytes + matrix_.scales.row_bytes; }
  uint64_t size_bytes() const { return matrix_.size_bytes(); }
  uint64_t bytes_read() const { return bytes_read_->load(std::memory_order_relaxed); }

 private:
  ops::Matrix matrix_;
  FilePlace weights_, scales_;
  std::unique_ptr<std::atomic<uint64_t>> bytes_read_ = std::make_unique<std::atomic<uint64_t>>(0);
};

// Immutable after Load, but for where its matrices have copies. Views into the checkpoint, which must outlive it.
struct Model {
  DecoderConfig config;
  ops::Matrix embedding;    // [V,H]   embed_tokens
  ops::Matrix head;         // [V,H]   the embedding, unless the checkpoint has a head of its own
  PleTable ple_table;       //         embed_tokens_per_layer
  ops::Matrix ple_context;  // [L*P,H] per_layer_model_projection
  Vector ple_context_norm;  // [P]     per_layer_projection_norm
  std::vector<LayerWeights> layers;
  Vector final_norm;        // [H]     norm
  bool has_blocks = false;  // some matrix is in blocks, whose products round their inputs

  // The matrices that every token is multiplied with as a whole.
  std::vector<ops::Matrix*> Products();
  bool HeadIsEmbedding() const;

  // Errors (kBadModel) name the file, and the key or tensor: architectures that are not run here, missing tensors,
  // wrong shapes, numbers out of range.
  static Result<Model> Load(const formats::Checkpoint& checkpoint);
};

}  // namespace carat::gemma
