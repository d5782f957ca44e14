// The report of `carat bench`: as JSON, as a table, as a plot.
#pragma once

#include <string>

#include "cli/bench_figures.h"

namespace carat::cli {

std::string BenchJson(const Measured& it);
std::string BenchText(const Measured& it);
// An SVG picture: prefill beside what the arithmetic allows, decoding beside what the memory allows and what the bytes
// of a token predict from the shallowest depth.
std::string BenchPlot(const Measured& it);

}  // namespace carat::cli
