// What every operator needs to run.
#pragma once

#include "base/thread_pool.h"
#include "kernels/kernels.h"

namespace carat::ops {

struct Context {
  const kernels::Kernels* kernels = nullptr;
  ThreadPool* pool = nullptr;
  bool exact = false;  // multiply dequantised weights with float activations
};

}  // namespace carat::ops
