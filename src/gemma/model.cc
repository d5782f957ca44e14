#include "gemma/model.h"

#include <algorithm>

#include "base/check.h"
#include "base/try.h"

namespace carat::gemma {

Status PleTable::ReadRow(int64_t id, int64_t count, float scale, const kernels::Kernels& kernels,
                         std::span<std::byte> buffer, float* out) const {
  CHECK(id >= 0 && id < matrix_.rows && count <= matrix_.cols);
  // Whole blocks only: the slice of a layer may end inside one.
  const int64_t block = quant::Info(matrix_.type).block_elements;
  CHECK(count % block == 0 || count == matrix_.cols);
  const auto bytes = static_cast<size_t>(*quant::RowBytes(matrix_.type, static_cast<uint64_t>(count)));
  const std::span<std::byte> row = buffer.first(bytes);
  TRY(file_->ReadAt(offset_ + static_cast<uint64_t>(id * matrix_.row_bytes), row));
  bytes_read_->fetch_add(bytes, std::memory_order_relaxed);
  kernels.decode[static_cast<int>(matrix_.type)](row.data(), out, count);
  for (int64_t i = 0; i < count; ++i) out[i] *= scale;
  return {};
}

}  // namespace carat::gemma
