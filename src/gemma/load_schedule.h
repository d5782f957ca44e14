// The bit schedule of Google's low-bit releases, as config.json states it.
#pragma once

#include <string_view>

#include "base/json.h"
#include "carat/result.h"
#include "formats/checkpoint.h"

namespace carat::gemma {

// Checks `num_bits`, `module_quant_configs` and `modules_to_not_convert` of quantization_config: bits that are read
// here, patterns that can be read, and each about some module. The bits of a matrix still follow from its tensor.
// Error: kBadModel.
Status CheckSchedule(const JsonObject& config, const formats::Checkpoint& checkpoint);

// The bits that a schedule which passed gives a module, if it is quantised at all: of the rules that match, the one
// whose match begins first; among equals, the first in the file.
int ScheduledBits(const JsonObject& config, std::string_view module);

}  // namespace carat::gemma
