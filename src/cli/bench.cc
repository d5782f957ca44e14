// carat bench: how fast a model runs on this machine, and how near to what the machine can do.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <expected>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/try.h"
#include "carat/session.h"
#include "cli/bandwidth_probe.h"
#include "cli/bench_figures.h"
#include "cli/bench_report.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "cli/proc.h"
#include "engine/limits.h"

namespace carat::cli {
namespace {

constexpr int kMostTokens = 100'000'000;  // more than any context; sums of two are no overflow
constexpr std::array kUsualPrefill = {128, 512, 2048, 4096};
constexpr std::array kUsualDepths = {0, 2048, 8192, 32768};
constexpr int kCurvePoints = 64;  // of the limits that are drawn

struct BenchFlags {
  EngineFlags engine;
  MemoryFlags memory;
  std::optional<std::vector<int>> prefill, depths;  // none: as many of the usual ones as the model has positions for
  int decode = 32;
  int reps = 5;
  bool agent = true;
  bool json = false;
  std::filesystem::path plot;  // empty: none
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count(); }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

class Bench {
 public:
  Bench(Console& console, const BenchFlags& flags) : console_(console), flags_(flags) {}

  Result<Measured> Run();

 private:
  Status MeasureLoad();
  Status MeasureCopy();
  Status MeasurePrefill();
  Status MeasureDecode();
  Status MeasureAgent();
  void DrawPrefillLimit();
  void DrawDecodeLimit(const Session& session);

  // Those lengths that leave room for `more` tokens.
  std::vector<int> Fitting(std::span<const int> lengths, int more) const;
  Result<Session> NewSession(int context) const;
  // Appends `count` tokens, and waits for the logits of the last.
  Status Read(Session& session, int count) const;
  // The same one by one, as an answer is written.
  Status Write(Session& session, int count) const;
  Status Step(std::string_view what);

