// A pool of threads for loops whose iterations are independent.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace carat {

// Work is dealt one index at a time to whoever is free, so a thread that the system suspends delays one item, not its
// whole share. Which thread runs an index is not defined; results must not depend on it.
class ThreadPool {
 public:
  // `threads` counts the caller's: 1 starts none. 0: one per processor that this process may run on.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(index, worker) for index = 0 .. count-1, worker = 0 .. size()-1 naming the thread (for scratch memory).
  // Returns when all are done. One caller at a time (others wait); must not be called from inside a body.
  void ParallelFor(int64_t count, const std::function<void(int64_t index, int worker)>& body);

 private:
  void WorkerLoop(int worker);
  void RunItems(int worker);

  std::vector<std::thread> workers_;
  std::mutex callers_;  // held during a ParallelFor

  // The current loop. Written by the caller under `mutex_` before the epoch changes.
  const std::function<void(int64_t, int)>* body_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  std::atomic<int> busy_{0};  // workers that have not finished the current loop

  std::mutex mutex_;
  std::condition_variable start_, finished_;
  std::atomic<uint64_t> epoch_{0};
  bool stop_ = false;
};

}  // namespace carat
