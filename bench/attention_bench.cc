// How fast attention is: shapes of E2B (8 query heads on one K/V head; sliding layers with heads of 256 numbers and a
// window of 512, global ones with 512 numbers), a prefill of 512 rows and a single token, at several depths; and of its
// vision tower (12 heads of 64 numbers, in floats, all patches of a picture of 280 tokens).
//
// usage: attention_bench [--cpu NAME] [--kv-type f32|f16|int8] [--threads N] [--rounds N] [--rows N] [--patches N]
//
// GFLOP/s count what the rows must do (two products with what each sees), GB/s the keys and values that a single token
// reads, each once. With one thread times are of its own processor time, with more of the clock; the best of the
// rounds. A token's keys and values come from memory: the rounds walk through copies that no cache holds.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "kernels/kernels.h"
#include "ops/attention.h"

namespace carat {
namespace {

using kernels::KvType;

constexpr int64_t kHeads = 8;
constexpr int64_t kCopiedBytes = 128 << 20;

struct Options {
  std::string_view cpu;
  KvType type = KvType::kF16;
  int threads = 1, rounds = 5, rows = 512, patches = 2520;
};

struct Shape {
  int64_t head_dim, window;
};

double Now(bool own_time) {
  timespec now{};
  ::clock_gettime(own_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Keys and values of `positions` positions, as often as it takes to overflow the caches.
struct Caches {
  Caches(const Shape& shape, KvType type, int64_t positions)
      : capacity((positions + kernels::kKeyBlock - 1) / kernels::kKeyBlock * kernels::kKeyBlock),
        bytes(capacity * shape.head_dim * kernels::KvBytes(type)),
        count(std::max<int64_t>(1, kCopiedBytes / (2 * bytes))),
        memory(static_cast<size_t>(2 * bytes * count)),
        scales(static_cast<size_t>(capacity), 0.01f) {
    std::mt19937 random(1);
    // Halves below 1, floats below 2, codes of one sign: any are fine, but subnormals and NaN are not.
    for (std::byte& byte : memory) byte = static_cast<std::byte>(random() & 0x3b);
  }
  ops::KvView View(const Shape& shape, KvType type, int64_t copy) const {
    const std::byte* keys = memory.data() + 2 * bytes * (copy % count);
    return {.keys = keys,
            .values = keys + bytes,
            .type = type,
            .capacity = capacity,
            .kv_heads = 1,
            .head_dim = shape.head_dim,
            .key_scales = type == KvType::kI8 ? scales.data() : nullptr,
            .value_scales = type == KvType::kI8 ? scales.data() : nullptr};
  }

  int64_t capacity, bytes, count;
  std::vector<std::byte> memory;
  std::vector<float> scales;
};

void Measure(const kernels::Kernels& table, const Options& options, const Shape& shape, int64_t rows, int64_t depth) {
  const Caches caches(shape, options.type, depth + rows);
  ThreadPool pool(options.threads);
  ops::Attention attention({.kernels = &table, .pool = &pool}, kHeads, shape.head_dim);
  std::vector<float> q(static_cast<size_t>(rows * kHeads * shape.head_dim)), out(q.size());
  std::mt19937 random(2);
  for (float& value : q) value = std::normal_distribution<float>(0.0f, 0.02f)(random);

  double keys = 0;  // that the rows see
  for (int64_t position = depth; position < depth + rows; ++position)
    keys += static_cast<double>(shape.window > 0 ? std::min(position + 1, shape.window) : position + 1);
  const int64_t calls = rows > 1 ? 1 : caches.count;
  double best = 1e30;
  for (int round = 0; round < options.rounds; ++round) {
    const double start = Now(options.threads == 1);
    for (int64_t call = 0; call < calls; ++call)
      attention.Run(caches.View(shape, options.type, call),
                    {.q = q.data(), .rows = rows, .first_position = depth, .window = shape.window}, out.data());
    best = std::min(best, (Now(options.threads == 1) - start) / static_cast<double>(calls));
  }
  const double dims = static_cast<double>(shape.head_dim);
  const double read = 2 * keys * dims * static_cast<double>(kernels::KvBytes(options.type));
  std::printf("%-8.*s %-8s %5d %6d %10.1f %8.1f", static_cast<int>(table.name.size()), table.name.data(),
              shape.window > 0 ? "sliding" : "global", static_cast<int>(rows), static_cast<int>(depth), 1e6 * best,
              1e-9 * 4 * keys * dims * kHeads / best);
  if (rows == 1)
    std::printf(" %8.1f\n", 1e-9 * read / best);
  else
    std::printf(" %8s\n", "");
  std::fflush(stdout);
}

void MeasureTower(const kernels::Kernels& table, const Options& options) {
  constexpr int64_t kTowerHeads = 12, kTowerDim = 64;
  const int64_t patches = options.patches, row = kTowerHeads * kTowerDim;
  std::vector<float> q(static_cast<size_t>(patches * row)), k = q, v = q, out = q;
  std::mt19937 random(3);
  for (std::vector<float>* values : {&q, &k, &v})
    for (float& value : *values) value = static_cast<float>(random() >> 8) * 0x1p-23f - 1.0f;
  ThreadPool pool(options.threads);
  ops::Attention attention({.kernels = &table, .pool = &pool}, kTowerHeads, kTowerDim);
  double best = 1e30;
  for (int round = 0; round < options.rounds; ++round) {
    const double start = Now(options.threads == 1);
    attention.Run({.keys = reinterpret_cast<const std::byte*>(k.data()),
                   .values = reinterpret_cast<const std::byte*>(v.data()),
                   .type = KvType::kF32,
                   .capacity = patches,
                   .kv_heads = kTowerHeads,
                   .head_dim = kTowerDim,
                   .by_head = true},
                  {.q = q.data(), .rows = patches, .all = patches}, out.data());
    best = std::min(best, Now(options.threads == 1) - start);
  }
  std::printf("%-8.*s %-8s %5d %6s %10.1f %8.1f\n", static_cast<int>(table.name.size()), table.name.data(), "tower",
              static_cast<int>(patches), "", 1e6 * best,
              1e-9 * 4 * static_cast<double>(patches * patches * row) / best);
  std::fflush(stdout);
}

bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i], value = i + 1 < argc ? argv[++i] : "";
    const auto count = static_cast<int>(std::strtol(std::string(value).c_str(), nullptr, 10));
    if (option == "--cpu")
      options.cpu = value;
    else if (option == "--kv-type" && (value == "f32" || value == "f16" || value == "int8"))
      options.type = value == "f32" ? KvType::kF32 : value == "f16" ? KvType::kF16 : KvType::kI8;
    else if (option == "--threads" && count > 0)
      options.threads = count;
    else if (option == "--rounds" && count > 0)
      options.rounds = count;
    else if (option == "--rows" && count > 1)
      options.rows = count;
    else if (option == "--patches" && count > 0)
      options.patches = count;
    else
      return false;
  }
  return true;
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, options)) {
    std::fprintf(stderr,
                 "usage: attention_bench [--cpu NAME] [--kv-type f32|f16|int8] [--threads N] [--rounds N] [--rows N] "
                 "[--patches N]\n");
    return 2;
  }
  std::printf("%d threads\n%-8s %-8s %5s %6s %10s %8s %8s\n", options.threads, "kernels", "layer", "rows", "depth",
              "us", "GFLOP/s", "GB/s");
  for (const kernels::Kernels* table : kernels::AllKernels()) {
    if (!kernels::Supported(*table) || (options.cpu.empty() ? table->name == "scalar" : table->name != options.cpu))
      continue;
    for (const Shape& shape : {Shape{256, 512}, Shape{512, 0}})
      for (const int64_t rows : {int64_t{options.rows}, int64_t{1}})
        for (const int64_t depth : {0, 2048, 8192})
          if (rows > 1 || depth > 0) Measure(*table, options, shape, rows, depth);
    MeasureTower(*table, options);
  }
  return 0;
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) { return carat::Main(argc, argv); }
