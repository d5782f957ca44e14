#include <string>
#include <utility>
#include <vector>

#include "base/try.h"
#include "carat/conversation.h"
#include "engine/engine_impl.h"
#include "engine/generate.h"

namespace carat {

Result<Reply> ContinueText(Session& session, std::string_view text, int max_tokens, const ReplyCallback& on_event) {
  TRY(CheckMaxTokens(max_tokens));
  const Engine& engine = session.engine();
  TRY_ASSIGN(const std::vector<TokenId> more, engine.Tokenize(text));
  std::vector<TokenId> ids(session.tokens().begin(), session.tokens().end());
  if (ids.empty() && engine.bos_id() >= 0) ids.push_back(engine.bos_id());
  ids.insert(ids.end(), more.begin(), more.end());

  Reply reply;
  TRY(Prefill(session, ids, reply));
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
