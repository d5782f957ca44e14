#include "cli/bandwidth_probe.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

namespace carat::cli {
namespace {

constexpr size_t kHugePage = 2 << 20;
constexpr size_t kBytes = 256 << 20;
constexpr size_t kWords = kBytes / sizeof(uint64_t);
constexpr int kPasses = 2;

uint64_t Sum(const uint64_t* memory) {
  constexpr size_t kLanes = 16;  // sums that do not wait for each other
  uint64_t lanes[kLanes] = {};
  const uint64_t* volatile same = memory;  // lest the compiler reads once for all passes
  for (int pass = 0; pass < kPasses; ++pass) {
    const uint64_t* words = same;
    for (size_t i = 0; i < kWords; i += kLanes)
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += words[i + lane];
  }
  uint64_t sum = 0;
  for (const uint64_t lane : lanes) sum += lane;
  return sum;
}

}  // namespace

void BandwidthProbe::Free::operator()(uint64_t* memory) const { std::free(memory); }

BandwidthProbe::BandwidthProbe(int threads) {
  for (int i = 0; i < threads; ++i) {
    void* memory = std::aligned_alloc(kHugePage, kBytes);
    if (memory == nullptr) return;
    ::madvise(memory, kBytes, MADV_HUGEPAGE);
    buffers_.emplace_back(static_cast<uint64_t*>(memory));
    std::fill_n(buffers_.back().get(), kWords, uint64_t{1});
  }
}

double BandwidthProbe::Run() const {
  std::atomic<uint64_t> sum{0};  // so that the reads are not optimised away
  const auto start = std::chrono::steady_clock::now();
  {
    std::vector<std::jthread> threads;
    threads.reserve(buffers_.size());
    for (const auto& buffer : buffers_) threads.emplace_back([&sum, words = buffer.get()] { sum += Sum(words); });
  }
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
  return sum == 0 ? 0 : static_cast<double>(buffers_.size() * kPasses * kBytes) / time.count();
}

}  // namespace carat::cli
