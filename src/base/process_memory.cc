#include "base/process_memory.h"

#include <link.h>
#include <malloc.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

namespace carat {

namespace {

// The value of a line "key:  123 kB", in bytes.
uint64_t KilobytesOf(const char* path, std::string_view key) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
  return 0;
}

// Adds the segments of one library, or of the program.
int AddSegments(dl_phdr_info* info, size_t /*size*/, void* sum) {
  const auto page = static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  for (int i = 0; i < info->dlpi_phnum; ++i) {
    const auto& segment = info->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD) continue;
    const uint64_t begin = segment.p_vaddr / page, end = (segment.p_vaddr + segment.p_memsz + page - 1) / page;
    *static_cast<uint64_t*>(sum) += (end - begin) * page;
  }
  return 0;
}

}  // namespace

ProcessMemory MeasureProcessMemory() {
  ProcessMemory memory;
  memory.anonymous = KilobytesOf("/proc/self/smaps_rollup", "Anonymous:");
  memory.peak = KilobytesOf("/proc/self/status", "VmHWM:");
  ::dl_iterate_phdr(AddSegments, &memory.program);
  return memory;
}

void ReturnFreedMemory() { ::malloc_trim(0); }

}  // namespace carat
