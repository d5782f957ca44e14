// Synthetic vision towers in mmproj files, at the size of E2B's: random values. For measuring without the weights.
#pragma once

#include <cstdint>
#include <filesystem>

#include "carat/result.h"
#include "quant/type.h"

namespace carat::bench {

// Writes an mmproj file with the 16 layers of E2B's tower, its matrices of `type` (F32, F16, BF16 or Q8_0), vectors,
// bounds and the position table of F32, as converters do. The same seed writes the same bytes. Errors: kUsage,
// kFailure.
Status WriteTowerFile(const std::filesystem::path& path, quant::Type type, uint64_t seed);

}  // namespace carat::bench
