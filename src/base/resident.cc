#include "base/resident.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>

namespace carat {

uint64_t ResidentBytes(const void* begin, size_t size) {
  const int pages = ::open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
  const long page_size = ::sysconf(_SC_PAGESIZE);
  if (pages < 0 || page_size <= 0) {
    if (pages >= 0) ::close(pages);
    return size;
  }
  constexpr uint64_t kPresent = uint64_t{1} << 63;
  constexpr uint64_t kEntries = 4096;  // one number a page
  uint64_t entries[kEntries];
  const auto page = static_cast<uint64_t>(page_size);
  const auto first = reinterpret_cast<uint64_t>(begin);
  const uint64_t end = first + size;
  uint64_t resident = 0;
  for (uint64_t at = first; at < end;) {
    const uint64_t index = at / page;
    const uint64_t wanted = std::min(kEntries, (end - 1) / page - index + 1);
    const ssize_t got =
        ::pread(pages, entries, wanted * sizeof(uint64_t), static_cast<off_t>(index * sizeof(uint64_t)));
    if (got < static_cast<ssize_t>(sizeof(uint64_t))) {
      resident = size;
      break;
    }
    const uint64_t count = static_cast<uint64_t>(got) / sizeof(uint64_t);
    for (uint64_t i = 0; i < count; ++i) {
      const uint64_t stop = std::min(end, (index + i + 1) * page);
      if ((entries[i] & kPresent) != 0) resident += stop - at;
      at = stop;
    }
  }
  ::close(pages);
  return resident;
}

void ReleaseMapped(const void* begin, size_t size) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const uintptr_t first = (reinterpret_cast<uintptr_t>(begin) + page - 1) / page * page;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(begin) + size) / page * page;
  if (first < end) ::madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
}

uint64_t PageBytes() {
  const long size = ::sysconf(_SC_PAGESIZE);
  return size > 0 ? static_cast<uint64_t>(size) : 4096;
}

MemoryUse AllocatedUse(const void* begin, size_t size) {
  if (size == 0) return {};
  // Large pieces get pages of their own, and the allocator's notes stand before them.
  return {.reserved = RoundUpToPages(size) + PageBytes(), .resident = ResidentBytes(begin, size)};
}

}  // namespace carat
