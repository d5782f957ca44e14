#include "cli/bandwidth_probe.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "cli/proc.h"

namespace carat::cli {
namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr size_t kMostBytes = 256 << 20;  // of all threads; far more than caches hold
constexpr int kPasses = 4;
constexpr size_t kLanes = 16;  // sums that do not wait for each other

uint64_t Sum(const uint64_t* memory, size_t words) {
  uint64_t lanes[kLanes] = {};
  const uint64_t* volatile same = memory;  // lest the compiler reads once for all passes
  for (int pass = 0; pass < kPasses; ++pass) {
    const uint64_t* at = same;
    for (size_t i = 0; i < words; i += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += at[i + lane];
  }
  uint64_t sum = 0;
  for (const uint64_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace

void BandwidthProbe::Free::operator()(uint64_t* memory) const { std::free(memory); }

BandwidthProbe::BandwidthProbe(int threads) {
  const size_t all = std::min<size_t>(kMostBytes, ProcBytes("/proc/meminfo", "MemAvailable") / 8);
  const size_t bytes = all / static_cast<size_t>(threads) / kHugePage * kHugePage;
  if (bytes == 0) return;
  words_ = bytes / sizeof(uint64_t);
  std::vector<std::jthread> fillers;  // each thread's memory is near the processor that touched it first
  fillers.reserve(static_cast<size_t>(threads));
  for (int i = 0; i < threads; ++i) {
    void* memory = std::aligned_alloc(kHugePage, bytes);
    if (memory == nullptr) break;
    ::madvise(memory, bytes, MADV_HUGEPAGE);
    buffers_.emplace_back(static_cast<uint64_t*>(memory));
    fillers.emplace_back([this, words = buffers_.back().get()] { std::fill_n(words, words_, uint64_t{1}); });
  }
}

double BandwidthProbe::Run() const {
  std::atomic<uint64_t> sum{0};  // so that the reads are not optimised away
  const auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    threads.reserve(buffers_.size());
    for (const auto& buffer : buffers_)
      threads.emplace_back([&sum, this, words = buffer.get()] { sum += Sum(words, words_); });
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return sum == 0 ? 0 : static_cast<double>(kPasses * bytes()) / time.count();
}

}  // namespace carat::cli
