#include "gemma/vision_encoder.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "base/check.h"
#include "base/try.h"

namespace carat::gemma {

namespace {

// Patches of a block: enough that unpacking the weights for each costs little, few enough for small buffers (E2B: 24 KB
// a patch for the MLP alone).
constexpr int64_t kBlock = 512;

// A NaN stays one, so that the error shows.
void Clamp(const float* x, int64_t n, float min, float max, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float above = min > x[i] ? min : x[i];
    y[i] = max < above ? max : above;
  }
}

}  // namespace

// The story: a picture from its patches to its soft tokens.
Status VisionEncoder::Encode(const PatchGrid& grid, std::span<float> soft, const TraceSink& trace,
                             const EncodeProgress& progress) {
  TRY(Check(grid, soft));
  const VisionConfig& config = model_.config;
  const int64_t patches = grid.columns * grid.rows, tokens = SoftTokens(grid);
  const auto show = [&](const std::string& name, const float* values, int64_t rows, int64_t width) {
    if (trace) trace("vision." + name, std::array{rows, width}, values);
  };

  rope_.Fill(config.rope, 0, std::max(grid.columns, grid.rows));
  Embed(grid);
  show("embed", x_.data(), patches, config.hidden);
  for (int64_t layer = 0; layer < config.layers; ++layer) {
    const VisionLayerWeights& w = model_.layers[static_cast<size_t>(layer)];
    AttentionBlock(w, grid);
    MlpBlock(w, patches);
    show("layer." + std::to_string(layer), x_.data(), patches, config.hidden);
    if (progress && !progress(layer + 1, config.layers))
      return Fail(ErrorCode::kInterrupted, "interrupted while a picture was encoded");
  }
  show("encoder", x_.data(), patches, config.hidden);  // there is no norm behind the last layer

  Pool(grid);
  show("pooled", pooled_.data(), tokens, config.hidden);
  if (!model_.std_scale.empty()) {
    for (int64_t i = 0; i < tokens * config.hidden; ++i) {
      const auto column = static_cast<size_t>(i % config.hidden);
      pooled_.data()[i] = (pooled_.data()[i] - model_.std_bias[column]) * model_.std_scale[column];
    }
    show("standardized", pooled_.data(), tokens, config.hidden);
  }
  Norm(pooled_.data(), {}, tokens, pooled_.data());
  linear_.SetInput(pooled_.data(), tokens, config.hidden);
  linear_.Multiply(model_.projection, soft.data());
  show("soft_tokens", soft.data(), tokens, config.text_hidden);
  return {};
}

// x[n] = E (2 v[n] - 1) + (T[0][column] + T[1][row]).
void VisionEncoder::Embed(const PatchGrid& grid) {
  const int64_t width = model_.config.patch_values(), hidden = model_.config.hidden;
  ForEachBlock(grid.columns * grid.rows, [&](int64_t first, int64_t rows) {
    const float* values = grid.values.data() + first * width;
    for (int64_t i = 0; i < rows * width; ++i) clipped_.data()[i] = 2.0f * values[i] - 1.0f;
    linear_.SetInput(clipped_.data(), rows, width);
    linear_.Multiply(model_.patch, x_.data() + first * hidden);
    AddPositions(grid, first, rows);
  });
}

void VisionEncoder::AddPositions(const PatchGrid& grid, int64_t first, int64_t rows) {
  const int64_t hidden = model_.config.hidden;
  const ops::Matrix& table = model_.positions;
  context_.pool->ParallelFor(rows, [&](int64_t r, int worker) {
    const int64_t column = (first + r) % grid.columns, row = (first + r) / grid.columns;
    float* of_column = position_rows_[static_cast<size_t>(worker)].data();
    float* of_row = of_column + hidden;
    ops::DecodeRow(*context_.kernels, table, table.row(column), nullptr, hidden, of_column);
    ops::DecodeRow(*context_.kernels, table, table.row(model_.config.positions + row), nullptr, hidden, of_row);
    float* x = x_.data() + (first + r) * hidden;
    for (int64_t i = 0; i < hidden; ++i) x[i] += of_column[i] + of_row[i];
  });
}

// x += RMSNorm(CLo Attention(q, k, v)): every patch sees every patch.
void VisionEncoder::AttentionBlock(const VisionLayerWeights& w, const PatchGrid& grid) {
  const VisionConfig& config = model_.config;
  const int64_t patches = grid.columns * grid.rows, width = config.query_heads * config.head_dim;
  ForEachBlock(patches, [&](int64_t first, int64_t rows) { QueriesKeysValues(w, grid, first, rows); });
  const ops::KvView kv = {.keys = reinterpret_cast<const std::byte*>(k_.data()),
                          .values = reinterpret_cast<const std::byte*>(v_.data()),
                          .type = kernels::KvType::kF32,
                          .capacity = patches,
                          .kv_heads = config.kv_heads,
                          .head_dim = config.head_dim,
                          .by_head = true};
  attention_.Run(kv, {.q = q_.data(), .rows = patches, .all = patches}, q_.data());
  ForEachBlock(patches, [&](int64_t first, int64_t rows) {
    Multiply(w.o, q_.data() + first * width, rows, delta_.data());
    AddNormedDelta(w.post_attention_norm, first, rows);
  });
}

