#include "cli/options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <system_error>
#include <utility>

#include "base/byte_size.h"
#include "base/try.h"
#include "carat/memory_plan.h"
#include "cli/plan_text.h"

namespace carat::cli {

namespace {

template <typename T>
bool IsWhole(const std::string& word) {
  T value = 0;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  return error == std::errc() && end == word.data() + word.size() && value >= 0;
}

// CLI11 lets numbers that are negative or too large for a uint64_t wrap around.
std::string IsSeed(const std::string& word) {
  return IsWhole<uint64_t>(word) ? "" : "'" + word + "' is no whole number from 0 to " + std::to_string(UINT64_MAX);
}

}  // namespace

CLI::Validator AtLeastZero() {
  return {[](const std::string& word) {
            return IsWhole<int>(word) ? "" : "'" + word + "' is no whole number from 0 to " + std::to_string(INT_MAX);
          },
          "COUNT"};
}

std::optional<std::string> TakeModelFromEnvironment(std::string& model) {
  const char* named = std::getenv("CARAT_MODEL");
  if (named == nullptr || *named == '\0' || model == named) return std::nullopt;
  return std::exchange(model, named);
}

bool LooksLikeModel(const std::string& word) {
  std::error_code error;
  return word.find('/') != word.npos || word.ends_with(".gguf") || std::filesystem::exists(word, error);
}

void EngineFlags::AddTo(CLI::App& command) {
  command.add_option("MODEL", model, "A .gguf file (the first of a split set) or a Hugging Face folder")
      ->required()
      ->envname("CARAT_MODEL");
  AddSettings(command);
}

void EngineFlags::AddSettings(CLI::App& command) {
  command
      .add_option("--mmproj", mmproj,
                  "The file with the vision tower of a .gguf model; default: the one beside it with mmproj in its "
                  "name")
      ->type_name("FILE");
  command.add_option("--threads", threads, "Threads that compute; 0: one per processor")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--cpu", cpu, "Kernels to use, as `carat doctor` lists them; default: the fastest");
  command.add_flag(
      "--in-place", in_place,
      "Read weights only where the file is mapped; default: decoding copies them, in an order and in pages "
      "that are read faster, in place of the file's pages");
  command.add_flag("--exact", exact, "Compute with 32-bit floats throughout: what the file means, for verification");
}

Result<std::shared_ptr<const Engine>> EngineFlags::Load(Console& console) const {
  EngineOptions options;
  options.threads = threads;
  options.cpu = cpu;
  options.exact = exact;
  options.in_place = in_place;
  options.mmproj = mmproj;
  options.progress = console.Progress();
  return Engine::Load(model, options);
}

// Budgets of soft tokens that models were trained with.
CLI::IsMember IsBudget() { return CLI::IsMember({70, 140, 280, 560, 1120}); }

void AddImageTokens(CLI::App& command, MediaOptions& options) {
  command
      .add_option("--image-tokens", options.image_tokens,
                  "Most soft tokens of a picture: 70, 140, 280, 560 or 1120; more show finer detail and take longer. "
                  "Default: as the model was published, usually 280")
      ->check(IsBudget())
      ->type_name("COUNT");
}

void AddMediaOptions(CLI::App& command, MediaOptions& options) {
  AddImageTokens(command, options);
  command.add_option("--frame-tokens", options.frame_tokens, "The same of each frame of a video; default: usually 70")
      ->check(IsBudget())
      ->type_name("COUNT");
  CLI::Option* frames = command
                            .add_option("--video-frames", options.video_frames,
                                        "Frames of a video, evenly spread over it; default: usually 32")
                            ->check(CLI::Range(1, 4096))
                            ->type_name("COUNT");
  command.add_option("--video-fps", options.video_fps, "Frames for each second of a video, instead of --video-frames")
      ->check(CLI::Range(1e-6, 1000.0))
      ->type_name("RATE")
      ->excludes(frames);
}

// A picture that is piped in; what is larger is no picture.
constexpr size_t kMostPipedBytes = size_t{128} << 20;

Result<std::vector<Medium>> OpenMedia(Console& console, std::span<const std::string> files) {
  std::vector<Medium> media;
  for (const std::string& file : files) {
    if (file != "-") {
      TRY_ASSIGN(media.emplace_back(), OpenMedium(file));
      continue;
    }
    Medium medium = {.name = "standard input"};
    TRY_ASSIGN(medium.bytes, console.ReadAll(kMostPipedBytes));
    if (medium.bytes.empty()) return Fail(ErrorCode::kBadMedia, "standard input: there is no picture");
    if (RecogniseMedium(medium.bytes) == Medium::Kind::kVideo)
      return Fail(ErrorCode::kBadMedia, "standard input: is a video; videos are read from files, so name one");
    media.push_back(std::move(medium));
  }
  return media;
}

void AddContext(CLI::App& command, int& context) {
  command
      .add_option("--context", context,
                  "Most tokens of the whole conversation; 0: what the model was made for, at most 8192, or with --ram "
                  "what fits")
      ->check(AtLeastZero());
}

void MemoryFlags::AddTo(CLI::App& command) {
  command
      .add_option_function<std::string>(
          "--ram",
          [this](const std::string& text) {
            const auto bytes = ParseByteSize(text);
            if (!bytes) throw CLI::ValidationError("--ram", bytes.error().message);
            ram_bytes = *bytes;
          },
          "Most memory to take, as 1500MB, 1.5GB or 1400MiB: decides on context, cache type and batch where they are "
          "left "
          "open, or refuses (`carat doctor --plan`)")
      ->type_name("SIZE");
  const std::map<std::string, KvCacheType> kv_types = {{"auto", KvCacheType::kAuto},
                                                       {"f32", KvCacheType::kF32},
                                                       {"f16", KvCacheType::kF16},
                                                       {"int8", KvCacheType::kInt8}};
  command
      .add_option("--kv-type", kv_type,
                  "Type of the cached keys and values: auto, f32, f16, int8 (half of f16, and a little less exact)")
      ->transform(CLI::Validator(
          [kv_types](std::string& word) {
            const auto type = kv_types.find(word);
            if (type == kv_types.end()) return "'" + word + "' is none of auto, f32, f16, int8";
            word = std::to_string(static_cast<int>(type->second));
            return std::string();
          },
          "TYPE"));
}

Result<SessionOptions> MemoryFlags::Plan(Console& console, const std::shared_ptr<const Engine>& engine,
                                         SessionOptions options) const {
  options.kv_type = kv_type;
  if (!ram_bytes) return options;
  const auto plan = PlanMemory(engine, options, ram_bytes);
  if (!plan && plan.error().code == ErrorCode::kDoesNotFit) {
    TRY_ASSIGN(const MemoryPlan smallest, SmallestMemoryPlan(engine, options));
    console.Note(PlanTable(smallest, ram_bytes));
  }
  TRY(plan);
  return plan->session;
}

void SessionFlags::AddTo(CLI::App& command) {
  AddContext(command, context);
  memory.AddTo(command);
  command.add_option("--temperature", temperature,
                     "0: always the likeliest token. Default of this and the next: the model's");
  command.add_option("--top-k", top_k, "Choose among the k likeliest tokens; 0: off");
  command.add_option("--top-p", top_p, "Choose among the likeliest tokens that sum to this probability; 1: off");
  command.add_option("--min-p", min_p, "Leave out tokens less likely than this times the likeliest; 0: off");
  command.add_option("--repetition-penalty", repetition_penalty, "Divides the scores of recent tokens; 1: off");
  command.add_option("--frequency-penalty", frequency_penalty, "Subtracted per recent occurrence; 0: off");
  command.add_option("--presence-penalty", presence_penalty, "Subtracted from recent tokens once; 0: off");
  command.add_option("--seed", seed, "Same seed, same answer; 0 or none: a different one each time")
      ->check(CLI::Validator(IsSeed, "UINT"));
}

SamplingOptions SessionFlags::Sampling(const ModelInfo& info) const {
  SamplingOptions options = info.sampling;
  options.temperature = temperature.value_or(options.temperature);
  options.top_k = top_k.value_or(options.top_k);
  options.top_p = top_p.value_or(options.top_p);
  options.min_p = min_p.value_or(options.min_p);
  options.repetition_penalty = repetition_penalty.value_or(options.repetition_penalty);
  options.frequency_penalty = frequency_penalty.value_or(options.frequency_penalty);
  options.presence_penalty = presence_penalty.value_or(options.presence_penalty);
  options.seed = seed.value_or(options.seed);
  return options;
}

int PlannedTokens(const ModelInfo& info, const MediaOptions& media) {
  return std::max(media.image_tokens != 0 ? media.image_tokens : info.media.image_tokens,
                  media.frame_tokens != 0 ? media.frame_tokens : info.media.frame_tokens);
}

Result<Session> SessionFlags::Create(Console& console, std::shared_ptr<const Engine> engine,
                                     const std::optional<MediaOptions>& media) const {
  SessionOptions options;
  if (media && engine->info().sees && memory.ram_bytes) options.image_tokens = PlannedTokens(engine->info(), *media);
  options.context = context;
  options.logit_batch = 1;  // nothing is asked about a prompt but what comes next
  options.sampling = Sampling(engine->info());
  options.progress = console.Progress();
  TRY_ASSIGN(options, memory.Plan(console, engine, options));
  return Session::Create(std::move(engine), options);
}

Result<std::string> ReadInput(Console& console, const std::string& path) {
  if (path == "-") return console.ReadAll();
  std::ifstream file(path, std::ios::binary);
  if (!file) return Fail(ErrorCode::kUsage, fmt::format("cannot open {}: {}", path, std::strerror(errno)));
  std::string text;
  std::array<char, 65536> buffer;
  while (file.read(buffer.data(), buffer.size()) || file.gcount() > 0)
    text.append(buffer.data(), static_cast<size_t>(file.gcount()));
  if (file.bad()) return Fail(ErrorCode::kUsage, fmt::format("cannot read {}: is it a folder?", path));
  return text;
}

}  // namespace carat::cli
