#include "cli/proc.h"

#include <cstdlib>
#include <fstream>

namespace carat::cli {

std::string ProcValue(const char* path, std::string_view key) {
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    if (!line.starts_with(key)) continue;
    const size_t colon = line.find(':');
    if (colon == std::string::npos) continue;
    const size_t start = line.find_first_not_of(" \t", colon + 1);
    return start == std::string::npos ? "" : line.substr(start);
  }
  return "";
}

uint64_t ProcBytes(const char* path, std::string_view key) {
  return std::strtoull(ProcValue(path, key).c_str(), nullptr, 10) * 1024;
}

}  // namespace carat::cli
