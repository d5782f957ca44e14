#include "carat/session.h"

#include <algorithm>
#include <string>

#include "base/aligned_buffer.h"
#include "base/check.h"
#include "base/try.h"
#include "engine/session_impl.h"

namespace carat {

namespace {

constexpr int kDefaultContext = 8192;
// Rows of logits that are computed at a time when all are asked for: a row is a megabyte, the head is read once for
// them.
constexpr int64_t kLogitRows = 16;

kernels::KvType ChooseKvType(KvCacheType type, const Engine::Impl& engine) {
  if (type == KvCacheType::kInt8) return kernels::KvType::kI8;
  if (type == KvCacheType::kF32) return kernels::KvType::kF32;
  if (type == KvCacheType::kF16) return kernels::KvType::kF16;
  return engine.model.has_blocks && !engine.context.exact ? kernels::KvType::kF16 : kernels::KvType::kF32;
}

// Of runs that a caller gives.
Status CheckSoft(const TokenView& added, int64_t hidden) {
  int64_t free_from = 0;
  for (const SoftRun& run : added.soft) {
    const bool within = run.position >= free_from && run.count > 0 && run.count <= added.size() &&
                        run.position <= added.size() - run.count;
    if (!within)
      return Fail(ErrorCode::kUsage, "a run of " + std::to_string(run.count) + " soft tokens at " +
                                         std::to_string(run.position) +
                                         " does not lie among the tokens that are appended, behind the run before");
    free_from = run.position + run.count;
    if (run.tokens == nullptr || run.first < 0 || run.first > run.tokens->count - run.count)
      return Fail(ErrorCode::kUsage, "a run of soft tokens takes more than there are");
    if (static_cast<int64_t>(run.tokens->vectors.size()) != run.tokens->count * hidden)
      return Fail(ErrorCode::kUsage,
                  "soft tokens of another width than the model's, which is " + std::to_string(hidden));
  }
  return {};
}

}  // namespace

Result<Session> Session::Create(std::shared_ptr<const Engine> engine, const SessionOptions& options) {
  CHECK(engine != nullptr);
  const int max_positions = engine->info().max_positions;
  const int context = options.context == 0 ? std::min(max_positions, kDefaultContext) : options.context;
  if (context < 1 || context > max_positions)
    return Fail(ErrorCode::kUsage, "a context of " + std::to_string(context) + " tokens; this model takes 1 to " +
                                       std::to_string(max_positions));
  if (options.batch < 1 || options.batch > 65536)
    return Fail(ErrorCode::kUsage, "a batch of " + std::to_string(options.batch) + " tokens; 1 to 65536 would work");
  if (options.logit_batch < 1)
    return Fail(ErrorCode::kUsage,
                "a batch of " + std::to_string(options.logit_batch) + " tokens with logits; 1 and more would work");
  TRY(sample::CheckSampling(options.sampling));
  auto impl = std::make_unique<Impl>(options.sampling);
  impl->engine = std::move(engine);
  impl->progress = options.progress;
  impl->context = context;
  impl->batch = std::min(options.batch, context);
  impl->logit_batch = std::min(options.logit_batch, impl->batch);
  impl->image_tokens = options.image_tokens;
  impl->image_pixels = options.image_pixels;
  impl->keep_tower = options.keep_tower;
  const Engine::Impl& parts = impl->engine->impl();
  const kernels::KvType kv_type = ChooseKvType(options.kv_type, parts);
  TRY_ASSIGN(impl->decoder, gemma::Decoder::Create(parts.model, parts.context,
                                                   {.kv_type = kv_type,
                                                    .context = context,
                                                    .max_batch = impl->batch,
                                                    .copy_weights = options.copy_weights,
                                                    .max_keep = impl->logit_batch}));
  impl->logits.Reserve(static_cast<size_t>(parts.model.config.vocabulary));
  for (Timeline* tokens : {&impl->tokens, &impl->queue}) tokens->Reserve(context);
  impl->segments.reserve(1);
  impl->sampler.Reserve(static_cast<size_t>(parts.model.config.vocabulary));
  return Session(std::move(impl));
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::Session(Session&&) noexcept = default;
Session& Session::operator=(Session&&) noexcept = default;
Session::~Session() = default;

MemoryUse Session::Impl::Scratch() const {
  MemoryUse use = decoder->scratch();
  use += logits.memory();
  for (const Timeline* timeline : {&tokens, &queue}) use += timeline->memory();
  return use += sampler.memory();
}

Status Session::Impl::CheckAppend(const TokenView& added) const {
  const std::span<const TokenId> ids = added.ids;
  const int64_t vocabulary = engine->impl().model.config.vocabulary;
  for (const TokenId id : ids)
    if (id < 0 || id >= vocabulary)
      return Fail(ErrorCode::kUsage, "the token id " + std::to_string(id) + " is outside of the vocabulary of " +
                                         std::to_string(vocabulary));
  if (added.size() > context - tokens.size())
    return Fail(ErrorCode::kDoesNotFit, std::to_string(ids.size()) + " tokens do not fit: the context holds " +
                                            std::to_string(context) + ", and " + std::to_string(tokens.size()) +
                                            " are in use; a larger --context (at most " +
                                            std::to_string(engine->info().max_positions) + ") would work");
  return {};
}

Status Session::Impl::Run(const TokenView& added, bool all_rows, const gemma::TraceSink& trace,
                          const std::function<void(int64_t first, int64_t count)>& on_rows) {
  logits_valid = hidden_valid = false;
  const int64_t total = added.size(), most = all_rows ? logit_batch : batch;
  // True if the work is to go on.
  const auto report = [&](int64_t done) {
    return !progress || total <= most ||
           progress({.stage = "prefill", .done = static_cast<uint64_t>(done), .total = static_cast<uint64_t>(total)});
  };
  const auto interrupted = [total](int64_t done) {
    return Fail(ErrorCode::kInterrupted, "the prompt was interrupted after " + std::to_string(done) + " of " +
                                             std::to_string(total) + " tokens");
  };
  if (!report(0)) return interrupted(0);
  for (int64_t done = 0; done < total;) {
    const TokenView part = added.Part(done, std::min(total - done, most));
    const int64_t count = part.size();
    const bool last = done + count == total;
    const int keep = all_rows ? static_cast<int>(count) : (last ? 1 : 0);
    CutIntoSegments(part, segments);
    TRY(decoder->Run(segments, keep, trace));
    tokens.Append(part);
    if (on_rows) on_rows(done, keep);
    done += count;
    hidden_valid = keep > 0;
    if (!report(done) && done < total) return interrupted(done);
  }
  return {};
}

Status Session::Impl::AppendForLater(TokenId id) {
  CHECK(!last_waits());
  const TokenView added = {.ids = {&id, 1}, .soft = {}};
  TRY(CheckAppend(added));
  tokens.Append(added);
  logits_valid = hidden_valid = false;
  return {};
}

Status Session::Append(std::span<const TokenId> ids, std::span<const SoftRun> soft) {
  const TokenView added = {.ids = ids, .soft = soft};
  TRY(CheckSoft(added, impl_->engine->impl().model.config.hidden));
  return impl_->Append(added);
}

Status Session::Impl::Append(const TokenView& added) {
  TRY(CheckAppend(added));
  if (!last_waits()) return Run(added, /*all_rows=*/false, {}, {});
  queue.Clear();
  queue.Append(tokens.view().From(tokens.size() - 1));
  queue.Append(added);
  tokens.Truncate(tokens.size() - 1);
  const int64_t computed = tokens.size();
  Status status = Run(queue.view(), /*all_rows=*/false, {}, {});
  if (tokens.size() == computed) tokens.Append(queue.view().Part(0, 1));  // interrupted: it waits on
  return status;
}

Status Session::AppendWithLogits(std::span<const TokenId> ids,
                                 const std::function<void(int64_t, std::span<const float>)>& rows) {
  const TokenView added = {.ids = ids, .soft = {}};
  TRY(impl_->CheckAppend(added));
  if (impl_->last_waits()) TRY(Append({}));
  const auto vocabulary = static_cast<size_t>(impl_->engine->impl().model.config.vocabulary);
  AlignedBuffer<float> logits(vocabulary * kLogitRows);
  return impl_->Run(added, /*all_rows=*/true, {}, [&](int64_t first, int64_t count) {
    for (int64_t done = 0; done < count; done += kLogitRows) {
      const int64_t part = std::min(kLogitRows, count - done);
      impl_->decoder->Logits(done, part, logits.data());
      rows(first + done, {logits.data(), vocabulary * static_cast<size_t>(part)});
    }
  });
}

Result<std::span<const float>> Session::Logits() {
  Impl& it = *impl_;
  if (it.tokens.size() == 0)
    return Fail(ErrorCode::kUsage, "a session without tokens has no logits; append a BOS first");
  if (!it.hidden_valid) {  // after a rollback, or an interrupted prompt, or where it waits: compute the last token
    Timeline last;
    last.Append(it.tokens.view().From(it.tokens.size() - 1));
    TRY(Truncate(length() - 1));
    const Status status = it.Run(last.view(), /*all_rows=*/false, {}, {});
    if (!status) it.tokens.Append(last.view());  // it waits, as it may have before
    TRY(status);
  }
  const auto hidden_rows = static_cast<int64_t>(it.decoder->hidden().size()) / it.engine->impl().model.config.hidden;
  if (!it.logits_valid) it.decoder->Logits(hidden_rows - 1, 1, it.logits.data());
  it.logits_valid = true;
  return std::span<const float>(it.logits.data(), static_cast<size_t>(it.engine->impl().model.config.vocabulary));
}

Result<TokenId> Session::Sample() {
  TRY_ASSIGN(const std::span<const float> logits, Logits());
  return impl_->sampler.Sample(logits, impl_->tokens.ids());
}

Status Session::Truncate(int length) {
  Impl& it = *impl_;
  if (length < 0 || length > this->length())
    return Fail(ErrorCode::kUsage,
                "cannot go back to " + std::to_string(length) + " tokens: there are " + std::to_string(this->length()));
  if (length == this->length()) return {};
  it.logits_valid = it.hidden_valid = false;
  if (it.decoder->cache().CanTruncate(length)) {
    it.decoder->cache().Truncate(length);
    it.tokens.Truncate(length);
    return {};
  }
  // The sliding windows have forgotten what comes before `length`: compute it again.
  it.queue.Clear();
  it.queue.Append(it.tokens.view().Part(0, length));
  it.decoder->cache().Truncate(0);
  it.tokens.Clear();
  return it.Run(it.queue.view(), /*all_rows=*/false, {}, {});
}

std::span<const TokenId> Session::tokens() const { return impl_->tokens.ids(); }
std::span<const SoftRun> Session::soft_tokens() const { return impl_->tokens.soft(); }
int Session::length() const { return static_cast<int>(impl_->tokens.size()); }
int Session::context() const { return impl_->context; }
const Engine& Session::engine() const { return *impl_->engine; }
const SamplingOptions& Session::sampling() const { return impl_->sampler.options(); }
uint64_t Session::seed() const { return impl_->sampler.seed(); }
void Session::set_progress(ProgressCallback progress) { impl_->progress = std::move(progress); }
uint64_t Session::kv_bytes() const { return impl_->decoder->cache().resident_bytes(); }
uint64_t Session::scratch_bytes() const { return impl_->Scratch().resident; }

Status Session::set_sampling(const SamplingOptions& options) {
  TRY(sample::CheckSampling(options));
  impl_->sampler.set_options(options);
  return {};
}

}  // namespace carat
