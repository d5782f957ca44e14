// A model from end to end: load, prefill, decode, memory, and what part of the memory bandwidth decoding uses.
//
// usage: decode_bench MODEL [--threads N] [--cpu NAME] [--rounds N] [--tokens N] [--prompts N,N,...]
//
// Decoding reads every weight once per token, so its limit is the memory. The bandwidth of shared machines changes from
// minute to minute: a probe runs before and after every stretch of decoding, and the ratio to it is the figure to
// compare. Medians of the rounds, with the smallest and the largest.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "carat/engine.h"
#include "carat/session.h"

using namespace carat;

namespace {

constexpr int kDecodeAfter = 16;  // tokens of the context when decoding begins

struct Options {
  std::string model;
  EngineOptions engine;
  int rounds = 5;
  int tokens = 32;  // decoded per round
  std::vector<int> prompts = {128, 512};
};

double Seconds(const std::function<void()>& work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// Reads memory as fast as plain code does: one stream per thread, huge pages.
class BandwidthProbe {
 public:
  explicit BandwidthProbe(int threads) {
    for (int i = 0; i < threads; ++i) {
      void* memory = std::aligned_alloc(kHugePage, kBytes);
      if (memory == nullptr) continue;
      ::madvise(memory, kBytes, MADV_HUGEPAGE);
      buffers_.emplace_back(static_cast<uint64_t*>(memory), std::free);
      std::fill_n(buffers_.back().get(), kBytes / 8, uint64_t{1});
    }
  }
  // Bytes per second of all threads together.
  double Run() {
    std::vector<std::thread> threads;
    std::atomic<uint64_t> sum{0};  // so that the reads are not optimised away
    const double seconds = Seconds([&] {
      for (const auto& buffer : buffers_) threads.emplace_back([&sum, words = buffer.get()] { sum += Sum(words); });
      for (std::thread& thread : threads) thread.join();
    });
    return sum == 0 ? 0 : static_cast<double>(buffers_.size() * kPasses * kBytes) / seconds;
  }

 private:
  static constexpr size_t kHugePage = 2 << 20;
  static constexpr size_t kBytes = 256 << 20;
  static constexpr size_t kPasses = 4;

  static uint64_t Sum(const uint64_t* memory) {
    constexpr size_t kLanes = 16;  // sums that do not wait for each other
    uint64_t lanes[kLanes] = {};
    const uint64_t* volatile same = memory;  // lest the compiler reads once for all passes
    for (size_t pass = 0; pass < kPasses; ++pass) {
      const uint64_t* words = same;
      for (size_t i = 0; i < kBytes / 8; i += kLanes)
        for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += words[i + lane];
    }
    uint64_t sum = 0;
    for (const uint64_t lane : lanes) sum += lane;
    return sum;
  }

  std::vector<std::unique_ptr<uint64_t, void (*)(void*)>> buffers_;
};

class Figures {
 public:
  void Add(double value) { values_.push_back(value); }
  void Print(const char* name, const char* unit) {
    if (values_.empty()) return;
    std::sort(values_.begin(), values_.end());
    std::printf("%-22s %9.3f   %.3f .. %.3f %s\n", name, values_[values_.size() / 2], values_.front(), values_.back(),
                unit);
  }

 private:
  std::vector<double> values_;
};

// A line of this process's status, in MiB: "VmHWM" (peak resident), "RssAnon" (private memory), "RssFile" (mapped).
double StatusMib(std::string_view key) {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.starts_with(key)) return std::atof(line.c_str() + key.size() + 1) / 1024;
  return 0;
}

// Ids that are in every vocabulary and repeat late.
std::vector<TokenId> Prompt(int length, int vocabulary) {
  std::vector<TokenId> ids;
  for (int64_t i = 0; i < length; ++i) ids.push_back(static_cast<TokenId>((i * 7919 + 1000) % vocabulary));
  return ids;
}

void Require(const Status& status) {
  if (status) return;
  std::fprintf(stderr, "decode_bench: %s\n", status.error().message.c_str());
  std::exit(static_cast<int>(status.error().code));
}

template <typename T>
T Require(Result<T> result) {
  if (!result) Require(Status(std::unexpected(result.error())));
  return std::move(*result);
}

// Appends a prompt; seconds until the logits of its last token are there.
double Prefill(Session& session, int length) {
  Require(session.Truncate(0));
  const std::vector<TokenId> ids = Prompt(length, session.engine().info().vocabulary);
  return Seconds([&] {
    Require(session.Append(ids));
    Require(session.Logits());
  });
}

double Decode(Session& session, int tokens) {
  const std::vector<TokenId> ids = Prompt(tokens, session.engine().info().vocabulary);
  return Seconds([&] {
    for (const TokenId id : ids) {
      Require(session.Append({&id, 1}));
      Require(session.Logits());
    }
  });
}

void Run(const Options& options) {
  Figures load, probe, decode, bandwidth, ratio;
  std::vector<Figures> prefill(options.prompts.size());
  std::shared_ptr<const Engine> engine;
  for (int round = 0; round < options.rounds; ++round) {
    engine.reset();
    load.Add(Seconds([&] { engine = Require(Engine::Load(options.model, options.engine)); }));
  }
  const int longest = *std::max_element(options.prompts.begin(), options.prompts.end());
  SessionOptions session_options;
  session_options.context = std::max(longest, kDecodeAfter) + options.tokens;
  Session session = Require(Session::Create(engine, session_options));
  const ModelInfo& info = engine->info();
  const auto bytes = static_cast<double>(info.weight_bytes);
  std::printf("%s: %s, kernels %s, %d threads; %.0f MB of weights per token, %.0f MB of PLE rows on disk\n",
              options.model.c_str(), info.architecture.c_str(), std::string(engine->cpu()).c_str(), engine->threads(),
              bytes / 1e6, static_cast<double>(info.ple_bytes) / 1e6);

  // Once to warm up, and to see the memory before the probe takes its own.
  Prefill(session, longest);
  Decode(session, std::min(options.tokens, 4));
  std::printf("peak resident %.0f MiB; now %.0f private, %.0f mapped\n\n", StatusMib("VmHWM:"), StatusMib("RssAnon:"),
              StatusMib("RssFile:"));

  BandwidthProbe memory(engine->threads());
  for (int round = 0; round < options.rounds; ++round) {
    for (size_t i = 0; i < prefill.size(); ++i)
      prefill[i].Add(options.prompts[i] / Prefill(session, options.prompts[i]));
    Prefill(session, kDecodeAfter);
    const double before = memory.Run();
    const double seconds = Decode(session, options.tokens) / options.tokens;
    const double after = memory.Run();
    probe.Add(before / 1e9);
    probe.Add(after / 1e9);
    decode.Add(1 / seconds);
    bandwidth.Add(bytes / seconds / 1e9);
    ratio.Add(bytes / seconds / ((before + after) / 2));
  }
  std::printf("%-22s %9s   %s\n", "", "median", "range");
  load.Print("load", "s");
  for (size_t i = 0; i < prefill.size(); ++i)
    prefill[i].Print(("prefill " + std::to_string(options.prompts[i])).c_str(), "tokens/s");
  decode.Print("decode", "tokens/s");
  bandwidth.Print("weights read", "GB/s");
  probe.Print("bandwidth probe", "GB/s");
  ratio.Print("decode / probe", "");
}

std::vector<int> ParseList(const char* text) {
  std::vector<int> numbers;
  for (const char* at = text; *at != 0;) {
    char* end = nullptr;
    numbers.push_back(static_cast<int>(std::strtol(at, &end, 10)));
    if (end == at || numbers.back() <= 0) return {};
    at = *end == ',' ? end + 1 : end;
  }
  return numbers;
}

std::optional<Options> Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (!option.starts_with("--")) {
      options.model = option;
      continue;
    }
    if (++i == argc) return std::nullopt;
    if (option == "--cpu") {
      options.engine.cpu = argv[i];
    } else if (option == "--threads") {
      options.engine.threads = std::atoi(argv[i]);
    } else if (option == "--rounds") {
      options.rounds = std::atoi(argv[i]);
    } else if (option == "--tokens") {
      options.tokens = std::atoi(argv[i]);
    } else if (option == "--prompts") {
      options.prompts = ParseList(argv[i]);
    } else {
      return std::nullopt;
    }
  }
  const bool valid = !options.model.empty() && options.rounds > 0 && options.tokens > 0 && !options.prompts.empty();
  return valid ? std::optional(options) : std::nullopt;
}

}  // namespace

int main(int argc, char** argv) {
  const std::optional<Options> options = Parse(argc, argv);
  if (!options) {
    std::fprintf(
        stderr, "usage: decode_bench MODEL [--threads N] [--cpu NAME] [--rounds N] [--tokens N] [--prompts N,N,...]\n");
    return 2;
  }
  Run(*options);
  return 0;
}
