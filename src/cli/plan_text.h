// A memory plan as text and as JSON.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "carat/memory_plan.h"

namespace carat::cli {

std::string_view KvTypeName(KvCacheType type);

// What each part takes, a line for each, then their sum, and what there is if that is known.
std::string PlanTable(const MemoryPlan& plan, std::optional<uint64_t> ram_bytes);
Json PlanJson(const MemoryPlan& plan, std::optional<uint64_t> ram_bytes);

}  // namespace carat::cli
