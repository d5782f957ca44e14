#include "engine/limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>

#include "engine/engine_impl.h"
#include "engine/session_impl.h"

namespace carat {

namespace {

// A try is long beside the hand-over to a thread, and short beside what the system gives a thread at a time.
constexpr int kTries = 12;
constexpr int64_t kPartsPerThread = 8, kRoundsPerPart = 20'000;

double OperationsPerSecond(ThreadPool& pool, int64_t (*peak)(int64_t rounds)) {
  if (peak == nullptr) return 0;
  double best = 0;
  for (int i = 0; i < kTries; ++i) {
    std::atomic<int64_t> operations{0};
    const auto start = std::chrono::steady_clock::now();
    pool.ParallelFor(kPartsPerThread * pool.size(), [&](int64_t, int) { operations += peak(kRoundsPerPart); });
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    best = std::max(best, static_cast<double>(operations) / time.count());
  }
  return best;
}

}  // namespace

gemma::Operations PrefillOperations(const Engine& engine, int tokens) {
  const Engine::Impl& impl = engine.impl();
  return gemma::CountOperations(impl.model, impl.context.exact, 0, tokens);
}

uint64_t TokenBytes(const Session& session, int depth) {
  return session.engine().info().token_bytes + session.impl().decoder->cache().attended_bytes(depth);
}

ArithmeticPeak MeasureArithmeticPeak(const Engine& engine) { return MeasureArithmeticPeak(engine.impl().context); }

ArithmeticPeak MeasureArithmeticPeak(const ops::Context& context) {
  const kernels::Bf16Products* bf16 = context.kernels->bf16;
  ArithmeticPeak peak = {.integer = OperationsPerSecond(*context.pool, context.kernels->peak_int8),
                         .floating = OperationsPerSecond(*context.pool, context.kernels->peak_float)};
  peak.blocks = bf16 == nullptr ? peak.integer : OperationsPerSecond(*context.pool, bf16->peak);
  return peak;
}

}  // namespace carat
