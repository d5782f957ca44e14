#include "gemma/census.h"

namespace carat::gemma {

namespace {

class Census {
 public:
  void Add(std::string_view role, const ops::Matrix& matrix, int layer = -1) {
    if (matrix.empty()) return;
    WeightShare& share = Find(role, matrix.type);
    if (layer >= 0 && (share.layers.empty() || share.layers.back() != layer)) share.layers.push_back(layer);
    share.elements += static_cast<uint64_t>(matrix.rows * matrix.cols);
    share.bytes += matrix.size_bytes();
    share.token_bytes += matrix.size_bytes();
  }
  void AddTable(std::string_view role, const ops::Matrix& matrix) {
    Add(role, matrix);
    WeightShare& share = Find(role, matrix.type);
    share.rows = true;
    share.token_bytes = share.bytes / static_cast<uint64_t>(matrix.rows);
  }
  std::vector<WeightShare> Take() { return std::move(shares_); }

 private:
  WeightShare& Find(std::string_view role, quant::Type type) {
    auto place = shares_.end();  // behind the last of the role
    for (auto share = shares_.begin(); share != shares_.end(); ++share) {
      if (share->role != role) continue;
      if (share->type == type) return *share;
      place = share + 1;
    }
    return *shares_.insert(place, {.role = role, .type = type, .layers = {}});
  }

  std::vector<WeightShare> shares_;
};

}  // namespace

std::vector<WeightShare> TakeCensus(const Model& model) {
  Census census;
  const bool tied = model.HeadIsEmbedding();
  if (!tied) census.AddTable("embedding", model.embedding);
  if (model.config.ple_width > 0) census.AddTable("ple table", model.ple_table.matrix());
  census.Add("ple context", model.ple_context);
  for (int i = 0; i < model.config.layer_count(); ++i) {
    const LayerWeights& layer = model.layers[static_cast<size_t>(i)];
    for (const ops::Matrix* matrix : {&layer.q, &layer.k, &layer.v, &layer.o}) census.Add("attention", *matrix, i);
    for (const ops::Matrix* matrix : {&layer.gate, &layer.up, &layer.down}) census.Add("mlp", *matrix, i);
    census.Add("ple gate", layer.ple_gate, i);
    census.Add("ple projection", layer.ple_projection, i);
  }
  census.Add(tied ? "embedding and head" : "head", model.head);
  return census.Take();
}

}  // namespace carat::gemma
