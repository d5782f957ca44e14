#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>

namespace carat {

namespace {

// How often a waiting thread looks before it sleeps: some tens of microseconds, about the length of the serial
// stretches between two loops of a decode step. Longer spinning would steal the core from whoever else needs it.
constexpr int kSpins = 2000;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int UsableProcessors() {
  cpu_set_t set;
  if (::sched_getaffinity(0, sizeof(set), &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1u, std::thread::hardware_concurrency());
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = UsableProcessors();
  for (int worker = 1; worker < threads; ++worker) workers_.emplace_back([this, worker] { WorkerLoop(worker); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
    epoch_.fetch_add(1, std::memory_order_release);
  }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::ParallelFor(int64_t count, const std::function<void(int64_t, int)>& body) {
  const std::lock_guard caller(callers_);
  if (workers_.empty() || count <= 1) {
    for (int64_t index = 0; index < count; ++index) body(index, 0);
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    body_ = &body;
    count_ = count;
    next_.store(0, std::memory_order_relaxed);
    busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
  }
  start_.notify_all();
  RunItems(0);
  for (int spin = 0; spin < kSpins; ++spin) {
    if (busy_.load(std::memory_order_acquire) == 0) return;
    Pause();
  }
  std::unique_lock lock(mutex_);
  finished_.wait(lock, [this] { return busy_.load(std::memory_order_acquire) == 0; });
}

void ThreadPool::RunItems(int worker) {
  for (;;) {
    const int64_t index = next_.fetch_add(1, std::memory_order_relaxed);
    if (index >= count_) return;
    (*body_)(index, worker);
  }
}

void ThreadPool::WorkerLoop(int worker) {
  uint64_t seen = 0;
  for (;;) {
    for (int spin = 0; spin < kSpins && epoch_.load(std::memory_order_acquire) == seen; ++spin) Pause();
    {
      std::unique_lock lock(mutex_);
      start_.wait(lock, [&] { return epoch_.load(std::memory_order_relaxed) != seen; });
      seen = epoch_.load(std::memory_order_relaxed);
      if (stop_) return;
    }
    RunItems(worker);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      const std::lock_guard lock(mutex_);  // so that the caller is not between its test and its sleep
      finished_.notify_one();
    }
  }
}

}  // namespace carat
