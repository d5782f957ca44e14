#include "gemma/model.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "base/try.h"

namespace carat::gemma {

Status PleTable::ReadRow(int64_t id, int64_t count, float scale, const kernels::Kernels& kernels,
                         std::span<std::byte> buffer, float* out) const {
  CHECK(id >= 0 && id < matrix_.rows && count <= matrix_.cols);
  // Whole blocks only, unless it is the whole row: the slice of a layer may end inside one.
  const auto bytes = quant::RowBytes(matrix_.type, static_cast<uint64_t>(count));
  CHECK(bytes);
  const std::span<std::byte> row = buffer.first(*bytes);
  TRY(weights_.file->ReadAt(weights_.offset + static_cast<uint64_t>(id * matrix_.row_bytes), row));
  bytes_read_->fetch_add(*bytes, std::memory_order_relaxed);
  std::span<std::byte> scales;
  if (scales_.file != nullptr) {
    const int64_t groups = (count + matrix_.scales.group - 1) / matrix_.scales.group;
    scales = buffer.subspan(*bytes, static_cast<size_t>(groups) * sizeof(float));
    TRY(scales_.file->ReadAt(scales_.offset + static_cast<uint64_t>(id * matrix_.scales.row_bytes), scales));
    bytes_read_->fetch_add(scales.size(), std::memory_order_relaxed);
    for (int64_t i = 0; i < groups; ++i) {
      const float value = ops::ScaleAt(matrix_.scales.type, scales.data(), i);
      if (!std::isfinite(value) || value < 0)
        return Fail(ErrorCode::kBadModel, scales_.file->path().string() + ": the per-layer embedding of token " +
                                              std::to_string(id) + " has a scale that is none");
    }
  }
  ops::DecodeRow(kernels, matrix_, row.data(), scales.data(), count, out);
  for (int64_t i = 0; i < count; ++i) out[i] *= scale;
  return {};
}

std::vector<ops::Matrix*> Model::Products() {
  std::vector<ops::Matrix*> products = {&head};
  for (LayerWeights& w : layers)
    for (ops::Matrix* matrix : {&w.q, &w.k, &w.v, &w.o, &w.gate, &w.up, &w.down, &w.ple_gate, &w.ple_projection})
      products.push_back(matrix);
  std::erase_if(products, [](const ops::Matrix* matrix) { return matrix->empty(); });
  return products;
}

bool Model::HeadIsEmbedding() const {
  return head.data == embedding.data && head.type == embedding.type && head.row_bytes == embedding.row_bytes;
}

}  // namespace carat::gemma
