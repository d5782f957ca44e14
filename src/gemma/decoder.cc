#include "gemma/decoder.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>

#include "base/check.h"
#include "base/try.h"
#include "ops/interleaved.h"

namespace carat::gemma {

namespace {

// Bytes of weights that are copied on the way of one token. Copies of E2B are made within 44 tokens: so slowly that
// answers of a few words lose little, and so fast that those of a few sentences win.
constexpr int64_t kCopiedPerToken = int64_t{32} << 20;

struct Widths {
  int64_t q = 0, kv = 0, ff = 0, head_dim = 0;
};

// Of layers begin .. end-1.
Widths Widest(const DecoderConfig& config, int begin, int end) {
  Widths widest;
  for (int index = begin; index < end; ++index) {
    const LayerConfig& layer = config.layers[static_cast<size_t>(index)];
    widest.q = std::max(widest.q, int64_t{config.query_heads} * layer.head_dim);
    widest.kv = std::max(widest.kv, int64_t{layer.kv_heads} * layer.head_dim);
    widest.ff = std::max(widest.ff, int64_t{layer.ff_width});
    widest.head_dim = std::max(widest.head_dim, int64_t{layer.head_dim});
  }
  return widest;
}

// All tokens of a batch pass the layers below `last_owner`, and write its K and V; what comes then is for `kept` ones.
void ReserveProducts(const Model& model, int64_t tokens, int64_t kept, ops::Linear& linear) {
  const auto reserve = [&](const ops::Matrix& w, int64_t rows) {
    if (!w.empty()) linear.Reserve(w, rows);
  };
  const int last_owner = model.config.LastOwner();
  for (int index = 0; index < model.config.layer_count(); ++index) {
    const LayerWeights& layer = model.layers[static_cast<size_t>(index)];
    for (const ops::Matrix* w : {&layer.k, &layer.v}) reserve(*w, tokens);
    for (const ops::Matrix* w :
         {&layer.q, &layer.o, &layer.gate, &layer.up, &layer.down, &layer.ple_gate, &layer.ple_projection})
      reserve(*w, index < last_owner ? tokens : kept);
  }
  reserve(model.ple_context, tokens);
  reserve(model.head, kept);
}

int64_t CountTokens(std::span<const Segment> segments, int64_t hidden) {
  int64_t tokens = 0;
  for (const Segment& segment : segments)
    tokens += static_cast<int64_t>(segment.ids.empty() ? segment.soft.size() / static_cast<size_t>(hidden)
                                                       : segment.ids.size());
  return tokens;
}

}  // namespace

// The story: a batch from its tokens to the hidden states of the rows that are kept.
Status Decoder::Run(std::span<const Segment> segments, int keep, const TraceSink& trace) {
  const DecoderConfig& config = model_.config;
  const int64_t tokens = CountTokens(segments, config.hidden);
  CHECK(tokens <= options_.max_batch && keep <= std::min<int64_t>(tokens, options_.max_keep) &&
        cache_.length() + tokens <= options_.context);
  const auto show = [&](const std::string& name, const float* values, std::initializer_list<int64_t> shape) {
    if (trace) trace(name, {shape.begin(), shape.size()}, values);
  };

  first_position_ = cache_.length();
  first_kept_ = tokens - keep;
  sliding_rope_.Fill(config.sliding_rope, first_position_, tokens);
  global_rope_.Fill(config.global_rope, first_position_, tokens);
  TRY(Embed(segments));
  show("embed", x_.data(), {tokens, config.hidden});
  if (config.ple_width > 0) {
    TRY(PerLayerInputs(segments, tokens, keep));
    if (trace && keep == tokens) ShowPle(trace, tokens);
  }

  cache_.WillWrite(tokens);
  linear_.AllowCopies(tokens == 1 && options_.copy_weights ? kCopiedPerToken : 0);  // a prompt does not wait for copies
  Rows rows = {.first = 0, .count = tokens};
  const int last_owner = config.LastOwner();
  for (int layer = 0; layer < config.layer_count(); ++layer) {
    const LayerWeights& w = model_.layers[static_cast<size_t>(layer)];
    Norm(X(rows), w.attention_norm, rows.count, Normed(rows));
    if (config.OwnsKv(layer)) TRY(WriteKv(layer, rows));
    if (layer == last_owner) {
      // The prefill shortcut: tokens meet each other in K and V only, and nothing above writes any.
      rows = {.first = tokens - keep, .count = keep};
      if (keep == 0) break;
    }
    AttentionBlock(layer, rows);
    MlpBlock(layer, rows);
    if (config.ple_width > 0) PleBlock(layer, rows);
    if (w.scale != 1.0f) {
      float* x = X(rows);
      for (int64_t i = 0; i < rows.count * config.hidden; ++i) x[i] *= w.scale;
    }
    show("layer." + std::to_string(layer), X(rows), {rows.count, config.hidden});
  }
  cache_.Extend(tokens);

  kept_ = keep;
  Norm(X(rows), model_.final_norm, keep, hidden_.data());
  show("final_norm", hidden_.data(), {keep, config.hidden});
  return {};
}

// x = embedding of the token * sqrt(H); soft tokens as they come.
Status Decoder::Embed(std::span<const Segment> segments) {
  const int64_t hidden = model_.config.hidden;
  const ops::Matrix& table = model_.embedding;
  float* x = x_.data();
  for (const Segment& segment : segments) {
    for (const int32_t id : segment.ids) {
      CHECK(id >= 0 && id < model_.config.vocabulary);
      ops::DecodeRow(*context_.kernels, table, EmbeddingRow(id), table.row_scales(id), hidden, x);
      for (int64_t i = 0; i < hidden; ++i) x[i] *= model_.config.embedding_scale;
      x += hidden;
    }
    if (segment.ids.empty()) x = std::copy(segment.soft.begin(), segment.soft.end(), x);
  }
  return {};
}

// Where the bytes of a row of the embedding are. The file's pages stay let go of once there is a copy.
const std::byte* Decoder::EmbeddingRow(int64_t id) {
  const ops::Matrix& table = model_.embedding;
  if (table.copy == nullptr || id >= table.copy->filled_rows()) return table.row(id);
  table.copy->CopyRow(id, embedding_row_.data());
  return embedding_row_.data();
}

// ple[t][l] = (RMSNorm(Wctx x[t] / sqrt(H))[l] + table[id[t]][l] * sqrt(P)) / sqrt(2), of the layers that will be
// computed.
Status Decoder::PerLayerInputs(std::span<const Segment> segments, int64_t tokens, int64_t keep) {
  const DecoderConfig& config = model_.config;
  const int64_t hidden = config.hidden;
  const int64_t row = int64_t{config.layer_count()} * config.ple_width;
  const int64_t below = int64_t{config.LastOwner()} * config.ple_width;  // slices of the layers that every token passes

  linear_.SetInput(x_.data(), tokens, hidden);
  if (below > 0) linear_.Multiply(model_.ple_context.Rows(0, below), ple_.data());
  if (keep > 0) {
    linear_.SetInput(x_.data() + first_kept_ * hidden, keep, hidden);
    linear_.Multiply(model_.ple_context.Rows(below, row), kept_ple_.data());
  }

  // The ids of the batch, the pad id for soft tokens, segment by segment.
  std::atomic<bool> failed{false};
  Status status;
  int64_t begin = 0;
  for (const Segment& segment : segments) {
    const int64_t count = CountTokens({&segment, 1}, hidden);
    context_.pool->ParallelFor(count, [&](int64_t index, int worker) {
      const int64_t id = segment.ids.empty() ? config.ple_pad_id : segment.ids[static_cast<size_t>(index)];
      const int64_t t = begin + index;
      const int64_t layers = t >= first_kept_ ? config.layer_count() : config.LastOwner();
      Status row_status = PerLayerInputRow(t, id, layers, worker);
      if (!row_status && !failed.exchange(true)) status = std::move(row_status);
    });
    begin += count;
  }
  return status;
}

Status Decoder::PerLayerInputRow(int64_t row, int64_t id, int64_t layers, int worker) {
  const DecoderConfig& config = model_.config;
  const int64_t width = config.ple_width;
  const int64_t all = config.layer_count() * width;
  // Quantised rows are read in whole blocks; if the wanted layers do not end on one, the whole row is read.
  const int64_t count = (layers * width) % 256 == 0 ? layers * width : all;
  const std::span<std::byte> bytes = {ple_rows_[static_cast<size_t>(worker)].data(),
                                      static_cast<size_t>(model_.ple_table.row_bytes())};
  float* table_row = ple_floats_[static_cast<size_t>(worker)].data();
  TRY(model_.ple_table.ReadRow(id, count, std::sqrt(static_cast<float>(width)), *context_.kernels, bytes, table_row));

  const auto context_scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(config.hidden)));
  const auto half_scale = static_cast<float>(std::sqrt(0.5));
  for (int64_t layer = 0; layer < layers; ++layer) {
    float* slice = Ple(row, layer);
    const float* token = table_row + layer * width;
    for (int64_t i = 0; i < width; ++i) slice[i] *= context_scale;
    context_.kernels->rms_norm(slice, model_.ple_context_norm.data(), config.norm_epsilon, width, slice);
    for (int64_t i = 0; i < width; ++i) slice[i] = (slice[i] + token[i]) * half_scale;
  }
  return {};
}

