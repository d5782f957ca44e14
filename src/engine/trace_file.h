// Traces and reference dumps as files, and what a trace differs by from a dump.
#pragma once

#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "carat/result.h"
#include "engine/trace.h"

namespace carat {

// The F32 and U8 tensors of a safetensors file as values, its I32 and I64 tensors as ids; others are left out.
// Errors: kNotFound, kBadModel (no safetensors file, ids that are none).
Result<std::vector<TraceTensor>> ReadTrace(const std::filesystem::path& path);
// Error: kFailure.
Status WriteTrace(const std::filesystem::path& path, std::span<const TraceTensor> tensors);

// What a reference dump holds: N.safetensors, and the "tolerance" of N.json beside it: per name, the largest absolute
// difference allowed. Without N.json nothing may differ, which is how two traces are compared.
struct TraceReference {
  std::vector<TraceTensor> tensors;
  std::map<std::string, double, std::less<>> tolerance;
  bool has_tolerances = false;  // N.json was there
};
Result<TraceReference> ReadTraceReference(const std::filesystem::path& path);

struct TraceDifference {
  std::string name;
  double largest = 0;    // absolute difference; of ids: how many differ. NaN if a value is none.
  double tolerance = 0;  // 0 for ids
  std::string where;     // of the largest difference, "[row, column]"; or how the shapes differ
  bool within = true;    // the tolerance, and of the same shape
};

// The tensors of `trace`, in their order, that `reference` has too. A trace with the prefill shortcut (`last_rows`) has
// the last rows of some only. Of greedy_ids, as many as both have are compared.
std::vector<TraceDifference> CompareTrace(std::span<const TraceTensor> trace, const TraceReference& reference,
                                          bool last_rows = false);

}  // namespace carat
