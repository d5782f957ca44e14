#include "cli/plan_text.h"

#include <fmt/format.h>

#include "base/byte_size.h"

namespace carat::cli {

std::string_view KvTypeName(KvCacheType type) {
  switch (type) {
    case KvCacheType::kAuto:
      return "auto";
    case KvCacheType::kF32:
      return "f32";
    case KvCacheType::kF16:
      return "f16";
    case KvCacheType::kInt8:
      return "int8";
  }
  return "";
}

std::string PlanTable(const MemoryPlan& plan, std::optional<uint64_t> ram_bytes) {
  std::string out;
  const auto line = [&](std::string_view name, uint64_t bytes, const std::string& note) {
    out += fmt::format("{:<16}{:>13}{}{}\n", name, MegabyteText(bytes), note.empty() ? "" : "  ", note);
  };
  uint64_t sum = 0;
  for (const MemoryPart& part : plan.parts) {
    sum += part.bytes;
    std::string note;
    if (part.name == "keys and values")
      note = fmt::format("{} tokens, {}", plan.session.context, KvTypeName(plan.session.kv_type));
    if (part.name == "activations") note = fmt::format("{} tokens at a time", plan.session.batch);
    line(part.name, part.bytes, note);
  }
  line("peak", plan.peak_bytes, plan.peak_bytes > sum ? "while the model was loaded" : "");
  if (ram_bytes) line("given", *ram_bytes, "");
  return out;
}

Json PlanJson(const MemoryPlan& plan, std::optional<uint64_t> ram_bytes) {
  Json json = {{"context", plan.session.context},
               {"kv_type", KvTypeName(plan.session.kv_type)},
               {"batch", plan.session.batch},
               {"parts", Json::array()},
               {"peak_bytes", plan.peak_bytes}};
  for (const MemoryPart& part : plan.parts) json["parts"].push_back({{"name", part.name}, {"bytes", part.bytes}});
  if (ram_bytes) json["ram_bytes"] = *ram_bytes;
  return json;
}

}  // namespace carat::cli
