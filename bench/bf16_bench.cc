// How fast weights become bfloat16 (kernels::Bf16Products), on one thread of a CPU with AVX-512 BF16 that need not have
// tiles: GB/s of the weights as they are stored, rows woven together. "panel" is what a prefill does with a block of
// rows, once for all tokens; "one token" what decoding does with all weights, a few columns at a time, before tiles,
// which are not measured here, multiply them. "read" is the memory's limit: it looks at the weights and no more.
//
// usage: bf16_bench [--kib N] [--rounds N]    N KiB of weights; best of the rounds, the thread's own processor time
#include <immintrin.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string_view>

#include "base/aligned_buffer.h"
#include "base/lazy_memory.h"
#include "kernels/x86/bf16_avx512.h"
#include "quant/interleave.h"
#include "quant/type.h"

namespace carat {
namespace {

constexpr int64_t kCols = 1536;  // as wide as E2B

struct Settings {
  int64_t kib = 96 << 10;
  int rounds = 15;
};

double ThreadSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Of run(i), i = 0 .. count-1, each of which takes `bytes`.
template <typename Run>
double BestGigabytes(int64_t count, int64_t bytes, int rounds, const Run& run) {
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const double start = ThreadSeconds();
    for (int64_t i = 0; i < count; ++i) run(i);
    best = std::min(best, ThreadSeconds() - start);
  }
  return 1e-9 * static_cast<double>(count * bytes) / best;
}

template <typename Block>
void Measure(const std::byte* weights, const Settings& settings) {
  AlignedBuffer<uint16_t> panel(kernels::kPanelRows * kCols);
  alignas(64) uint16_t widened[2][kernels::x86::kBf16Stretch * quant::kInterleavedRows];
  const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(Block::kType, kCols));
  const int64_t step = kernels::kPanelRows * row_bytes;
  const int64_t panels = std::max<int64_t>(settings.kib * 1024 / step, 1);
  const double packed = BestGigabytes(panels, step, settings.rounds, [&](int64_t i) {
    kernels::avx512::Bf16PanelInterleaved<Block>(weights + i * step, row_bytes, kernels::kPanelRows, kCols,
                                                 panel.data());
  });
  const double alone = BestGigabytes(2 * panels, step / 2, settings.rounds, [&](int64_t i) {
    for (int64_t column = 0; column < kCols; column += kernels::x86::kBf16Stretch)
      kernels::avx512::WidenSixteen<Block>(weights + i * step / 2, column, kCols,
                                           widened[column / kernels::x86::kBf16Stretch % 2]);
  });
  const double read = BestGigabytes(panels, step, settings.rounds, [&](int64_t i) {
    __m512i sum = _mm512_setzero_si512();
    for (int64_t at = i * step; at < (i + 1) * step; at += 64)
      sum = _mm512_add_epi32(sum, _mm512_loadu_si512(weights + at));
    asm volatile("" : : "v"(sum));
  });
  const std::string_view name = quant::Info(Block::kType).name;
  std::printf("%-8.*s %10.1f %10.1f %10.1f\n", static_cast<int>(name.size()), name.data(), packed, alone, read);
}

int Main(int argc, char** argv) {
  Settings settings;
  for (int i = 1; i + 1 < argc; i += 2) {
    const auto value = static_cast<int>(std::max(std::strtol(argv[i + 1], nullptr, 10), 1L));
    if (std::string_view(argv[i]) == "--rounds")
      settings.rounds = value;
    else
      settings.kib = value;
  }
  if (!__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512bf16")) {
    std::fprintf(stderr, "this CPU has no AVX-512 BF16\n");
    return 1;
  }
  constexpr uint64_t kAtLeast = 1 << 20;  // a panel
  const auto memory = LazyMemory::Allocate(std::max(static_cast<uint64_t>(settings.kib) * 1024, kAtLeast), "weights",
                                           LazyMemory::Pages::kLarge);
  if (!memory) return 1;
  std::mt19937_64 random(1);
  for (size_t i = 0; i < memory->size(); ++i) memory->data()[i] = static_cast<std::byte>(random() & 0x3b);
  std::printf("%-8s %10s %10s %10s\n", "GB/s", "panel", "one token", "read");
#define CARAT_MEASURE(Block) Measure<Block>(memory->data(), settings);
  CARAT_FOR_EACH_INTERLEAVED(CARAT_MEASURE)
#undef CARAT_MEASURE
  return 0;
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) { return carat::Main(argc, argv); }
