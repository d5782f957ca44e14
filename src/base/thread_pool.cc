#include "base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <chrono>

namespace carat {

namespace {

// How long a waiting thread looks before it sleeps: longer than the serial stretches between two loops of a decode
// step. To fall asleep there would cost a wake-up of tens of microseconds some hundred times per token, and
// milliseconds where other programs are busy. Longer spinning would steal the core from them.
constexpr std::chrono::microseconds kSpinTime{200};

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Whether `ready` becomes true within kSpinTime.
template <typename Ready>
bool SpinUntil(const Ready& ready) {
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < 64; ++i) {  // a look at the clock costs as much as some of these
      if (ready()) return true;
      Pause();
    }
  } while (std::chrono::steady_clock::now() < end);
  return false;
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
    stop_.store(true, std::memory_order_relaxed);
    epoch_.fetch_add(1, std::memory_order_release);
  }
  start_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Run(int64_t count, const BodyView& body) {
  const std::lock_guard caller(callers_);
  if (workers_.empty() || count <= 1) {
    for (int64_t index = 0; index < count; ++index) body.call(body.object, index, 0);
    return;
  }
  body_ = body;
  count_ = count;
  done_.store(0, std::memory_order_relaxed);
  left_.store(count, std::memory_order_release);
  {
    const std::lock_guard lock(mutex_);  // so that no worker is between its look at the epoch and its sleep
    epoch_.fetch_add(1, std::memory_order_release);
  }
  start_.notify_all();
  RunItems(0);
  const auto finished = [this, count] { return done_.load(std::memory_order_acquire) == count; };
  if (SpinUntil(finished)) return;
  std::unique_lock lock(mutex_);
  finished_.wait(lock, finished);
}

void ThreadPool::RunItems(int worker) {
  int64_t items = 0, count = 0;
  for (;;) {
    const int64_t left = left_.fetch_sub(1, std::memory_order_acq_rel);
    if (left <= 0) break;
    count = count_;
    body_.call(body_.object, count - left, worker);
    ++items;
  }
  if (items == 0) return;
  if (done_.fetch_add(items, std::memory_order_acq_rel) + items != count) return;
  const std::lock_guard lock(mutex_);  // so that the caller is not between its test and its sleep
  finished_.notify_one();
}

void ThreadPool::WorkerLoop(int worker) {
  uint64_t seen = 0;
  const auto started = [&] { return epoch_.load(std::memory_order_acquire) != seen; };
  for (;;) {
    if (!SpinUntil(started)) {
      std::unique_lock lock(mutex_);
      start_.wait(lock, started);
    }
    seen = epoch_.load(std::memory_order_acquire);
    if (stop_.load(std::memory_order_relaxed)) return;
    RunItems(worker);
  }
}

}  // namespace carat