// q = RoPE(RMSNorm(CLq a)), k = RoPE(RMSNorm(CLk a)), v = RMSNorm(CLv a) without weight, per head; a = RMSNorm(x). The
// first half of a head turns with the column, the second with the row.
void VisionEncoder::QueriesKeysValues(const VisionLayerWeights& w, const PatchGrid& grid, int64_t first, int64_t rows) {
  const VisionConfig& config = model_.config;
  const kernels::Kernels& kernels = *context_.kernels;
  const int64_t d = config.head_dim, q_width = config.query_heads * d, kv_width = config.kv_heads * d;
  const int64_t patches = grid.columns * grid.rows;
  Norm(x_.data() + first * config.hidden, w.attention_norm, rows, normed_.data());
  Multiply(w.q, normed_.data(), rows, q_.data() + first * q_width);
  Multiply(w.k, normed_.data(), rows, k_rows_.data());
  Multiply(w.v, normed_.data(), rows, v_rows_.data());
  context_.pool->ParallelFor(rows, [&](int64_t r, int) {
    const int64_t column = (first + r) % grid.columns, row = (first + r) / grid.columns;
    const auto norm_and_turn = [&](const float* head, const Vector& weight, float* out) {
      kernels.rms_norm(head, weight.data(), config.norm_epsilon, d, out);
      rope_.Rotate(column, out, 1, d);
      rope_.Rotate(row, out + d / 2, 1, d);
    };
    float* q = q_.data() + (first + r) * q_width;
    for (int64_t i = 0; i < q_width; i += d) norm_and_turn(q + i, w.q_norm, q + i);
    for (int64_t head = 0; head < config.kv_heads; ++head) {
      const int64_t from = r * kv_width + head * d, to = (head * patches + first + r) * d;
      norm_and_turn(k_rows_.data() + from, w.k_norm, k_.data() + to);
      kernels.rms_norm(v_rows_.data() + from, nullptr, config.norm_epsilon, d, v_.data() + to);
    }
  });
}

// x += RMSNorm(CLdown (gelu(CLgate m) * (CLup m))), m = RMSNorm(x).
void VisionEncoder::MlpBlock(const VisionLayerWeights& w, int64_t patches) {
  const int64_t hidden = model_.config.hidden, width = model_.config.ff_width;
  ForEachBlock(patches, [&](int64_t first, int64_t rows) {
    float* x = x_.data() + first * hidden;
    Norm(x, w.mlp_norm, rows, normed_.data());
    Multiply(w.gate, normed_.data(), rows, gate_.data());
    Multiply(w.up, normed_.data(), rows, up_.data());
    context_.pool->ParallelFor(rows, [&](int64_t r, int) {
      float* gate = gate_.data() + r * width;
      context_.kernels->gelu_mul(gate, up_.data() + r * width, width, gate);
    });
    Multiply(w.down, gate_.data(), rows, delta_.data());
    AddNormedDelta(w.post_mlp_norm, first, rows);
    if (w.scale.empty()) return;
    for (int64_t i = 0; i < rows * hidden; ++i) x[i] *= w.scale[static_cast<size_t>(i % hidden)];
  });
}

// pooled[t] = mean of the k x k patches of block t, times sqrt(D).
void VisionEncoder::Pool(const PatchGrid& grid) {
  const int64_t hidden = model_.config.hidden, k = model_.config.pooling, columns = grid.columns / k;
  const float share = 1.0f / static_cast<float>(k * k);
  const auto scale = static_cast<float>(std::sqrt(static_cast<double>(hidden)));
  context_.pool->ParallelFor(SoftTokens(grid), [&](int64_t t, int) {
    float* pooled = pooled_.data() + t * hidden;
    std::fill_n(pooled, hidden, 0.0f);
    for (int64_t dy = 0; dy < k; ++dy)
      for (int64_t dx = 0; dx < k; ++dx) {
        const float* x = x_.data() + ((t / columns * k + dy) * grid.columns + t % columns * k + dx) * hidden;
        for (int64_t i = 0; i < hidden; ++i) pooled[i] += x[i];
      }
    for (int64_t i = 0; i < hidden; ++i) pooled[i] = pooled[i] * share * scale;
  });
}

void VisionEncoder::Multiply(const ClippedLinear& w, const float* x, int64_t rows, float* y) {
  const int64_t in = w.weight.cols, out = w.weight.rows;
  if (w.ClipsInput()) {
    context_.pool->ParallelFor(
        rows, [&](int64_t r, int) { Clamp(x + r * in, in, w.input_min, w.input_max, clipped_.data() + r * in); });
    x = clipped_.data();
  }
  linear_.SetInput(x, rows, in);
  linear_.Multiply(w.weight, y);
  if (w.ClipsOutput())
    context_.pool->ParallelFor(
        rows, [&](int64_t r, int) { Clamp(y + r * out, out, w.output_min, w.output_max, y + r * out); });
}

