// How long a picture takes: a vision tower of E2B's size with random weights, at the token budgets of the model.
//
// usage: vision_bench [--type F32|F16|BF16|Q8_0] [--model FILE] [--cpu NAME] [--threads N] [--rounds N] [--budget N]
// [--exact]
//
// Without --model, an mmproj file of the type (BF16) is made in the folder for temporary files and removed. Times are
// of the clock, the best of the rounds. The share is that of the arithmetic limit of the same threads, measured in the
// same run: what products of integers and of floats would take at the peak of each, beside the time that was taken.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "base/process_memory.h"
#include "base/thread_pool.h"
#include "bench/tower_file.h"
#include "engine/limits.h"
#include "formats/checkpoint.h"
#include "gemma/operations.h"
#include "gemma/vision_encoder.h"

namespace carat {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUsage =
    "usage: vision_bench [--type F32|F16|BF16|Q8_0] [--model FILE] [--cpu NAME] [--threads N] [--rounds N] "
    "[--budget N] [--exact]\n";

struct Options {
  std::string cpu, model;
  quant::Type type = quant::Type::kBF16;
  int threads = 0, rounds = 3, budget = 0;
  bool exact = false;
};

// A picture with exactly so many soft tokens.
struct Budget {
  int64_t tokens, columns, rows;
};
constexpr Budget kBudgets[] = {{70, 10, 7}, {140, 14, 10}, {280, 20, 14}, {560, 28, 20}, {1120, 40, 28}};

double Now(bool own_time) {
  timespec now{};
  ::clock_gettime(own_time ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

Status Measure(const gemma::VisionModel& model, const ops::Context& context, const Budget& budget, int rounds) {
  const int64_t side = model.config.pooling;
  gemma::PatchGrid grid = {.columns = budget.columns * side, .rows = budget.rows * side, .values = {}};
  const int64_t patches = grid.columns * grid.rows;
  std::mt19937 random(1);
  grid.values.resize(static_cast<size_t>(patches * model.config.patch_values()));
  for (float& value : grid.values) value = static_cast<float>(random() >> 24) / 255;
  gemma::VisionEncoder encoder(model, context, patches);
  std::vector<float> soft(static_cast<size_t>(budget.tokens * model.config.text_hidden));
  double best = 1e30;
  for (int round = 0; round < rounds; ++round) {
    const double start = Now(context.pool->size() == 1);
    if (const Status status = encoder.Encode(grid, soft); !status) return status;
    best = std::min(best, Now(context.pool->size() == 1) - start);
  }
  const gemma::Operations operations = gemma::CountOperations(model, context.exact, patches);
  const ArithmeticPeak peak = MeasureArithmeticPeak(context);
  const double share = peak.integer > 0 ? 100 * peak.Seconds(operations) / best : 0;
  std::printf("%6d %7d %8.2f %8.1f %8.1f %6.0f %% %8.1f %8.1f\n", static_cast<int>(budget.tokens),
              static_cast<int>(patches), best, 1e-9 * static_cast<double>(operations.total()) / best,
              1e-9 * peak.floating, share, static_cast<double>(encoder.scratch().resident) / 1048576,
              static_cast<double>(grid.values.size() * sizeof(float)) / 1048576);
  std::fflush(stdout);
  return {};
}

Status Run(const Options& options) {
  const bool made = options.model.empty();
  const fs::path path = made ? fs::temp_directory_path() / ("carat-tower-" + std::to_string(::getpid()) + ".gguf")
                             : fs::path(options.model);
  if (made)
    if (const Status status = bench::WriteTowerFile(path, options.type, 1); !status) return status;
  const auto checkpoint = formats::Checkpoint::Open(path);
  if (made) fs::remove(path);
  if (!checkpoint) return std::unexpected(checkpoint.error());
  const auto model = gemma::VisionModel::Load(*checkpoint);
  if (!model) return std::unexpected(model.error());
  ThreadPool pool(options.threads);
  const ops::Context context = {.kernels = kernels::SelectKernels(options.cpu), .pool = &pool, .exact = options.exact};
  if (context.kernels == nullptr) return Fail(ErrorCode::kUsage, "no kernels called '" + options.cpu + "' run here");
  std::printf("%.*s, %d threads, %s%s\n%6s %7s %8s %8s %8s %8s %8s %8s\n",
              static_cast<int>(context.kernels->name.size()), context.kernels->name.data(), pool.size(),
              std::string(quant::Info(model->layers[0].q.weight.type).name).c_str(), options.exact ? ", exact" : "",
              "tokens", "patches", "s", "GOP/s", "peak", "share", "MiB", "+ pixels");
  for (const Budget& budget : kBudgets)
    if (options.budget == 0 || options.budget == budget.tokens)
      if (const Status status = Measure(*model, context, budget, options.rounds); !status) return status;
  std::printf("peak of the process: %.0f MiB\n", static_cast<double>(MeasureProcessMemory().peak) / 1048576);
  return {};
}

bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--exact") {
      options.exact = true;
      continue;
    }
    const std::string value = i + 1 < argc ? argv[++i] : "";
    const auto count = static_cast<int>(std::strtol(value.c_str(), nullptr, 10));
    if (option == "--cpu")
      options.cpu = value;
    else if (option == "--model")
      options.model = value;
    else if (option == "--type" && (value == "F32" || value == "F16" || value == "BF16" || value == "Q8_0"))
      options.type = value == "F32"    ? quant::Type::kF32
                     : value == "F16"  ? quant::Type::kF16
                     : value == "BF16" ? quant::Type::kBF16
                                       : quant::Type::kQ8_0;
    else if (option == "--threads" && count > 0)
      options.threads = count;
    else if (option == "--rounds" && count > 0)
      options.rounds = count;
    else if (option == "--budget" && count > 0)
      options.budget = count;
    else
      return false;
  }
  return true;
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, options)) return std::fputs(kUsage, stderr), 2;
  const Status status = Run(options);
  if (status) return 0;
  std::fprintf(stderr, "%s\n", status.error().message.c_str());
  return static_cast<int>(status.error().code);
}

}  // namespace
}  // namespace carat

int main(int argc, char** argv) { return carat::Main(argc, argv); }
