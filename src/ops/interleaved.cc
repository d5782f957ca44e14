#include "ops/interleaved.h"

#include <algorithm>

#include "base/resident.h"
#include "base/try.h"

namespace carat::ops {

namespace {
// Rows that are copied at a time, and their pages let go: some megabytes of a wide matrix.
constexpr int64_t kStripRows = 512;

bool CanInterleave(const kernels::Kernels& kernels, const Matrix& matrix) {
  return kernels.gemv_interleaved[static_cast<size_t>(matrix.type)] != nullptr &&
         matrix.rows % quant::kInterleavedRows == 0;
}

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

void InterleavedCopy::Fill(ThreadPool& pool) {
  const std::unique_lock lock(filling_, std::try_to_lock);
  if (!lock || ready()) return;
  pool.ParallelFor((rows_ + kStripRows - 1) / kStripRows, [this](int64_t strip, int) {
    const int64_t begin = strip * kStripRows, end = std::min(begin + kStripRows, rows_);
    for (int64_t row = begin; row < end; row += quant::kInterleavedRows)
      quant::Interleave(parts_, blocks_, file_ + row * row_bytes_, row_bytes_, memory_ + row * row_bytes_);
    ReleaseMapped(file_ + begin * row_bytes_, static_cast<size_t>((end - begin) * row_bytes_));
  });
  ready_.store(true, std::memory_order_release);
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
    if (CanInterleave(kernels, *matrix)) bytes += Aligned(matrix->size_bytes());
  TRY_ASSIGN(weights.memory_, LazyMemory::Allocate(bytes, LazyMemory::Pages::kLarge));
  std::byte* memory = weights.memory_.data();
  for (Matrix* matrix : matrices) {
    if (!CanInterleave(kernels, *matrix)) continue;
    weights.copies_.push_back(std::make_unique<InterleavedCopy>(*matrix, memory));
    matrix->copy = weights.copies_.back().get();
    memory += Aligned(matrix->size_bytes());
    weights.size_bytes_ += matrix->size_bytes();
  }
  return weights;
}

uint64_t InterleavedWeights::ready_bytes() const {
  uint64_t bytes = 0;
  for (const auto& copy : copies_)
    if (copy->ready()) bytes += copy->size_bytes();
  return bytes;
}

}  // namespace carat::ops
