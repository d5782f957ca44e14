#include "ops/interleaved.h"

#include <algorithm>

#include "base/resident.h"
#include "base/try.h"

namespace carat::ops {

namespace {
// Rows that are copied at a time, and their pages let go: about a megabyte.
constexpr int64_t kStripRows = 512;

bool CanInterleave(const kernels::Kernels& kernels, const Matrix& matrix) {
  const auto type = static_cast<size_t>(matrix.type);
  if (matrix.rows % quant::kInterleavedRows != 0) return false;
  // Of codes, those that are multiplied as such.
  if (quant::IsCodes(matrix.type))
    return matrix.input_scale != 0 && matrix.row_bytes % 4 == 0 && kernels.gemv_codes_interleaved[type] != nullptr;
  return kernels.gemv_interleaved[type] != nullptr;
}

uint64_t RowsBytes(const Matrix& matrix) { return static_cast<uint64_t>(matrix.rows * matrix.row_bytes); }
uint64_t Aligned(uint64_t bytes) { return (bytes + 63) / 64 * 64; }
}  // namespace

InterleavedCopy::InterleavedCopy(const Matrix& matrix, std::byte* memory)
    : file_(matrix.data),
      rows_(matrix.rows),
      row_bytes_(matrix.row_bytes),
      parts_(quant::PartsOf(matrix.type)),
      memory_(memory) {
  blocks_ = row_bytes_ / parts_.bytes;
}

int64_t InterleavedCopy::Fill(ThreadPool& pool, int64_t bytes) {
  const std::unique_lock lock(filling_, std::try_to_lock);
  const int64_t first = filled_rows();
  if (!lock || first == rows_) return 0;
  const int64_t strips = bytes / (kStripRows * row_bytes_) + 1;
  const int64_t last = std::min(first + strips * kStripRows, rows_);
  pool.ParallelFor((last - first + kStripRows - 1) / kStripRows, [&](int64_t strip, int) {
    const int64_t begin = first + strip * kStripRows, end = std::min(begin + kStripRows, last);
    for (int64_t row = begin; row < end; row += quant::kInterleavedRows)
      quant::Interleave(parts_, blocks_, file_ + row * row_bytes_, row_bytes_, memory_ + row * row_bytes_);
    ReleaseMapped(file_ + begin * row_bytes_, static_cast<size_t>((end - begin) * row_bytes_));
  });
  filled_rows_.store(last, std::memory_order_release);
  return (last - first) * row_bytes_;
}

void InterleavedCopy::CopyRow(int64_t row, std::byte* out) const {
  const int64_t inside = row % quant::kInterleavedRows;
  quant::CopyInterleavedRow(parts_, blocks_, rows(row - inside), inside, out);
}

Result<InterleavedWeights> InterleavedWeights::Create(const kernels::Kernels& kernels,
                                                      std::span<Matrix* const> matrices) {
  InterleavedWeights weights;
  uint64_t bytes = 0;
  for (const Matrix* matrix : matrices)
    if (CanInterleave(kernels, *matrix)) bytes += Aligned(RowsBytes(*matrix));
  TRY_ASSIGN(weights.memory_, LazyMemory::Allocate(bytes, LazyMemory::Pages::kLarge));
  std::byte* memory = weights.memory_.data();
  for (Matrix* matrix : matrices) {
    if (!CanInterleave(kernels, *matrix)) continue;
    weights.copies_.push_back(std::make_unique<InterleavedCopy>(*matrix, memory));
    matrix->copy = weights.copies_.back().get();
    memory += Aligned(RowsBytes(*matrix));
    weights.size_bytes_ += RowsBytes(*matrix);
  }
  return weights;
}

uint64_t InterleavedWeights::filled_bytes() const {
  uint64_t bytes = 0;
  for (const auto& copy : copies_) bytes += copy->filled_bytes();
  return bytes;
}

}  // namespace carat::ops