float* Decoder::Ple(int64_t row, int64_t layer) {
  const DecoderConfig& config = model_.config;
  const int64_t below = config.LastOwner();
  const int64_t slice =
      layer < below ? row * below + layer : (row - first_kept_) * (config.layer_count() - below) + layer - below;
  return (layer < below ? ple_ : kept_ple_).data() + slice * config.ple_width;
}

// As the dumps have it: [tokens, L, P].
void Decoder::ShowPle(const TraceSink& trace, int64_t tokens) {
  const DecoderConfig& config = model_.config;
  std::vector<float> all;
  for (int64_t row = 0; row < tokens; ++row)
    for (int64_t layer = 0; layer < config.layer_count(); ++layer)
      all.insert(all.end(), Ple(row, layer), Ple(row, layer) + config.ple_width);
  trace("ple", std::array{tokens, int64_t{config.layer_count()}, config.ple_width}, all.data());
}

// K = RoPE(RMSNorm(Wk a)), V = RMSNorm(Wv a) per head, into the cache; a is the normed residual stream.
Status Decoder::WriteKv(int layer, const Rows& rows) {
  const DecoderConfig& config = model_.config;
  const LayerConfig& shape = config.layers[static_cast<size_t>(layer)];
  const LayerWeights& w = model_.layers[static_cast<size_t>(layer)];
  const int64_t width = int64_t{shape.kv_heads} * shape.head_dim;
  const ops::RopeTable& rope = shape.kind == LayerKind::kSliding ? sliding_rope_ : global_rope_;
  const kernels::Kernels& kernels = *context_.kernels;

  linear_.SetInput(Normed(rows), rows.count, config.hidden);
  linear_.Multiply(w.k, k_.data());
  linear_.Multiply(w.v, v_.data());
  std::atomic<bool> written{true};
  context_.pool->ParallelFor(rows.count, [&](int64_t r, int) {
    float* k = k_.data() + r * width;
    float* v = v_.data() + r * width;
    for (int64_t i = 0; i < width; i += shape.head_dim) {
      kernels.rms_norm(k + i, w.k_norm.data(), config.norm_epsilon, shape.head_dim, k + i);
      if (config.value_norm) kernels.rms_norm(v + i, nullptr, config.norm_epsilon, shape.head_dim, v + i);
    }
    rope.Rotate(rows.first + r, k, shape.kv_heads);
    if (!cache_.Write(layer, first_position_ + rows.first + r, k, v, kernels)) written = false;
  });
  if (!written)
    return Fail(ErrorCode::kFailure,
                "layer " + std::to_string(layer) +
                    ": the model computed keys or values that are not numbers, which an int8 cache cannot hold; its "
                    "weights or this build's kernels are damaged");
  return {};
}

