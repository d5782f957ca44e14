// Who watches a model compute.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace carat::gemma {

// Sees activations under the names of the reference dumps ("embed", "layer.3", "vision.pooled", ...), row-major.
using TraceSink = std::function<void(std::string_view name, std::span<const int64_t> shape, const float* values)>;

}  // namespace carat::gemma