void VisionEncoder::Norm(const float* x, const Vector& weight, int64_t rows, float* y) {
  const int64_t hidden = model_.config.hidden;
  const float* weights = weight.empty() ? nullptr : weight.data();
  context_.pool->ParallelFor(rows, [&](int64_t r, int) {
    context_.kernels->rms_norm(x + r * hidden, weights, model_.config.norm_epsilon, hidden, y + r * hidden);
  });
}

void VisionEncoder::AddNormedDelta(const Vector& weight, int64_t first, int64_t rows) {
  const int64_t hidden = model_.config.hidden;
  context_.pool->ParallelFor(rows, [&](int64_t r, int) {
    context_.kernels->add_rms_norm(delta_.data() + r * hidden, weight.data(), model_.config.norm_epsilon, hidden,
                                   x_.data() + (first + r) * hidden);
  });
}

template <typename Body>
void VisionEncoder::ForEachBlock(int64_t patches, const Body& body) const {
  const int64_t blocks = (patches + kBlock - 1) / kBlock, rows = (patches + blocks - 1) / blocks;
  for (int64_t first = 0; first < patches; first += rows) body(first, std::min(rows, patches - first));
}

Status VisionEncoder::Check(const PatchGrid& grid, std::span<float> soft) const {
  const VisionConfig& config = model_.config;
  const auto fail = [&](const std::string& what) {
    return Fail(ErrorCode::kUsage, "a picture of " + std::to_string(grid.columns) + " x " + std::to_string(grid.rows) +
                                       " patches " + what);
  };
  if (grid.columns < 1 || grid.rows < 1 || grid.columns % config.pooling != 0 || grid.rows % config.pooling != 0)
    return fail("is no whole number of blocks of " + std::to_string(config.pooling) + " x " +
                std::to_string(config.pooling));
  const int64_t side = std::min(config.positions, max_patches_);
  if (grid.columns > side || grid.rows > side || grid.columns * grid.rows > max_patches_)
    return fail("is larger than " + std::to_string(max_patches_) + " patches in all, or " +
                std::to_string(config.positions) + " in a row");
  if (grid.values.size() != static_cast<size_t>(grid.columns * grid.rows * config.patch_values()))
    return fail("has " + std::to_string(grid.values.size()) + " values instead of " +
                std::to_string(config.patch_values()) + " for each");
  CHECK(soft.size() == static_cast<size_t>(SoftTokens(grid) * config.text_hidden));
  return {};
}

MemoryUse VisionEncoder::scratch() const {
  MemoryUse use = linear_.scratch();
  for (const MemoryUse& part : {attention_.scratch(), rope_.scratch()}) use += part;
  for (const auto* buffer :
       {&x_, &q_, &k_, &v_, &normed_, &k_rows_, &v_rows_, &delta_, &clipped_, &gate_, &up_, &pooled_})
    use += buffer->memory();
  for (const AlignedBuffer<float>& rows : position_rows_) use += rows.memory();
  return use;
}

VisionEncoder::VisionEncoder(const VisionModel& model, const ops::Context& context, int64_t max_patches)
    : model_(model),
      context_(context),
      max_patches_(max_patches),
      linear_(context),
      attention_(context, model.config.query_heads, model.config.head_dim) {
  const VisionConfig& config = model.config;
  CHECK(max_patches > 0);
  const int64_t block = std::min(kBlock, max_patches), q_width = config.query_heads * config.head_dim;
  const int64_t tokens = max_patches / (config.pooling * config.pooling);
  const auto reserve = [](AlignedBuffer<float>& buffer, int64_t rows, int64_t width) {
    buffer.Reserve(static_cast<size_t>(rows * width));
  };
  reserve(x_, max_patches, config.hidden);
  reserve(q_, max_patches, q_width);
  const int64_t kv_width = config.kv_heads * config.head_dim;
  for (AlignedBuffer<float>* buffer : {&k_, &v_}) reserve(*buffer, max_patches, kv_width);
  for (AlignedBuffer<float>* buffer : {&k_rows_, &v_rows_}) reserve(*buffer, block, kv_width);
  for (AlignedBuffer<float>* buffer : {&normed_, &delta_}) reserve(*buffer, block, config.hidden);
  reserve(clipped_, block, std::max({config.hidden, q_width, config.ff_width, config.patch_values()}));
  for (AlignedBuffer<float>* buffer : {&gate_, &up_}) reserve(*buffer, block, config.ff_width);
  reserve(pooled_, tokens, config.hidden);
  for (int worker = 0; worker < context.pool->size(); ++worker)
    position_rows_.emplace_back(static_cast<size_t>(2 * config.hidden));

  attention_.ReserveForAll();
  rope_.Reserve(config.rope, std::min(max_patches, config.positions));
  linear_.Reserve(model.patch, block);
  for (const VisionLayerWeights& w : model.layers)
    for (const ClippedLinear* linear : {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down})
      linear_.Reserve(linear->weight, block);
  linear_.Reserve(model.projection, tokens);
}

}  // namespace carat::gemma