// x += RMSNorm(Wo Attention(RoPE(RMSNorm(Wq a)))).
void Decoder::AttentionBlock(int layer, const Rows& rows) {
  const DecoderConfig& config = model_.config;
  const LayerConfig& shape = config.layers[static_cast<size_t>(layer)];
  const LayerWeights& w = model_.layers[static_cast<size_t>(layer)];
  const int64_t width = int64_t{config.query_heads} * shape.head_dim;
  const ops::RopeTable& rope = shape.kind == LayerKind::kSliding ? sliding_rope_ : global_rope_;

  linear_.SetInput(Normed(rows), rows.count, config.hidden);
  linear_.Multiply(w.q, q_.data());
  context_.pool->ParallelFor(rows.count, [&](int64_t r, int) {
    float* q = q_.data() + r * width;
    for (int64_t i = 0; i < width; i += shape.head_dim)
      context_.kernels->rms_norm(q + i, w.q_norm.data(), config.norm_epsilon, shape.head_dim, q + i);
    rope.Rotate(rows.first + r, q, config.query_heads);
    if (config.query_scale != 1.0f)
      for (int64_t i = 0; i < width; ++i) q[i] *= config.query_scale;
  });
  const int64_t window = shape.kind == LayerKind::kSliding ? config.window : 0;
  attention_.Run(cache_.View(layer),
                 {.q = q_.data(), .rows = rows.count, .first_position = first_position_ + rows.first, .window = window},
                 mixed_.data());
  linear_.SetInput(mixed_.data(), rows.count, width);
  linear_.Multiply(w.o, delta_.data());
  AddNormedDelta(w.post_attention_norm, rows);
}

