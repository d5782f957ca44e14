#include "engine/generate.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "base/try.h"
#include "engine/session_impl.h"
#include "text/loop_guard.h"

namespace carat {

namespace {

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Status CheckMaxTokens(int max_tokens) {
  if (max_tokens >= 0) return {};
  return Fail(ErrorCode::kUsage, "an answer of at most " + std::to_string(max_tokens) +
                                     " tokens; 1 and more would work, or 0 for no limit");
}

Status CheckPromptFits(const Session& session, int64_t tokens) {
  if (tokens < session.context()) return {};
  const int most = session.engine().info().max_positions;
  return Fail(
      ErrorCode::kDoesNotFit,
      "the prompt has " + std::to_string(tokens) + " tokens and leaves no room for an answer: the context holds " +
          std::to_string(session.context()) + "; " +
          (session.context() < most ? "a larger --context (at most " + std::to_string(most) + ") or a shorter one"
                                    : std::string("a shorter one")) +
          " would work");
}

Status Prefill(Session& session, const TokenView& prompt, Reply& reply) {
  const auto start = std::chrono::steady_clock::now();
  TRY(CheckPromptFits(session, prompt.size()));
  const int64_t common = CommonLength(session.impl().tokens.view(), prompt);
  // What a sliding window has forgotten, Truncate computes again.
  const gemma::KvCache& cache = session.impl().decoder->cache();
  const int64_t computed = std::min<int64_t>(common, cache.length());
  reply.prompt_tokens = static_cast<int>(prompt.size());
  reply.reused_tokens = cache.CanTruncate(computed) ? static_cast<int>(computed) : 0;
  TRY(session.Truncate(static_cast<int>(common)));
  TRY(session.impl().Append(prompt.From(common)));
  TRY(session.Logits());
  reply.prefill_seconds = SecondsSince(start);
  return {};
}

Result<std::optional<TokenId>> GenerateTokens(Session& session, int max_tokens, const ChooseToken& choose,
                                              const std::function<bool(TokenId)>& on_token, Reply& reply) {
  const auto start = std::chrono::steady_clock::now();
  text::LoopGuard guard;
  std::optional<TokenId> stop_token;
  for (std::optional<StopReason> stop; !stop;) {
    TRY_ASSIGN(const TokenId token, choose(session));
    if (session.engine().IsStop(token)) {
      stop_token = token;
      stop = StopReason::kEndOfTurn;
    } else if (session.length() == session.context()) {
      stop = StopReason::kContextFull;  // not before: an answer that fits exactly is whole
    } else {
      ++reply.answer_tokens;
      if (!on_token(token)) {
        stop = StopReason::kCancelled;
      } else if (guard.Push(token)) {
        stop = StopReason::kLoop;
      } else if (reply.answer_tokens == max_tokens) {
        stop = StopReason::kMaxTokens;
      }
      // Of a last token nobody wants the logits, unless the session goes on.
      TRY(stop ? session.impl().AppendForLater(token) : session.Append({&token, 1}));
      if (!stop) ++reply.decoded_tokens;
    }
    if (stop) reply.stop = *stop;
  }
  reply.decode_seconds = SecondsSince(start);
  return stop_token;
}

}  // namespace carat
