// What Linux tells in /proc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace carat::cli {

// The value of the first line "key : value" of a file; empty if there is none.
std::string ProcValue(const char* path, std::string_view key);
// The same for a value in kB, in bytes; 0 if there is none.
uint64_t ProcBytes(const char* path, std::string_view key);

}  // namespace carat::cli