// x += RMSNorm(Wdown (gelu(Wgate m) * (Wup m))), m = RMSNorm(x).
void Decoder::MlpBlock(int layer, const Rows& rows) {
  const LayerWeights& w = model_.layers[static_cast<size_t>(layer)];
  const int64_t width = w.gate.rows;
  Norm(X(rows), w.mlp_norm, rows.count, Normed(rows));
  linear_.SetInput(Normed(rows), rows.count, model_.config.hidden);
  linear_.Multiply(w.gate, gate_.data());
  linear_.Multiply(w.up, up_.data());
  context_.pool->ParallelFor(rows.count, [&](int64_t r, int) {
    float* gate = gate_.data() + r * width;
    context_.kernels->gelu_mul(gate, up_.data() + r * width, width, gate);
  });
  linear_.SetInput(gate_.data(), rows.count, width);
  linear_.Multiply(w.down, delta_.data());
  AddNormedDelta(w.post_mlp_norm, rows);
}

// x += RMSNorm(Wproj (gelu(Wgate x) * ple)); its input is x itself, not a normed x.
void Decoder::PleBlock(int layer, const Rows& rows) {
  const DecoderConfig& config = model_.config;
  const LayerWeights& w = model_.layers[static_cast<size_t>(layer)];
  const int64_t width = config.ple_width;
  linear_.SetInput(X(rows), rows.count, config.hidden);
  linear_.Multiply(w.ple_gate, gate_.data());
  context_.pool->ParallelFor(rows.count, [&](int64_t r, int) {
    float* gate = gate_.data() + r * width;
    context_.kernels->gelu_mul(gate, Ple(rows.first + r, layer), width, gate);
  });
  linear_.SetInput(gate_.data(), rows.count, width);
  linear_.Multiply(w.ple_projection, delta_.data());
  AddNormedDelta(w.post_ple_norm, rows);
}

void Decoder::Logits(int64_t first, int64_t count, float* out) {
  const DecoderConfig& config = model_.config;
  CHECK(first >= 0 && first + count <= kept_);
  linear_.SetInput(hidden_.data() + first * config.hidden, count, config.hidden);
  linear_.Multiply(model_.head, out);
  if (config.logit_soft_cap == 0) return;
  constexpr int64_t kChunk = 4096;
  const int64_t total = count * config.vocabulary;
  context_.pool->ParallelFor((total + kChunk - 1) / kChunk, [&](int64_t chunk, int) {
    const int64_t begin = chunk * kChunk;
    context_.kernels->soft_cap(out + begin, std::min(kChunk, total - begin), config.logit_soft_cap);
  });
}

void Decoder::Norm(const float* x, const Vector& weight, int64_t rows, float* y) {
  const int64_t hidden = model_.config.hidden;
  context_.pool->ParallelFor(rows, [&](int64_t r, int) {
    context_.kernels->rms_norm(x + r * hidden, weight.data(), model_.config.norm_epsilon, hidden, y + r * hidden);
  });
}

