// What a session will take of the machine's memory, before it takes any.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "carat/engine.h"
#include "carat/result.h"
#include "carat/session.h"

namespace carat {

struct MemoryPart {
  std::string_view name;  // "weights", "tokenizer", "keys and values", ...
  uint64_t bytes = 0;
};

// All sizes are bytes of resident memory, the mapped pages of files included, as the system's own count of a process
// (VmHWM of Linux) has them.
struct MemoryPlan {
  SessionOptions session;  // as wanted; context, kv_type, batch, copy_weights, keep_tower and image_pixels are decided
  std::vector<MemoryPart> parts;  // of a full context
  // The most that is ever resident: the sum of the parts, or what loading the model took if that was more.
  uint64_t peak_bytes = 0;
};

// Plans one session beside all that the process holds already, which is best nothing but `engine`: no weights have been
// read then, so that nothing large was loaded in vain.
//
// What `wanted` sets is kept: context unless 0, kv_type unless kAuto; batch, copy_weights and keep_tower are the most.
// The rest is chosen so that the peak stays within `ram_bytes`, in this order:
//   1. A context of 8192 tokens, or of all that the model was made for if that is less, with the cache type that kAuto
//      stands for. What costs speed alone is given up first: the batch is halved down to 64, then copy_weights is
//      dropped, then (if image_tokens plans for pictures) keep_tower, then the batch is halved down to 16.
//   2. If it still does not fit, the same with f16, then with int8.
//   3. Of the context, as much as fits with that type and batch: more than 8192 up to the model's maximum, or, if
//      nothing could be found for 8192, less, down to 512, with the smallest type and batch.
// Without `ram_bytes` the plan is what Session::Create makes of `wanted`.
//
// Errors: those of Session::Create; kDoesNotFit, with the numbers, if there is no such plan.
Result<MemoryPlan> PlanMemory(const std::shared_ptr<const Engine>& engine, const SessionOptions& wanted,
                              std::optional<uint64_t> ram_bytes = std::nullopt);

// The plan that needs least and does what `wanted` asks for. Errors: those of Session::Create.
Result<MemoryPlan> SmallestMemoryPlan(const std::shared_ptr<const Engine>& engine, const SessionOptions& wanted);

}  // namespace carat
