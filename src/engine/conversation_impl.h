// What a Conversation holds. Shared by the engine room's files.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "carat/conversation.h"
#include "engine/generate.h"
#include "engine/shown_medium.h"
#include "engine/timeline.h"
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
  std::vector<std::shared_ptr<ShownMedium>> media;  // of its parts, in their order

  bool HasRole(std::string_view role) const;
};

// What the model gets to see, and where its part begins.
struct ChatPrompt {
  Timeline tokens;
  text::ReplyStart start = text::ReplyStart::kContent;
};

struct Conversation::Impl {
  explicit Impl(Session the_session) : session(std::move(the_session)) {}

  const text::Tokenizer& tokenizer() const;
  const Json* tools_or_null() const { return tools.is_null() ? nullptr : &tools; }
  size_t CountCalls() const;  // in the whole history
  // The last answer's calls that have no result yet. They point into the history.
  std::vector<const Json*> OpenCalls() const;

  // Adds messages from number `first` on to the history. Errors: of MediaOfMessage.
  Status AddHistory(const Json& messages, size_t first);
  // The system's message and the first `count` of the history, in the form that RenderChat takes.
  Result<Json> MessagesForTemplate(size_t count) const;
  // Errors of the template for the history as it is; nothing is tokenized.
  Status CheckRenders() const;
  // Reads and encodes the media that were not before, if the prompt fits the context. Sets the reply's encode_seconds
  // and media.
  Result<ChatPrompt> MakePrompt(Reply& reply);
  Status EncodeMedia(std::span<ShownMedium* const> media);
  std::vector<ShownMedium*> Media() const;  // of the whole history

  Session session;
  text::ChatFormat format = text::ChatFormat::kGemma4;
  ConversationOptions options;
  Json tools;   // null: none
  Json system;  // the system's message; null: none
  std::vector<ChatMessage> history;
  ChooseToken choose = ChooseBySampling;
};

}  // namespace carat
