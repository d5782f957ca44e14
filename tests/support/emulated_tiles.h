// The kernel level amx in an engine, on emulated tile registers: on any machine.
#pragma once

#include <memory>
#include <string>

#include "engine/engine_impl.h"
#include "kernels/emulated_tiles.h"

namespace carat::testing_support {

// The engine, which nobody has used yet, from now on.
inline std::shared_ptr<const Engine> OnEmulatedTiles(std::shared_ptr<const Engine> engine) {
  const_cast<Engine::Impl&>(engine->impl()).context.kernels = &kernels::testing::EmulatedAmx();
  return engine;
}

}  // namespace carat::testing_support
