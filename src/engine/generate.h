// The loop in which a session speaks, token by token. Conversations and plain continuation share it.
#pragma once

#include <functional>
#include <optional>
#include <span>

#include "carat/conversation.h"
#include "carat/session.h"
#include "engine/timeline.h"

namespace carat {

// Where the next token comes from. Tests put words into the model's mouth with it.
using ChooseToken = std::function<Result<TokenId>(Session&)>;
inline Result<TokenId> ChooseBySampling(Session& session) { return session.Sample(); }

Status CheckMaxTokens(int max_tokens);  // kUsage

// Error: kDoesNotFit, with the numbers, if a prompt of so many tokens would leave no room for an answer.
Status CheckPromptFits(const Session& session, int64_t tokens);

// Makes the session's tokens equal to `prompt`, computing only what comes after the longest common prefix, and the
// logits of the last one, since an answer follows. Sets the reply's prompt_tokens, reused_tokens and prefill_seconds.
// Error: that of CheckPromptFits, before anything changes; kInterrupted.
Status Prefill(Session& session, const TokenView& prompt, Reply& reply);

// Chooses and appends tokens until something ends the answer, and says so in the reply's stop, with answer_tokens and
// decoded_tokens and decode_seconds. Every token appended was handed to on_token first, which returns false to stop
// (kCancelled). Returned is the token that ended the answer, if one did: it is neither appended nor handed over nor
// counted.
Result<std::optional<TokenId>> GenerateTokens(Session& session, int max_tokens, const ChooseToken& choose,
                                              const std::function<bool(TokenId)>& on_token, Reply& reply);

}  // namespace carat
