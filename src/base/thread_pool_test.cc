#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <chrono>
#include <numeric>
#include <thread>

namespace carat {
namespace {

TEST(ThreadPool, RunsEveryIndexOnce) {
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    ASSERT_EQ(pool.size(), threads);
    for (const int64_t count : {0, 1, 2, 7, 1000}) {
      std::vector<std::atomic<int>> runs(static_cast<size_t>(count));
      pool.ParallelFor(count, [&](int64_t index, int worker) {
        ASSERT_GE(worker, 0);
        ASSERT_LT(worker, threads);
        runs[static_cast<size_t>(index)].fetch_add(1);
      });
      for (const auto& run : runs) EXPECT_EQ(run.load(), 1);
    }
  }
}

TEST(ThreadPool, ManySmallLoopsAndManyCallers) {
  for (const int threads : {3, 16}) {  // of the 16, most come too late for a loop, and find the next ones
    ThreadPool pool(threads);
    std::vector<std::thread> callers;
    callers.reserve(4);
    std::atomic<int64_t> sum{0};
    for (int caller = 0; caller < 4; ++caller) {
      callers.emplace_back([&] {
        for (int loop = 0; loop < 500; ++loop) pool.ParallelFor(5, [&](int64_t index, int) { sum += index; });
      });
    }
    for (std::thread& caller : callers) caller.join();
    EXPECT_EQ(sum.load(), 4 * 500 * 10);
  }
}

TEST(ThreadPool, WorkOfOneLoopIsSeenByTheNext) {
  ThreadPool pool(2);
  std::vector<int64_t> values(64, 0);
  for (int round = 0; round < 200; ++round) {
    pool.ParallelFor(64, [&](int64_t index, int) { values[static_cast<size_t>(index)] += index; });
    const int64_t total = std::accumulate(values.begin(), values.end(), int64_t{0});
    ASSERT_EQ(total, (round + 1) * 63 * 32);
  }
}

// Waiting threads look for work for a while, then sleep.
TEST(ThreadPool, WakesUp) {
  ThreadPool pool(3);
  for (int round = 0; round < 10; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    std::atomic<int> runs{0};
    pool.ParallelFor(8, [&](int64_t, int) {
      std::this_thread::sleep_for(std::chrono::microseconds(500));
      ++runs;
    });
    EXPECT_EQ(runs.load(), 8);
  }
}

}  // namespace
}  // namespace carat
