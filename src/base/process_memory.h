// What a process takes of the machine's memory.
#pragma once

#include <cstdint>

namespace carat {

struct ProcessMemory {
  uint64_t anonymous = 0;  // resident now and of no file: heap, stacks, what was written to
  uint64_t peak = 0;       // the most that was ever resident, pages of files and those shared with others included
  uint64_t program = 0;    // of the program and its libraries, all that could become resident
};

// Bytes, in whole pages. What the system does not tell is 0.
ProcessMemory MeasureProcessMemory();

// Gives memory that was freed back to the system, as far as the allocator can tell it apart.
void ReturnFreedMemory();

}  // namespace carat