void Decoder::AddNormedDelta(const Vector& weight, const Rows& rows) {
  const int64_t hidden = model_.config.hidden;
  float* x = X(rows);
  context_.pool->ParallelFor(rows.count, [&](int64_t r, int) {
    context_.kernels->add_rms_norm(delta_.data() + r * hidden, weight.data(), model_.config.norm_epsilon, hidden,
                                   x + r * hidden);
  });
}

MemoryUse Decoder::scratch() const {
  MemoryUse use;
  for (const MemoryUse& part :
       {linear_.scratch(), attention_.scratch(), sliding_rope_.scratch(), global_rope_.scratch()})
    use += part;
  for (const auto* buffer : {&x_, &normed_, &delta_, &ple_, &kept_ple_, &q_, &mixed_, &k_, &v_, &gate_, &up_, &hidden_})
    use += buffer->memory();
  use += embedding_row_.memory();
  for (const AlignedBuffer<std::byte>& row : ple_rows_) use += row.memory();
  for (const AlignedBuffer<float>& row : ple_floats_) use += row.memory();
  return use;
}

Result<std::unique_ptr<Decoder>> Decoder::Create(const Model& model, const ops::Context& context,
                                                 const DecoderOptions& options) {
  CHECK(options.context > 0 && options.max_batch > 0 && options.max_keep > 0);
  std::vector<KvScales> scales;
  scales.reserve(model.layers.size());
  for (const LayerWeights& layer : model.layers) scales.push_back(layer.cache_scales);
  TRY_ASSIGN(KvCache cache, KvCache::Create(model.config, options.kv_type, options.context, options.max_batch, scales));
  return std::unique_ptr<Decoder>(new Decoder(model, context, options, std::move(cache)));
}

Decoder::Decoder(const Model& model, const ops::Context& context, const DecoderOptions& options, KvCache cache)
    : model_(model),
      context_(context),
      options_(options),
      cache_(std::move(cache)),
      linear_(context),
      attention_(context, model.config.query_heads, Widest(model.config, 0, model.config.layer_count()).head_dim) {
  const DecoderConfig& config = model.config;
  const int64_t rows = options.max_batch, kept = std::min(options.max_keep, options.max_batch);
  const int last_owner = config.LastOwner(), layers = config.layer_count();
  const Widths below = Widest(config, 0, last_owner), above = Widest(config, last_owner, layers);
  // For what is as wide as the first below the last owner, and as the second from there on.
  const auto reserve = [&](AlignedBuffer<float>& buffer, int64_t below_width, int64_t above_width) {
    buffer.Reserve(static_cast<size_t>(std::max(rows * below_width, kept * above_width)));
  };
  ReserveProducts(model, rows, kept, linear_);
  for (AlignedBuffer<float>* buffer : {&x_, &normed_, &delta_}) reserve(*buffer, config.hidden, 0);
  reserve(hidden_, 0, config.hidden);
  for (AlignedBuffer<float>* buffer : {&q_, &mixed_}) reserve(*buffer, below.q, above.q);
  const int64_t kv_width = std::max(below.kv, above.kv);  // the last owner writes those of all rows
  for (AlignedBuffer<float>* buffer : {&k_, &v_}) reserve(*buffer, kv_width, 0);
  reserve(gate_, std::max(below.ff, config.ple_width), std::max(above.ff, config.ple_width));
  reserve(up_, below.ff, above.ff);
  embedding_row_.Reserve(static_cast<size_t>(model.embedding.row_bytes));
  sliding_rope_.Reserve(config.sliding_rope, options.max_batch);
  global_rope_.Reserve(config.global_rope, options.max_batch);
  if (config.ple_width == 0) return;
  reserve(ple_, last_owner * config.ple_width, 0);
  reserve(kept_ple_, 0, (layers - last_owner) * config.ple_width);
  for (int worker = 0; worker < context.pool->size(); ++worker) {
    ple_rows_.emplace_back(static_cast<size_t>(model.ple_table.row_bytes()));
    ple_floats_.emplace_back(static_cast<size_t>(layers * config.ple_width));
  }
}

}  // namespace carat::gemma
