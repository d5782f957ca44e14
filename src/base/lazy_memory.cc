#include "base/lazy_memory.h"

#include <sys/mman.h>

#include <string>
#include <utility>

#include "base/resident.h"

namespace carat {

Result<LazyMemory> LazyMemory::Allocate(size_t bytes, std::string_view what, Pages pages) {
  constexpr size_t kLargePage = size_t{2} << 20;
  LazyMemory memory;
  if (bytes == 0) return memory;
  memory.mapping_size_ = pages == Pages::kLarge ? bytes + kLargePage : bytes;
  void* address =
      ::mmap(nullptr, memory.mapping_size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED)
    return Fail(ErrorCode::kDoesNotFit,
                "no memory for " + std::string(what) + " of " + std::to_string(bytes >> 20) + " MiB");
  memory.mapping_ = address;
  memory.data_ = static_cast<std::byte*>(address);
  memory.size_ = bytes;
  if (pages == Pages::kLarge) {
    memory.data_ += (kLargePage - reinterpret_cast<uintptr_t>(address) % kLargePage) % kLargePage;
    ::madvise(memory.data_, bytes, MADV_HUGEPAGE);
  }
  return memory;
}

LazyMemory::LazyMemory(LazyMemory&& other) noexcept { *this = std::move(other); }

LazyMemory& LazyMemory::operator=(LazyMemory&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  std::swap(mapping_, other.mapping_);
  std::swap(mapping_size_, other.mapping_size_);
  return *this;
}

LazyMemory::~LazyMemory() {
  if (mapping_ != nullptr) ::munmap(mapping_, mapping_size_);
}

uint64_t LazyMemory::resident_bytes() const { return ResidentBytes(data_, size_); }

}  // namespace carat
