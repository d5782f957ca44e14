// What the machine can do at most, and how much of it a computation takes: for those who measure.
#pragma once

#include <cstdint>

#include "carat/engine.h"
#include "carat/session.h"
#include "gemma/operations.h"

namespace carat {

// Of a prefill: `tokens` tokens from the beginning, with the logits of the last.
gemma::Operations PrefillOperations(const Engine& engine, int tokens);

// Of weights, keys and values, that computing one token behind `depth` others reads. depth < session.context().
uint64_t TokenBytes(const Session& session, int depth);

// Operations per second of all threads of an engine, without any memory: the limit of its kernels.
struct ArithmeticPeak {
  double integer = 0, blocks = 0, floating = 0;

  // The seconds that `operations` take at least.
  double Seconds(const gemma::Operations& operations) const {
    return static_cast<double>(operations.integer) / integer + static_cast<double>(operations.blocks) / blocks +
           static_cast<double>(operations.floating) / floating;
  }
};
// Takes about 50 ms, and gives the best of several tries, since other programs can only make it less. Zeros if the
// engine's kernels name no limit (the scalar ones).
ArithmeticPeak MeasureArithmeticPeak(const Engine& engine);
ArithmeticPeak MeasureArithmeticPeak(const ops::Context& context);

}  // namespace carat
