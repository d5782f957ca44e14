#include <string>
#include <utility>
#include <vector>

#include "base/try.h"
#include "carat/conversation.h"
#include "engine/engine_impl.h"
#include "engine/generate.h"
#include "engine/session_impl.h"

namespace carat {

Result<Reply> ContinueText(Session& session, std::string_view text, int max_tokens, const ReplyCallback& on_event) {
  TRY(CheckMaxTokens(max_tokens));
  const Engine& engine = session.engine();
  TRY_ASSIGN(const std::vector<TokenId> more, engine.Tokenize(text));
  Timeline prompt;
  prompt.Append(session.impl().tokens.view());
  const TokenId bos = engine.bos_id();
  if (prompt.size() == 0 && bos >= 0) prompt.Append({.ids = {&bos, 1}, .soft = {}});
  prompt.Append({.ids = more, .soft = {}});

  Reply reply;
  TRY(Prefill(session, prompt.view(), reply));
  text::StreamDecoder decoder(*engine.impl().tokenizer, /*control=*/false);
  const auto give_out = [&](const std::string& piece) {
    reply.text += piece;
    return !on_event || on_event({.kind = ReplyEvent::Kind::kText, .text = piece});
  };
  TRY(GenerateTokens(
      session, max_tokens, ChooseBySampling, [&](TokenId token) { return give_out(decoder.Push(token)); }, reply));
  const std::string rest = decoder.Finish();
  if (reply.stop == StopReason::kCancelled) {
    reply.text += rest;
  } else if (!rest.empty()) {
    give_out(rest);
  }
  return reply;
}

}  // namespace carat
