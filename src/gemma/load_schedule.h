// The bit schedule of Google's low-bit releases, as config.json states it.
#pragma once

#include "base/json.h"
#include "carat/result.h"
#include "formats/checkpoint.h"

namespace carat::gemma {

// Checks `num_bits`, `module_quant_configs` and `modules_to_not_convert` of quantization_config: bits that are read
// here, patterns that can be read, and each about some module. The bits of a matrix still follow from its tensor.
// Error: kBadModel.
Status CheckSchedule(const JsonObject& config, const formats::Checkpoint& checkpoint);

}  // namespace carat::gemma
