// The report of `carat inspect` for people.
#pragma once

#include <string>

#include "base/json.h"

namespace carat::cli {

// `report`: what `carat inspect --json` prints.
std::string InspectText(const Json& report);

}  // namespace carat::cli
