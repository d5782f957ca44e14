#include "engine/trace.h"

#include <algorithm>
#include <string_view>

#include "base/try.h"
#include "engine/session_impl.h"

namespace carat {

namespace {

// What the decoder shows, batch by batch, put together by name.
class Recorder {
 public:
  // Rows of a tensor: [n, ...], below those that came before.
  void Add(std::string_view name, std::span<const int64_t> shape, const float* values) {
    int64_t count = 1;
    for (const int64_t extent : shape) count *= extent;
    if (count == 0) return;
    std::copy_n(values, count, Grow(name, shape, count));
  }
  // The same, to be filled in by the caller.
  float* Grow(std::string_view name, std::span<const int64_t> shape, int64_t count) {
    auto tensor = std::ranges::find(tensors_, name, &TraceTensor::name);
    if (tensor == tensors_.end()) {
      tensors_.push_back({.name = std::string(name), .shape = {shape.begin(), shape.end()}, .values = {}, .ids = {}});
      tensor = tensors_.end() - 1;
    } else {
      tensor->shape[0] += shape[0];
    }
    const size_t old_size = tensor->values.size();
    tensor->values.resize(old_size + static_cast<size_t>(count));
    return tensor->values.data() + old_size;
  }
  void AddIds(std::string_view name, std::vector<TokenId> ids) {
    const auto count = static_cast<int64_t>(ids.size());
    tensors_.push_back({.name = std::string(name), .shape = {count}, .values = {}, .ids = std::move(ids)});
  }
  std::vector<TraceTensor> Take() { return std::move(tensors_); }

 private:
  std::vector<TraceTensor> tensors_;
};

// The soft tokens of all pictures, put where the input wants them.
Result<std::vector<SoftRun>> TracePictures(const Engine& engine, const TraceInput& input,
                                           const gemma::TraceSink& show) {
  std::vector<SoftRun> runs;
  size_t next = 0;
  if (!input.pictures.empty()) TRY(engine.impl().CheckSees());
  for (const gemma::PatchGrid& picture : input.pictures) {
    TRY_ASSIGN(const std::shared_ptr<const SoftTokens> tokens, engine.impl().images->Trace(picture, show));
    if (input.ids.empty()) continue;
    for (int64_t i = 0; i < tokens->count; ++i) {
      if (next == input.soft.size())
        return Fail(ErrorCode::kUsage, "the pictures give more soft tokens than the " + std::to_string(next) +
                                           " that the tokens have places for");
      runs.push_back({.position = input.soft[next++], .tokens = tokens, .first = i, .count = 1});
    }
  }
  if (next == input.soft.size()) return runs;
  return Fail(ErrorCode::kUsage, "the pictures give " + std::to_string(next) + " soft tokens, but the tokens have " +
                                     std::to_string(input.soft.size()) + " places for them");
}

Result<Session> CreateSession(std::shared_ptr<const Engine> engine, size_t tokens, const TraceOptions& options) {
  const auto most = static_cast<size_t>(engine->info().max_positions);
  const auto computed = static_cast<size_t>(std::max(options.generate - 1, 0));  // of the new tokens, all but the last
  if (tokens == 0) return Fail(ErrorCode::kUsage, "there are no tokens to trace");
  if (tokens > most || computed > most - tokens)
    return Fail(ErrorCode::kUsage, std::to_string(tokens) + " tokens and " + std::to_string(options.generate) +
                                       " new ones do not fit: the model has " + std::to_string(most) + " positions");
  SessionOptions session;
  session.context = static_cast<int>(tokens + computed);
  session.batch = options.chunk == 0 ? static_cast<int>(tokens) : options.chunk;
  session.logit_batch = session.batch;
  session.kv_type = options.kv_type;
  session.sampling = {.temperature = 0};
  session.progress = options.progress;
  return Session::Create(std::move(engine), session);
}

}  // namespace

Result<std::vector<TraceTensor>> Trace(std::shared_ptr<const Engine> engine, const TraceInput& input,
                                       const TraceOptions& options) {
  Recorder recorder;
  const auto show = [&](std::string_view name, std::span<const int64_t> shape, const float* values) {
    // The per-layer inputs of a batch of one token are complete by chance.
    if (!options.shortcut || name != "ple") recorder.Add(name, shape, values);
  };
  TRY_ASSIGN(const std::vector<SoftRun> soft, TracePictures(*engine, input, show));
  if (input.ids.empty() && !input.pictures.empty()) return recorder.Take();

  TRY_ASSIGN(Session session, CreateSession(std::move(engine), input.ids.size(), options));
  Session::Impl& impl = session.impl();
  const TokenView tokens = {.ids = input.ids, .soft = soft};
  TRY(impl.CheckAppend(tokens));
  const auto add_logits = [&](int64_t /*first*/, int64_t count) {
    const int64_t vocabulary = impl.decoder->model().config.vocabulary;
    if (count > 0) impl.decoder->Logits(0, count, recorder.Grow("logits", {{count, vocabulary}}, count * vocabulary));
  };
  TRY(impl.Run(tokens, /*all_rows=*/!options.shortcut, show, add_logits));

  std::vector<TokenId> generated;
  const auto total = static_cast<uint64_t>(std::max(options.generate, 0));
  while (generated.size() < total) {
    if (!generated.empty()) TRY(session.Append({&generated.back(), 1}));
    TRY_ASSIGN(const TokenId next, session.Sample());
    generated.push_back(next);
    const Progress progress = {.stage = "generate", .done = generated.size(), .total = total};
    if (options.progress && !options.progress(progress) && progress.done < total)
      return Fail(ErrorCode::kInterrupted, "interrupted after " + std::to_string(progress.done) + " generated tokens");
  }
  if (!generated.empty()) recorder.AddIds("greedy_ids", std::move(generated));
  return recorder.Take();
}

Result<std::vector<TraceTensor>> TraceTokens(std::shared_ptr<const Engine> engine, std::span<const TokenId> ids,
                                             const TraceOptions& options) {
  return Trace(std::move(engine), {.ids = {ids.begin(), ids.end()}, .pictures = {}, .soft = {}}, options);
}

}  // namespace carat
