// A pool of threads for loops whose iterations are independent.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace carat {

// Work is dealt one index at a time to whoever is free, and a loop ends when its work is done, not when every thread
// has looked in: a thread that the system suspends or wakes late delays at most the item it has begun. Which thread
// runs an index is not defined; results must not depend on it.
class ThreadPool {
 public:
  // `threads` counts the caller's: 1 starts none. 0: one per processor that this process may run on.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(int64_t index, int worker) for index = 0 .. count-1, worker = 0 .. size()-1 naming the thread (for
  // scratch memory); a single index runs on the caller's thread, worker 0. Returns when all are done. Allocates
  // nothing. One caller at a time (others wait); must not be called from inside a body.
  template <typename Body>
  void ParallelFor(int64_t count, const Body& body) {
    Run(count, {&body, [](const void* object, int64_t index, int worker) {
                  (*static_cast<const Body*>(object))(index, worker);
                }});
  }

 private:
  // A body of any type, held by address.
  struct BodyView {
    const void* object = nullptr;
    void (*call)(const void* object, int64_t index, int worker) = nullptr;
  };

  void Run(int64_t count, const BodyView& body);
  void WorkerLoop(int worker);
  void RunItems(int worker);

  std::vector<std::thread> workers_;
  std::mutex callers_;  // held during a ParallelFor

  // The current loop. Items are taken by counting `left_` down; who took one may read the rest, which stays as it is
  // until the item is counted as done.
  std::atomic<int64_t> left_{0};  // below zero when threads found nothing left
  BodyView body_;
  int64_t count_ = 0;
  std::atomic<int64_t> done_{0};

  std::mutex mutex_;
  std::condition_variable start_, finished_;
  std::atomic<uint64_t> epoch_{0};  // counts the loops
  std::atomic<bool> stop_{false};
};

}  // namespace carat
