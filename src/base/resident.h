// How much of a range of addresses is in memory.
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

}  // namespace carat
