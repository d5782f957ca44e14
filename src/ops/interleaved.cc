#include "ops/interleaved.h"

#include <algorithm>

#include "base/resident.h"
#include "base/try.h"

namespace carat::ops {

namespace {
// Rows that are copied at a time, and their pages let go: about a megabyte, or less where there are many threads.
constexpr int64_t kMostStripRows = 512, kStripsPerThread = 2;
// The system maps pages around the one that is looked at, those of a strip that was let go among them.
constexpr int64_t kMappedAround = 64 * 1024;

bool CanInterleave(const kernels::Kernels& kernels, const Matrix& matrix) {
  const auto type = static_cast<size_t>(matrix.type);
  if (matrix.rows % quant::kInterleavedRows != 0) return false;
  // Of codes, those that are multiplied as such.
  if (quant::IsCodes(matrix.type))
    return matrix.input_scale != 0 && matrix.row_bytes % 4 == 0 && kernels.gemv_codes_interleaved[type] != nullptr;
  return (kernels.bf16 != nullptr ? kernels.bf16->gemv_interleaved[type] != nullptr
                                  : kernels.gemv_interleaved[type] != nullptr);
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
  constexpr int64_t kRows = quant::kInterleavedRows;
  const int64_t last = std::min(first + (bytes / (kMostStripRows * row_bytes_) + 1) * kMostStripRows, rows_);
  const int64_t even_strip = (last - first) / (kStripsPerThread * pool.size()) / kRows * kRows;
  const int64_t strip_rows = std::clamp(even_strip, kRows, kMostStripRows);
  pool.ParallelFor((last - first + strip_rows - 1) / strip_rows, [&](int64_t strip, int) {
    const int64_t begin = first + strip * strip_rows, end = std::min(begin + strip_rows, last);
    for (int64_t row = begin; row < end; row += kRows)
      quant::Interleave(parts_, blocks_, file_ + row * row_bytes_, row_bytes_, memory_ + row * row_bytes_);
    ReleaseMapped(file_ + begin * row_bytes_, static_cast<size_t>((end - begin) * row_bytes_));
  });
  // Once more as a whole: for what lies on the edges of strips, and for what reading on brought back of earlier ones.
  ReleaseMapped(file_, static_cast<size_t>(last * row_bytes_));
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
  TRY_ASSIGN(weights.memory_, LazyMemory::Allocate(bytes, "copies of weights", LazyMemory::Pages::kLarge));
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

uint64_t InterleavedCopy::strip_bytes() const {
  return static_cast<uint64_t>(std::min(kMostStripRows, rows_) * row_bytes_);
}

uint64_t InterleavedWeights::filling_bytes(int threads) const {
  // Copies begin at the ends of the weights, and from the end of the first one on: some large pages are in use for
  // each.
  constexpr uint64_t kLargePages = uint64_t{4} << 21, kAround = kMappedAround;
  uint64_t strip = 0;
  for (const auto& copy : copies_) strip = std::max(strip, copy->strip_bytes());
  return copies_.empty() ? 0 : static_cast<uint64_t>(threads) * strip + kLargePages + copies_.size() * kAround;
}

uint64_t InterleavedWeights::filled_bytes() const {
  uint64_t bytes = 0;
  for (const auto& copy : copies_) bytes += copy->filled_bytes();
  return bytes;
}

}  // namespace carat::ops
