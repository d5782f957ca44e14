#include "gemma/census.h"

#include <algorithm>

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

enum class Use { kAll, kRows };  // what a token reads of a matrix

// visit(role, matrix, use, layer or -1), in the order in which a token meets them.
template <typename Visit>
void ForEachMatrix(const Model& model, const Visit& visit) {
  const bool tied = model.HeadIsEmbedding();
  if (!tied) visit("embedding", model.embedding, Use::kRows, -1);
  if (model.config.ple_width > 0) visit("ple table", model.ple_table.matrix(), Use::kRows, -1);
  visit("ple context", model.ple_context, Use::kAll, -1);
  for (int i = 0; i < model.config.layer_count(); ++i) {
    const LayerWeights& layer = model.layers[static_cast<size_t>(i)];
    for (const ops::Matrix* matrix : {&layer.q, &layer.k, &layer.v, &layer.o})
      visit("attention", *matrix, Use::kAll, i);
    for (const ops::Matrix* matrix : {&layer.gate, &layer.up, &layer.down}) visit("mlp", *matrix, Use::kAll, i);
    visit("ple gate", layer.ple_gate, Use::kAll, i);
    visit("ple projection", layer.ple_projection, Use::kAll, i);
  }
  visit(tied ? "embedding and head" : "head", model.head, Use::kAll, -1);
}

void AddBytes(const ops::Matrix& matrix, std::vector<std::span<const std::byte>>& bytes) {
  if (matrix.empty() || matrix.rows == 0) return;
  bytes.emplace_back(matrix.data, static_cast<size_t>(matrix.rows * matrix.row_bytes));
  if (matrix.scales.data != nullptr)
    bytes.emplace_back(matrix.scales.data, static_cast<size_t>(matrix.rows * matrix.scales.row_bytes));
}

}  // namespace

std::vector<WeightShare> TakeCensus(const Model& model) {
  Census census;
  ForEachMatrix(model, [&](std::string_view role, const ops::Matrix& matrix, Use use, int layer) {
    if (use == Use::kRows) {
      census.AddTable(role, matrix);
    } else {
      census.Add(role, matrix, layer);
    }
  });
  return census.Take();
}

std::vector<std::span<const std::byte>> WeightBytes(const Model& model) {
  std::vector<std::span<const std::byte>> bytes;
  ForEachMatrix(model, [&](std::string_view /*role*/, const ops::Matrix& matrix, Use use, int /*layer*/) {
    if (use == Use::kAll) AddBytes(matrix, bytes);
  });
  return bytes;
}

std::vector<std::span<const std::byte>> WeightBytes(const VisionModel& model, int64_t side) {
  std::vector<std::span<const std::byte>> bytes;
  if (model.reordered_patch.size() == 0) AddBytes(model.patch, bytes);  // else it is no file's
  const int64_t planes = model.config.positions;
  for (const int64_t first : {int64_t{0}, planes})
    AddBytes(model.positions.Rows(first, first + std::min(side, planes)), bytes);
  for (const VisionLayerWeights& layer : model.layers)
    for (const ClippedLinear* linear : {&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down})
      AddBytes(linear->weight, bytes);
  AddBytes(model.projection, bytes);
  return bytes;
}

}  // namespace carat::gemma
