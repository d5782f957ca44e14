// Anonymous memory that becomes resident where it is touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "carat/result.h"

namespace carat {

// Zeros at first. Move-only. Whoever has it may write from any thread.
class LazyMemory {
 public:
  enum class Pages { kSmall, kLarge };  // kLarge: begins at 2 MiB, and comes in such pages where the system has them

  LazyMemory() = default;
  // `what`: for the message of the error, kDoesNotFit.
  static Result<LazyMemory> Allocate(size_t bytes, std::string_view what, Pages pages = Pages::kSmall);
  LazyMemory(LazyMemory&& other) noexcept;
  LazyMemory& operator=(LazyMemory&& other) noexcept;
  ~LazyMemory();

  std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  uint64_t resident_bytes() const;

 private:
  std::byte* data_ = nullptr;
  size_t size_ = 0;
  void* mapping_ = nullptr;  // data_, or what it was aligned in
  size_t mapping_size_ = 0;
};

}  // namespace carat