  Console& console_;
  const BenchFlags& flags_;
  std::shared_ptr<const Engine> engine_;
  Measured measured_;
};

std::vector<int> Bench::Fitting(std::span<const int> lengths, int more) const {
  std::vector<int> fitting;
  std::ranges::copy_if(lengths, std::back_inserter(fitting),
                       [&](int length) { return length + more <= engine_->info().max_positions; });
  return fitting;
}

Result<Session> Bench::NewSession(int context) const {
  TRY_ASSIGN(
      const SessionOptions options,
      flags_.memory.Plan(console_, engine_, {.context = context, .logit_batch = 1, .progress = console_.Progress()}));
  return Session::Create(engine_, options);
}

// Ids that are in every vocabulary and repeat late: what they are does not matter to the time.
std::vector<TokenId> Tokens(int first, int count, int vocabulary) {
  std::vector<TokenId> ids;
  for (int64_t i = first; i < first + count; ++i) ids.push_back(static_cast<TokenId>((i * 7919 + 1000) % vocabulary));
  return ids;
}

std::unexpected<Error> Interrupted() { return Fail(ErrorCode::kInterrupted, "interrupted"); }

Status Bench::Read(Session& session, int count) const {
  TRY(session.Append(Tokens(session.length(), count, engine_->info().vocabulary)));
  TRY(session.Logits());
  return {};
}

Status Bench::Write(Session& session, int count) const {
  for (int i = 0; i < count; ++i) {
    if (console_.interrupted()) return Interrupted();
    TRY(Read(session, 1));
  }
  return {};
}

// Says what comes next, and lets Ctrl-C through.
Status Bench::Step(std::string_view what) {
  if (console_.interrupted()) return Interrupted();
  if (console_.stderr_is_terminal())
    console_.Note(fmt::format("\r\033[K{}{}{}", console_.dim(), what, console_.plain()));
  return {};
}

// The first time of all warms the page cache and is not counted.
Status Bench::MeasureLoad() {
  for (int rep = -1; rep < flags_.reps; ++rep) {
    TRY(Step("loading"));
    engine_.reset();
    const Stopwatch watch;
    TRY_ASSIGN(engine_, flags_.engine.Load(console_));
    const double loaded = watch.seconds();
    TRY_ASSIGN(Session session, NewSession(kFirstTokenPrompt));
    TRY(Read(session, kFirstTokenPrompt));
    if (rep < 0) continue;
    measured_.load_s.Add(loaded);
    measured_.first_token_s.Add(watch.seconds());
  }
  return {};
}

// What the first tokens of a process pay so that those after them are faster.
Status Bench::MeasureCopy() {
  const auto left = [this] {
    const EngineCopies copies = engine_->copies();
    return copies.bytes - copies.copied_bytes;
  };
  if (left() == 0) return {};
  TRY(Step("copying weights"));
  constexpr int kEnough = 1000;  // tokens
  TRY_ASSIGN(Session session, NewSession(std::min(kEnough, engine_->info().max_positions)));
  const Stopwatch all;
  int tokens = 0;
  for (; left() > 0 && tokens < session.context() / 2; ++tokens) TRY(Write(session, 1));
  const double with_copies = all.seconds();
  const Stopwatch without;
  TRY(Write(session, tokens));
  measured_.copy_s.Add(std::max(0.0, with_copies - without.seconds()));
  return {};
}

Status Bench::MeasurePrefill() {
  const std::vector<int> lengths = flags_.prefill.value_or(Fitting(kUsualPrefill, 0));
  if (lengths.empty()) return {};
  TRY_ASSIGN(Session session, NewSession(std::ranges::max(lengths)));
  for (const int tokens : lengths)
    measured_.prefill.push_back({.tokens = tokens, .operations = PrefillOperations(*engine_, tokens)});
  measured_.peak = MeasureArithmeticPeak(*engine_);
  for (int rep = 0; rep < flags_.reps; ++rep) {
    for (Prefill& prefill : measured_.prefill) {
      TRY(Step(fmt::format("prefill of {} tokens, {} of {}", prefill.tokens, rep + 1, flags_.reps)));
      TRY(session.Truncate(0));
      const Stopwatch watch;
      TRY(Read(session, prefill.tokens));
      const double seconds = watch.seconds();
      prefill.tokens_per_s.Add(prefill.tokens / seconds);
      prefill.operations_per_s.Add(static_cast<double>(prefill.operations.total()) / seconds);
      if (measured_.peak.integer > 0) prefill.share.Add(measured_.peak.Seconds(prefill.operations) / seconds);
    }
  }
  DrawPrefillLimit();
  return {};
}

// What the arithmetic allows for prompts from the shortest to the longest.
void Bench::DrawPrefillLimit() {
  if (measured_.peak.integer == 0) return;
  const auto [shortest, longest] = std::ranges::minmax(measured_.prefill, {}, &Prefill::tokens);
  for (int i = 0; i <= kCurvePoints; ++i) {
    const double ratio = static_cast<double>(longest.tokens) / shortest.tokens;
    const int tokens =
        static_cast<int>(std::lround(shortest.tokens * std::pow(ratio, static_cast<double>(i) / kCurvePoints)));
    measured_.prefill_limit.push_back({tokens, tokens / measured_.peak.Seconds(PrefillOperations(*engine_, tokens))});
  }
}

// One context grows from depth to depth. At each it goes back to where it was before every repetition; a sliding window
// remembers enough for that, unless a great many tokens are decoded.
Status Bench::MeasureDecode() {
  measured_.peak_memory = ProcBytes("/proc/self/status", "VmHWM");
  std::vector<int> depths = flags_.depths.value_or(Fitting(kUsualDepths, flags_.decode));
  if (depths.empty() || flags_.decode == 0) return {};
  std::ranges::sort(depths);
  TRY_ASSIGN(Session session, NewSession(depths.back() + flags_.decode));
  const BandwidthProbe memory(engine_->threads());
  for (const int depth : depths) {
    TRY(Step(fmt::format("filling the context up to {} tokens", depth)));
    TRY(session.Truncate(std::min(depth, session.length())));
    if (depth > session.length()) TRY(Read(session, depth - session.length()));
    Decode decode = {.depth = depth, .bytes = TokenBytes(session, depth)};
    for (int rep = 0; rep < flags_.reps; ++rep) {
      TRY(Step(fmt::format("decoding behind {} tokens, {} of {}", depth, rep + 1, flags_.reps)));
      TRY(session.Truncate(depth));
      const double before = memory.Run();
      const Stopwatch watch;
      TRY(Write(session, flags_.decode));
      const double tokens_per_s = flags_.decode / watch.seconds();
      const double bandwidth = (before + memory.Run()) / 2;
      const double bytes_per_s = tokens_per_s * static_cast<double>(decode.bytes);
      decode.tokens_per_s.Add(tokens_per_s);
      decode.bytes_per_s.Add(bytes_per_s);
      if (bandwidth == 0) continue;
      decode.share.Add(bytes_per_s / bandwidth);
      measured_.bandwidth.Add(bandwidth);
    }
    measured_.decode.push_back(std::move(decode));
    // Memory is only ever added, so what is resident now is the peak so far.
    const uint64_t resident = ProcBytes("/proc/self/status", "VmRSS");
    measured_.peak_memory = std::max(measured_.peak_memory, resident - std::min(resident, memory.bytes()));
  }
  measured_.kv_bytes = session.kv_bytes();
  DrawDecodeLimit(session);
  return {};
}

// What the bandwidth allows behind contexts from the shortest to the longest.
void Bench::DrawDecodeLimit(const Session& session) {
  if (measured_.bandwidth.empty()) return;
  const int shallowest = measured_.decode.front().depth, deepest = measured_.decode.back().depth;
  for (int i = 0; i <= kCurvePoints; ++i) {
    const int depth = static_cast<int>(shallowest + int64_t{deepest - shallowest} * i / kCurvePoints);
    measured_.decode_limit.push_back(
        {depth, measured_.bandwidth.median() / static_cast<double>(TokenBytes(session, depth))});
  }
}

// What an agent does: reads its instructions and a task, calls a tool, reads the result, calls another, reads that, and
// answers. 4,000 tokens in all, of which it writes 240.
Status Bench::MeasureAgent() {
  struct Part {
    int read, write;
  };
  constexpr std::array kTurn = {Part{.read = 1560, .write = 60}, Part{.read = 1200, .write = 60},
                                Part{.read = 1000, .write = 120}};
  if (!flags_.agent || engine_->info().max_positions < kAgentTokens) return {};
  TRY_ASSIGN(Session session, NewSession(kAgentTokens));
  for (int rep = 0; rep < flags_.reps; ++rep) {
    TRY(Step(fmt::format("an agent's turn, {} of {}", rep + 1, flags_.reps)));
    TRY(session.Truncate(0));
    const Stopwatch watch;
    for (const Part& part : kTurn) {
      TRY(Read(session, part.read));
      TRY(Write(session, part.write));
    }
    measured_.agent_s.Add(watch.seconds());
  }
  return {};
}

Result<Measured> Bench::Run() {
  TRY(MeasureLoad());
  TRY(MeasurePrefill());  // as the first prompt finds it, without copies
  TRY(MeasureCopy());
  TRY(MeasureAgent());
  TRY(MeasureDecode());
  if (console_.stderr_is_terminal()) console_.Note("\r\033[K");
  measured_.model = engine_->info().name;
  measured_.cpu = ProcValue("/proc/cpuinfo", "model name");
  measured_.kernels = engine_->cpu();
  measured_.threads = engine_->threads();
  measured_.reps = flags_.reps;
  return std::move(measured_);
}

std::string SvgName(const std::string& path) {
  return std::filesystem::path(path).extension() == ".svg" ? "" : path + ": only SVG is written; FILE.svg would work";
}

Status RunBench(Console& console, const BenchFlags& flags) {
  std::ofstream plot;
  if (!flags.plot.empty()) {  // opened before the minutes of measuring, not after
    plot.open(flags.plot, std::ios::binary);
    if (!plot) return Fail(ErrorCode::kFailure, flags.plot.string() + ": cannot be written");
  }
  TRY_ASSIGN(const Measured measured, Bench(console, flags).Run());
  if (plot.is_open() && !(plot << BenchPlot(measured)).flush())
    return Fail(ErrorCode::kFailure, flags.plot.string() + ": cannot be written");
  return console.WriteUntrusted(flags.json ? BenchJson(measured) : BenchText(measured));
}

}  // namespace

void AddBench(CLI::App& app, Action& action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* command = app.add_subcommand("bench", "How fast a model runs on this machine");
  flags->engine.AddTo(*command);
  flags->memory.AddTo(*command);
  command
      ->add_option("--prefill", flags->prefill,
                   "Lengths of the prompts that are read, with commas; 0: none; default: 128,512,2048,4096")
      ->delimiter(',')
      ->check(CLI::Range(0, kMostTokens));
  command
      ->add_option("--depth", flags->depths,
                   "Tokens of context that decoding is timed behind, with commas; default: 0,2048,8192,32768")
      ->delimiter(',')
      ->check(CLI::Range(0, kMostTokens));
  command->add_option("--decode", flags->decode, "Tokens decoded per depth and repetition; 0: none")
      ->check(CLI::Range(0, kMostTokens))
      ->capture_default_str();
  command->add_option("--reps", flags->reps, "Repetitions; what is printed is the median, with the range")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--agent,!--no-agent", flags->agent,
                    "Also time an agent's turn: 4,000 tokens over two tool calls (on by default)");
  command->add_flag("--json", flags->json, "Print JSON");
  command->add_option("--plot", flags->plot, "Also draw prefill and decoding beside their limits, into this SVG file")
      ->check(SvgName);
  command->callback([flags, &action] {
    if (flags->prefill) std::erase(*flags->prefill, 0);
    action = [flags](Console& console) { return RunBench(console, *flags); };
  });
}

}  // namespace carat::cli
