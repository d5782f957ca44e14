#include "cli/bandwidth_probe.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <thread>

#include "cli/proc.h"

namespace carat::cli {
namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr size_t kMostBytes = 256 << 20;  // of all threads; far more than caches hold
constexpr int kPasses = 4, kTrials = 3;
constexpr size_t kLanes = 16;  // sums that do not wait for each other: two cache lines
constexpr size_t kAhead = 4096 / sizeof(uint64_t);

// Which of these is fastest depends on the CPU: the prefetch past the caches is best by some percent on AMD's Zen 4,
// and takes half of the speed on Intel's Sapphire Rapids, where several streams are best.
enum class Hint { kNone, kCaches, kPastCaches };

template <size_t kStreams, Hint kHint>
uint64_t Sum(const uint64_t* memory, size_t words) {
  uint64_t lanes[kLanes] = {};
  const size_t stream = words / kStreams;
  for (size_t i = 0; i + kLanes <= stream; i += kLanes) {
    for (size_t s = 0; s < kStreams; ++s) {
      const uint64_t* at = memory + s * stream + i;
      for (size_t line = 0; line < kLanes; line += 8) {
        if constexpr (kHint == Hint::kCaches) __builtin_prefetch(at + kAhead + line, 0, 3);
        if constexpr (kHint == Hint::kPastCaches) __builtin_prefetch(at + kAhead + line, 0, 0);
      }
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += at[lane];
    }
  }
  return std::accumulate(lanes, lanes + kLanes, uint64_t{0});
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
  fillers.clear();  // waits for them

  double fastest = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    for (const Reader reader :
         {Sum<1, Hint::kNone>, Sum<1, Hint::kCaches>, Sum<1, Hint::kPastCaches>, Sum<8, Hint::kNone>}) {
      const double speed = Run(reader, 1);
      if (speed <= fastest) continue;
      fastest = speed;
      best_ = reader;
    }
  }
}

double BandwidthProbe::Run(Reader reader, int passes) const {
  std::atomic<uint64_t> sum{0};  // so that the reads are not optimised away
  const auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    threads.reserve(buffers_.size());
    for (const auto& buffer : buffers_)
      threads.emplace_back([&sum, this, reader, passes, words = buffer.get()] {
        for (int pass = 0; pass < passes; ++pass) sum += reader(words, words_);
      });
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return sum == 0 ? 0 : static_cast<double>(static_cast<uint64_t>(passes) * bytes()) / time.count();
}

double BandwidthProbe::Run() const { return best_ == nullptr ? 0 : Run(best_, kPasses); }

}  // namespace carat::cli
