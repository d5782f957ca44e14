// Where the bytes of a model are: its matrices by role and type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "gemma/model.h"
#include "gemma/vision_model.h"

namespace carat::gemma {

// The matrices of one role and type ("mlp" in 2 bits), with their scales where these lie apart.
struct WeightShare {
  std::string_view role;  // "attention", "mlp", "ple gate", ...
  quant::Type type;
  std::vector<int> layers;  // that have some; empty: not of a layer
  uint64_t elements = 0;
  uint64_t bytes = 0;
  bool rows = false;         // a table, of which a token reads one row
  uint64_t token_bytes = 0;  // read for a decoded token: all, or a row
};

// In the order in which a token meets them.
std::vector<WeightShare> TakeCensus(const Model& model);

// Where the weights lie that every decoded token reads, their scales included. Tables that are read by rows are not
// among them.
std::vector<std::span<const std::byte>> WeightBytes(const Model& model);
// The same of the weights that every picture reads, and of the positions of one with up to `side` patches in a row or
// column. All of it lies in mapped files.
std::vector<std::span<const std::byte>> WeightBytes(const VisionModel& model, int64_t side);

}  // namespace carat::gemma
