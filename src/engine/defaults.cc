#include "engine/defaults.h"

#include <algorithm>
#include <string>

#include "base/try.h"
#include "gemma/image_input.h"
#include "gemma/video_input.h"
#include "sample/sampler.h"

namespace carat {

namespace {

// Strings of the tokens that end a model's turn, in Gemma 4 and Gemma 3. Looked up in the tokenizer; a piece that is
// ordinary text there does not count.
constexpr const char* kStopPieces[] = {"<eos>", "<turn|>", "<|tool_response>", "<end_of_turn>"};

Status CheckSampling(const SamplingOptions& sampling, const std::string& where) {
  const Status status = sample::CheckSampling(sampling);
  if (!status) return Fail(ErrorCode::kBadModel, where + ": " + status.error().message);
  return {};
}

// From whatever has look-ups by key. Each container spells the keys in its own way.
struct SamplingKeys {
  const char *temperature, *top_k, *top_p, *min_p;
};
template <typename Source>
Status ReadSampling(const Source& source, const SamplingKeys& keys, const std::string& where,
                    SamplingOptions& sampling) {
  TRY_ASSIGN(const double temperature, source.FloatOr(keys.temperature, sampling.temperature));
  TRY_ASSIGN(const int64_t top_k, source.IntegerOr(keys.top_k, sampling.top_k, 0, 1 << 24));
  TRY_ASSIGN(const double top_p, source.FloatOr(keys.top_p, sampling.top_p));
  TRY_ASSIGN(const double min_p, source.FloatOr(keys.min_p, sampling.min_p));
  sampling.temperature = static_cast<float>(temperature);
  sampling.top_k = static_cast<int>(top_k);
  sampling.top_p = static_cast<float>(top_p);
  sampling.min_p = static_cast<float>(min_p);
  return CheckSampling(sampling, where);
}

Status ReadHf(const formats::HfFolder& folder, int64_t vocabulary, GenerationDefaults& out) {
  const JsonObject config = folder.GenerationConfig();
  constexpr SamplingKeys kKeys = {"temperature", "top_k", "top_p", "min_p"};
  TRY(ReadSampling(config, kKeys, config.where, out.sampling));
  if (config.Has("eos_token_id")) {
    TRY_ASSIGN(const std::vector<int64_t> ids, config.Integers("eos_token_id", 0, vocabulary - 1));
    for (const int64_t id : ids) out.stop_ids.push_back(static_cast<TokenId>(id));
  }
  return {};
}

Status ReadGguf(const formats::GgufMetadata& metadata, int64_t vocabulary, GenerationDefaults& out) {
  constexpr SamplingKeys kKeys = {"general.sampling.temp", "general.sampling.top_k", "general.sampling.top_p",
                                  "general.sampling.min_p"};
  TRY(ReadSampling(metadata, kKeys, metadata.file_name + ": general.sampling", out.sampling));
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    TRY_ASSIGN(const int64_t id, metadata.IntegerOr(key, -1, -1, vocabulary - 1));
    if (id >= 0) out.stop_ids.push_back(static_cast<TokenId>(id));
  }
  return {};
}

}  // namespace

Result<GenerationDefaults> ReadGenerationDefaults(const formats::Checkpoint& checkpoint, int64_t vocabulary,
                                                  const text::Tokenizer* tokenizer) {
  GenerationDefaults out;
  TRY(checkpoint.hf() != nullptr ? ReadHf(*checkpoint.hf(), vocabulary, out)
                                 : ReadGguf(*checkpoint.gguf(), vocabulary, out));
  if (tokenizer != nullptr) {
    if (tokenizer->eos() >= 0) out.stop_ids.push_back(tokenizer->eos());
    for (const char* piece : kStopPieces) {
      const std::optional<TokenId> id = tokenizer->Find(piece);
      if (id && tokenizer->Kind(*id) != text::PieceKind::kNormal) out.stop_ids.push_back(*id);
    }
  }
  std::ranges::sort(out.stop_ids);
  out.stop_ids.erase(std::unique(out.stop_ids.begin(), out.stop_ids.end()), out.stop_ids.end());
  std::erase_if(out.stop_ids, [&](TokenId id) { return id >= vocabulary; });
  return out;
}

Result<MediaOptions> ReadMediaDefaults(const formats::Checkpoint& checkpoint) {
  MediaOptions media = {.image_tokens = gemma::kDefaultImageBudget,
                        .frame_tokens = gemma::kDefaultFrameBudget,
                        .video_frames = gemma::kDefaultVideoFrames};
  if (checkpoint.hf() == nullptr) return media;
  const JsonObject config = checkpoint.hf()->ProcessorConfig();
  const auto read = [&](const char* part, const char* key, int64_t most, int& value) -> Status {
    if (!config.Has(part)) return {};
    TRY_ASSIGN(const JsonObject object, config.Object(part));
    TRY_ASSIGN(const int64_t number, object.IntegerOr(key, value, 1, most));
    value = static_cast<int>(number);
    return {};
  };
  constexpr int64_t kMostTokens = gemma::kImageBudgets.back();
  TRY(read("image_processor", "max_soft_tokens", kMostTokens, media.image_tokens));
  TRY(read("video_processor", "max_soft_tokens", kMostTokens, media.frame_tokens));
  TRY(read("video_processor", "num_frames", gemma::kMaxSampledFrames, media.video_frames));
  for (const int tokens : {media.image_tokens, media.frame_tokens}) {
    if (std::ranges::find(gemma::kImageBudgets, tokens) == gemma::kImageBudgets.end())
      return Fail(ErrorCode::kBadModel, config.where + ": max_soft_tokens is " + std::to_string(tokens) +
                                            "; 70, 140, 280, 560 or 1120 would work");
  }
  return media;
}

}  // namespace carat
