// What a Conversation holds. Shared by the engine room's files.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "carat/conversation.h"
#include "engine/generate.h"
#include "text/chat.h"
#include "text/reply_reader.h"
#include "text/tokenizer.h"

namespace carat {

// A message of the history.
struct ChatMessage {
  Json json;  // in the form of the OpenAI API
  // Of an answer that waits for the results of its tool calls: the tokens that the model gave. While the exchange
  // lasts they stay as they are, where rendering the message would reorder arguments and put text behind calls.
  std::vector<TokenId> said;

  bool HasRole(std::string_view role) const;
};

// What the model gets to see, and where its part begins.
struct ChatPrompt {
  std::vector<TokenId> ids;
  text::ReplyStart start = text::ReplyStart::kContent;
};

struct Conversation::Impl {
  explicit Impl(Session the_session) : session(std::move(the_session)) {}

  const text::Tokenizer& tokenizer() const;
  const Json* tools_or_null() const { return tools.is_null() ? nullptr : &tools; }
  size_t CountCalls() const;  // in the whole history
  // The last answer's calls that have no result yet. They point into the history.
  std::vector<const Json*> OpenCalls() const;

  // The system's message and the first `count` of the history, in the form that RenderChat takes.
  Result<Json> MessagesForTemplate(size_t count) const;
  // Errors of the template for the history as it is; nothing is tokenized.
  Status CheckRenders() const;
  Result<ChatPrompt> MakePrompt() const;

  Session session;
  text::ChatFormat format = text::ChatFormat::kGemma4;
  ConversationOptions options;
  Json tools;   // null: none
  Json system;  // the system's message; null: none
  std::vector<ChatMessage> history;
  ChooseToken choose = ChooseBySampling;
};

}  // namespace carat
