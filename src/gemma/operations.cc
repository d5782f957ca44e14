#include "gemma/operations.h"

#include <algorithm>

#include "ops/linear.h"

namespace carat::gemma {

namespace {

class Counter {
 public:
  explicit Counter(bool exact) : exact_(exact) {}

  void Multiply(const ops::Matrix& w, int64_t tokens) {
    const auto operations = static_cast<uint64_t>(2 * w.rows * w.cols * tokens);
    using Class = ops::Linear::Class;
    const Class kind = ops::Linear::ClassOf(w, exact_);
    (kind == Class::kFloats ? sum_.floating : kind == Class::kBlocks ? sum_.blocks : sum_.integer) += operations;
  }
  // Scores and mix of the tokens at positions begin .. end-1; window 0: each sees all before it.
  void Attend(const LayerConfig& layer, int64_t query_heads, int64_t window, int64_t begin, int64_t end) {
    int64_t seen = 0;
    for (int64_t position = begin; position < end; ++position)
      seen += layer.kind == LayerKind::kSliding ? std::min(position + 1, window) : position + 1;
    Attend(seen, query_heads * layer.head_dim);
  }
  // Scores and mix of queries of `width` numbers in all heads, with so many keys together.
  void Attend(int64_t keys, int64_t width) { sum_.floating += static_cast<uint64_t>(2 * 2 * keys * width); }
  const Operations& sum() const { return sum_; }

 private:
  bool exact_;
  Operations sum_;
};

}  // namespace

Operations CountOperations(const Model& model, bool exact, int64_t past, int64_t tokens) {
  const DecoderConfig& config = model.config;
  const int last_owner = config.LastOwner();
  Counter counter(exact);
  if (tokens == 0) return counter.sum();
  if (config.ple_width > 0) {
    const int64_t below = last_owner * config.ple_width;
    counter.Multiply(model.ple_context.Rows(0, below), tokens);
    counter.Multiply(model.ple_context.Rows(below, model.ple_context.rows), 1);
  }
  for (int index = 0; index < config.layer_count(); ++index) {
    const LayerWeights& w = model.layers[static_cast<size_t>(index)];
    if (config.OwnsKv(index))
      for (const ops::Matrix* matrix : {&w.k, &w.v}) counter.Multiply(*matrix, tokens);
    const int64_t count = index < last_owner ? tokens : 1;
    for (const ops::Matrix* matrix : {&w.q, &w.o, &w.gate, &w.up, &w.down, &w.ple_gate, &w.ple_projection})
      counter.Multiply(*matrix, count);
    counter.Attend(config.layers[static_cast<size_t>(index)], config.query_heads, config.window, past + tokens - count,
                   past + tokens);
  }
  counter.Multiply(model.head, 1);
  return counter.sum();
}

Operations CountOperations(const VisionModel& model, bool exact, int64_t patches) {
  const VisionConfig& config = model.config;
  Counter counter(exact);
  counter.Multiply(model.patch, patches);
  for (const VisionLayerWeights& w : model.layers) {
    for (const ClippedLinear* linear : {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down})
      counter.Multiply(linear->weight, patches);
    counter.Attend(patches * patches, config.query_heads * config.head_dim);
  }
  counter.Multiply(model.projection, patches / (config.pooling * config.pooling));
  return counter.sum();
}

}  // namespace carat::gemma
