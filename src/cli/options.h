// Options that several commands share, and what they turn into.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "carat/engine.h"
#include "carat/media.h"
#include "carat/session.h"
#include "cli/console.h"

namespace carat::cli {

// MODEL --mmproj --threads --cpu --in-place --exact
struct EngineFlags {
  std::string model, mmproj;
  int threads = 0;
  std::string cpu;
  bool in_place = false;
  bool exact = false;

  void AddTo(CLI::App& command);
  void AddSettings(CLI::App& command);  // all but MODEL
  // Loads the model, with a progress bar.
  Result<std::shared_ptr<const Engine>> Load(Console& console) const;
};

// --ram --kv-type: what decides on the memory of a session.
struct MemoryFlags {
  std::optional<uint64_t> ram_bytes;
  KvCacheType kv_type = KvCacheType::kAuto;

  void AddTo(CLI::App& command);
  // `options` with what these flags decide on. Error: kDoesNotFit, behind a table on stderr.
  Result<SessionOptions> Plan(Console& console, const std::shared_ptr<const Engine>& engine,
                              SessionOptions options) const;
};

// Soft tokens of the largest picture or frame that `media` lets a model see.
int PlannedTokens(const ModelInfo& info, const MediaOptions& media);

// --context --ram --kv-type --temperature --top-k --top-p --min-p --repetition-penalty --frequency-penalty
// --presence-penalty --seed
struct SessionFlags {
  int context = 0;
  MemoryFlags memory;
  std::optional<float> temperature, top_p, min_p, repetition_penalty, frequency_penalty, presence_penalty;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;

  void AddTo(CLI::App& command);
  // The model's own settings, with what the user set instead.
  SamplingOptions Sampling(const ModelInfo& info) const;
  // `media`: how pictures will be seen, if some may come.
  Result<Session> Create(Console& console, std::shared_ptr<const Engine> engine,
                         const std::optional<MediaOptions>& media = std::nullopt) const;
};

// --image-tokens
void AddImageTokens(CLI::App& command, MediaOptions& options);
// --image-tokens --frame-tokens --video-frames --video-fps
void AddMediaOptions(CLI::App& command, MediaOptions& options);
// The media that the user named; "-" is a picture on stdin. Errors: kBadMedia, kUsage.
Result<std::vector<Medium>> OpenMedia(Console& console, std::span<const std::string> files);

// With CARAT_MODEL set, MODEL may be left out before other words: the first of those was then read as MODEL. Returns
// that word, and `model` becomes the environment's; none if there is nothing to exchange.
std::optional<std::string> TakeModelFromEnvironment(std::string& model);
// Is `word` a model rather than the first word of a text? A file or folder, or a name that can only be meant as one.
bool LooksLikeModel(const std::string& word);

// --context
void AddContext(CLI::App& command, int& context);

// For counts: CLI11's own check names a range of 300 digits.
CLI::Validator AtLeastZero();

// A file that the user named; "-" is stdin. Error: kUsage.
Result<std::string> ReadInput(Console& console, const std::string& path);

}  // namespace carat::cli
