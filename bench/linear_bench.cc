// How fast one thread multiplies: each type of weights, each table of kernels, for a single token (GB/s of weights, the
// measure of decoding) and for many (GOP/s, two operations a weight and token, the measure of a prefill).
//
// usage: linear_bench [--cpu NAME] [--type NAME] [--rounds N] [--tokens N] [--decode-kib N]
//
// Times are of the thread's own processor time, the best of the rounds, so that neighbours disturb little. The matrix
// of the single token is larger than the caches, unless --decode-kib says otherwise (and shows the arithmetic alone).
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "ops/linear.h"
#include "quant/codes.h"
#include "quant/type.h"

namespace carat {
namespace {

constexpr int64_t kCols = 1536;  // as wide as E2B
constexpr uint64_t kMostBytes = 96 << 20;
constexpr int64_t kPrefillRows = 1024;

double ThreadSeconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Random weights: codes of any kind, scales (which are f16) below 1.
std::vector<std::byte> RandomWeights(uint64_t size_bytes) {
  std::mt19937_64 random(1);
  std::vector<std::byte> bytes(size_bytes);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random() & 0x3b);
  return bytes;
}

double BestSeconds(ops::Linear& linear, const ops::Matrix& w, const AlignedBuffer<float>& x, int64_t tokens,
                   int rounds) {
  std::vector<float> y(static_cast<size_t>(w.rows * tokens));
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const double start = ThreadSeconds();
    linear.SetInput(x.data(), tokens, w.cols);
    linear.Multiply(w, y.data());
    best = std::min(best, ThreadSeconds() - start);
  }
  return best;
}

void Measure(const kernels::Kernels& table, quant::Type type, const std::vector<std::byte>& bytes, int rounds,
             int64_t tokens, int64_t decode_kib) {
  const auto row_bytes = static_cast<int64_t>(*quant::RowBytes(type, kCols));
  const int64_t rows = std::max<int64_t>(decode_kib * 1024 / row_bytes, 1);
  ops::Matrix all = {.type = type, .rows = kPrefillRows, .cols = kCols, .data = bytes.data(), .row_bytes = row_bytes};
  const int64_t group = type == quant::Type::kG4 ? quant::kG4Group : kCols;
  const std::vector<float> scales(static_cast<size_t>(std::max(rows, kPrefillRows) * kCols / group), 0.01f);
  if (quant::IsCodes(type)) {
    all.scales = {.group = group,
                  .data = reinterpret_cast<const std::byte*>(scales.data()),
                  .row_bytes = kCols / group * static_cast<int64_t>(sizeof(float))};
    if (type != quant::Type::kG4) all.input_scale = all.output_scale = 0.04f;
  }
  const ops::Matrix w = all.Rows(0, rows);
  AlignedBuffer<float> x(static_cast<size_t>(tokens * kCols));
  std::mt19937 random(2);
  for (size_t i = 0; i < x.size(); ++i) x.data()[i] = std::normal_distribution<float>()(random);

  ThreadPool pool(1);
  ops::Linear linear({.kernels = &table, .pool = &pool});
  const double one = BestSeconds(linear, w, x, 1, rounds);
  const double gb = 1e-9 * static_cast<double>(rows * row_bytes) / one;
  const double many = BestSeconds(linear, all.Rows(0, kPrefillRows), x, tokens, rounds);
  const double gop = 2e-9 * static_cast<double>(kPrefillRows * kCols * tokens) / many;
  std::printf("%-8.*s %-7.*s %8.2f %8.1f\n", static_cast<int>(table.name.size()), table.name.data(),
              static_cast<int>(quant::Info(type).name.size()), quant::Info(type).name.data(), gb, gop);
  std::fflush(stdout);
}

int Main(int argc, char** argv) {
  std::string_view cpu, only;
  int rounds = 5, tokens = 256, decode_kib = kMostBytes >> 10;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    const char* value = i + 1 < argc ? argv[++i] : "";
    const auto count = static_cast<int>(std::strtol(value, nullptr, 10));
    if (option == "--cpu") {
      cpu = value;
    } else if (option == "--type") {
      only = value;
    } else if (option == "--rounds" && count > 0) {
      rounds = count;
    } else if (option == "--tokens" && count > 0) {
      tokens = count;
    } else if (option == "--decode-kib" && count > 0) {
      decode_kib = std::min<int>(count, kMostBytes >> 10);
    } else {
      std::fprintf(stderr,
                   "usage: linear_bench [--cpu NAME] [--type NAME] [--rounds N] [--tokens N] [--decode-kib N]\n");
      return 2;
    }
  }
  const std::vector<std::byte> bytes = RandomWeights(kMostBytes);
  std::printf("one thread\n%-8s %-7s %8s %8s\n", "kernels", "type", "GB/s", "GOP/s");
  for (const kernels::Kernels* table : kernels::AllKernels()) {
    if (!kernels::Supported(*table) || (cpu.empty() ? table->name == "scalar" : table->name != cpu)) continue;
    for (int i = 0; i < quant::kTypeCount; ++i) {
      const auto type = static_cast<quant::Type>(i);
      if (!(quant::IsWeight(type) || quant::IsCodes(type)) || (!only.empty() && only != quant::Info(type).name))
        continue;
      Measure(*table, type, bytes, rounds, tokens, decode_kib);
    }
  }
  return 0;
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) { return carat::Main(argc, argv); }
