// What the tests, the fuzzer and the benchmark of the kernels share.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <new>
#include <random>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace carat::kernels::testing {

// Memory aligned as S8Row and A8Row ask for.
template <typename T>
struct Aligned32 {
  using value_type = T;
  Aligned32() = default;
  template <typename U>
  explicit(false) Aligned32(const Aligned32<U>&) {}
  T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(32))); }
  void deallocate(T* p, size_t) { ::operator delete(p, std::align_val_t(32)); }
  bool operator==(const Aligned32&) const = default;
};

// Rows of unpacked weights; what a kernel does not write stays recognisable.
struct UnpackedRows {
  UnpackedRows(int64_t rows, int64_t k, bool with_offset)
      : columns(k),
        codes(static_cast<size_t>(rows * k), 77),
        scale(static_cast<size_t>(rows * k / 16), 77.0f),
        offset(static_cast<size_t>(with_offset ? rows * k / 16 : 0), 77.0f) {}
  S8Row Row(int64_t n) {
    return {codes.data() + n * columns, scale.data() + n * (columns / 16),
            offset.empty() ? nullptr : offset.data() + n * (columns / 16)};
  }
  S8Rows Rows() const {
    return {codes.data(), scale.data(), offset.empty() ? nullptr : offset.data(), columns, columns / 16, columns / 16};
  }

  int64_t columns;
  std::vector<int8_t, Aligned32<int8_t>> codes;
  std::vector<float> scale, offset;
};

// Rows of activations.
struct ActivationRows {
  ActivationRows(int64_t rows, int64_t k)
      : columns(k),
        codes(static_cast<size_t>(rows * k), 77),
        scale(static_cast<size_t>(rows * k / 32), 77.0f),
        scaled_sum(static_cast<size_t>(rows * k / 16), 77.0f) {}
  A8Row Row(int64_t n) {
    return {codes.data() + n * columns, scale.data() + n * (columns / 32), scaled_sum.data() + n * (columns / 16)};
  }
  A8Rows Rows() const { return {codes.data(), scale.data(), scaled_sum.data(), columns, columns / 32, columns / 16}; }

  int64_t columns;
  std::vector<int8_t, Aligned32<int8_t>> codes;
  std::vector<float> scale, scaled_sum;
};

// Equal bits, except that any NaN is as good as another: which of two NaNs an operation hands on is not defined.
inline bool SameBits(float a, float b) {
  return std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b) || (a != a && b != b);
}
inline bool SameBits(int8_t a, int8_t b) { return a == b; }
inline bool SameBits(uint16_t a, uint16_t b) { return a == b; }

// Every table that can run here.
inline std::vector<const Kernels*> TablesToTest() {
  std::vector<const Kernels*> tables;
  for (const Kernels* table : AllKernels())
    if (Supported(*table)) tables.push_back(table);
  return tables;
}

// Index of the first difference, or -1.
template <typename A, typename B>
int64_t FirstDifference(const A& a, const B& b) {
  if (a.size() != b.size()) return 0;
  for (size_t i = 0; i < a.size(); ++i)
    if (!SameBits(a[i], b[i])) return static_cast<int64_t>(i);
  return -1;
}

}  // namespace carat::kernels::testing
