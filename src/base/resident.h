// How much memory a range of addresses takes.
#pragma once

#include <cstddef>
#include <cstdint>

namespace carat {

// Bytes of the range that lie on pages which this process has in memory, be they a file's or its own; those that only
// the page cache holds do not count. Where the system does not tell: all of them.
uint64_t ResidentBytes(const void* begin, size_t size);

// Lets go of the whole pages inside a range of a shared mapping of a file: they come back from the file when they are
// looked at. The contents of any other memory would be lost.
void ReleaseMapped(const void* begin, size_t size);

// Memory that was asked for, and what of it was touched so far.
struct MemoryUse {
  uint64_t reserved = 0;  // the most that can become resident, the allocator's own part included
  uint64_t resident = 0;

  MemoryUse& operator+=(const MemoryUse& other) {
    reserved += other.reserved;
    resident += other.resident;
    return *this;
  }
};
// Of `size` bytes that the allocator gave.
MemoryUse AllocatedUse(const void* begin, size_t size);

uint64_t PageBytes();
inline uint64_t RoundUpToPages(uint64_t bytes) { return (bytes + PageBytes() - 1) / PageBytes() * PageBytes(); }

}  // namespace carat
