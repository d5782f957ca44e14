// Synthetic checkpoints in the layout of Google's low-bit releases (quant_method gemma): their shapes and bits, random
// values. For measuring without the weights, and for tests.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "carat/result.h"

namespace carat::bench {

struct MobileShape {
  int layers, shared_layers, period;  // every period-th layer is global; the last `shared_layers` own no K and V
  int64_t hidden, mlp, heads, kv_heads, head_dim, global_head_dim, window, ple_width, vocabulary;
  int ple_bits;
  bool wide_low_bit_mlp;  // E2B: layers that share K and V have MLPs of twice the width, at 2 bits
  bool towers;            // the encoders' tensors too
};

// "e2b" and "e4b" as published (2.4 and 3.4 GB), "tiny" (0.2 MB). Error: kUsage.
Result<MobileShape> MobileShapeOf(std::string_view name);

// Writes config.json, generation_config.json, model.safetensors and, if one is named, a copy of a tokenizer.json (of at
// most the shape's vocabulary); the folder is made. The same shape and seed write the same bytes. Error: kFailure.
Status WriteMobileFolder(const std::filesystem::path& folder, const MobileShape& shape, uint64_t seed,
                         const std::filesystem::path& tokenizer = {});

}  // namespace carat::bench
