// Copies of weights that a single token reads faster than the file.
//
// Decoding reads every weight once per token, so its speed is that of the memory. A file's pages are small, and its
// rows lie one behind the other, so that sums have to be gathered across a vector. A copy lies in large pages with its
// rows woven together (quant/interleave.h). It takes the place of the file's pages, which are let go as they are
// copied: what is resident stays as large as it was.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "base/lazy_memory.h"
#include "base/thread_pool.h"
#include "carat/result.h"
#include "kernels/kernels.h"
#include "ops/matrix.h"
#include "quant/interleave.h"

namespace carat::ops {

// The copy of one matrix. Any thread may read the rows that are filled.
class InterleavedCopy {
 public:
  // `memory`: as many bytes as its rows have, 64-byte aligned.
  InterleavedCopy(const Matrix& matrix, std::byte* memory);

  // So many of its first rows are there.
  int64_t filled_rows() const { return filled_rows_.load(std::memory_order_acquire); }
  // Copies more of the rows, about `bytes` of them, and lets go of the file's pages; does nothing if another thread is
  // at it. Returns how many bytes it copied. Not to be called from inside a ParallelFor.
  int64_t Fill(ThreadPool& pool, int64_t bytes);

  // From row `first` on, a multiple of quant::kInterleavedRows; as the kernels want them.
  const std::byte* rows(int64_t first) const { return memory_ + first * row_bytes_; }
  uint64_t strip_bytes() const;  // that a thread copies at a time
  // A row as it lies in the file. out: its bytes.
  void CopyRow(int64_t row, std::byte* out) const;
  uint64_t size_bytes() const { return static_cast<uint64_t>(rows_ * row_bytes_); }
  uint64_t filled_bytes() const { return static_cast<uint64_t>(filled_rows() * row_bytes_); }

 private:
  const std::byte* file_;
  int64_t rows_, row_bytes_, blocks_;
  quant::BlockParts parts_;
  std::byte* memory_;
  std::mutex filling_;
  std::atomic<int64_t> filled_rows_{0};
};

// The copies of a model's matrices. Must outlive those matrices' use.
class InterleavedWeights {
 public:
  // Gives those of `matrices` that the kernels can multiply so a copy, still to be filled. They must lie in shared
  // mappings of files. Error: kDoesNotFit.
  static Result<InterleavedWeights> Create(const kernels::Kernels& kernels, std::span<Matrix* const> matrices);

  uint64_t size_bytes() const { return size_bytes_; }  // when all are filled
  uint64_t filled_bytes() const;
  uint64_t resident_bytes() const { return memory_.resident_bytes(); }
  // The most that is resident beside one of the two, copy or file's pages, while `threads` threads fill: the strips
  // that they are at, large pages that are partly filled, and what reading the rest of a matrix brings back of the
  // file.
  uint64_t filling_bytes(int threads) const;

 private:
  LazyMemory memory_;
  uint64_t size_bytes_ = 0;
  std::vector<std::unique_ptr<InterleavedCopy>> copies_;
};

}  // namespace carat::ops
