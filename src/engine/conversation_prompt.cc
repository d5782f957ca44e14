// From the history of a conversation to the tokens that the model gets to see.
//
// They are those of the model's chat template, with one exception: while an exchange with tools goes on, the tokens
// that the model gave stay as they are, and results are put behind them. What is seen is then what happened, in its
// true order, and stays in the cache. When the user speaks again the exchange is rendered like everything else, without
// its thoughts.
#include <optional>
#include <utility>

#include "base/try.h"
#include "engine/conversation_impl.h"
#include "engine/engine_impl.h"
#include "text/chat_ids.h"
#include "text/chat_values.h"

namespace carat {

namespace {

using text::ChatSegment;

Status CheckNoMedia(std::span<const ChatSegment> segments) {
  for (const ChatSegment& segment : segments) {
    if (segment.kind != ChatSegment::Kind::kText && segment.kind != ChatSegment::Kind::kControl) {
      return Fail(ErrorCode::kUsage, "the messages have an image, audio or video; this version takes text only");
    }
  }
  return {};
}

// `{..., "content": text, "tool_calls": [...]}` as two messages: what was said, and then the calls. The template would
// write the text behind the results of the calls, and close the turn that the model is to go on with.
std::optional<Json> TakeContentBeforeCalls(Json& message) {
  if (!text::Is(text::Member(&message, "role"), "assistant") || !text::IsTrue(text::Member(&message, "content")) ||
      !text::IsTrue(text::Member(&message, "tool_calls"))) {
    return std::nullopt;
  }
  Json before = {{"role", "assistant"}, {"content", std::move(message["content"])}};
  message.erase("content");
  for (const char* key : {"reasoning", "reasoning_content"}) {
    if (!message.contains(key)) continue;
    before[key] = std::move(message[key]);
    message.erase(key);
  }
  return before;
}

// Where the running exchange begins: the first of the answers at the end whose tokens are known and whose results
// follow. The history's size if there is none.
size_t BeginOfExchange(std::span<const ChatMessage> history) {
  size_t begin = history.size();
  for (;;) {
    size_t answer = begin;
    while (answer > 0 && history[answer - 1].HasRole("tool")) --answer;
    if (answer == begin || answer == 0 || history[answer - 1].said.empty()) return begin;
    begin = answer - 1;
  }
}

// Appends the tokens of `segments`; an answer may follow.
Status AppendSegments(std::span<const ChatSegment> segments, const text::Tokenizer& tokenizer, ChatPrompt& prompt) {
  TRY(CheckNoMedia(segments));
  TRY_ASSIGN(const std::vector<TokenId> ids, text::EncodeSegments(tokenizer, segments));
  prompt.ids.insert(prompt.ids.end(), ids.begin(), ids.end());
  prompt.start = text::StartAfter(segments);
  return {};
}

}  // namespace

bool ChatMessage::HasRole(std::string_view role) const { return text::Is(text::Member(&json, "role"), role); }

Result<Json> Conversation::Impl::MessagesForTemplate(size_t count) const {
  size_t last_user = 0;
  for (size_t i = 0; i < count; ++i)
    if (history[i].HasRole("user")) last_user = i;
  Json messages = Json::array();
  if (!system.is_null()) messages.push_back(system);
  for (size_t i = 0; i < count; ++i) {
    Json message = history[i].json;
    std::optional<Json> before = i > last_user ? TakeContentBeforeCalls(message) : std::nullopt;
    if (before) messages.push_back(std::move(*before));
    messages.push_back(std::move(message));
  }
  TRY(text::NormalizeMessages(messages));
  return messages;
}

Status Conversation::Impl::CheckRenders() const {
  TRY_ASSIGN(const Json messages, MessagesForTemplate(history.size()));
  TRY_ASSIGN(
      const std::vector<ChatSegment> segments,
      text::RenderChat(format, {.messages = &messages, .tools = tools_or_null(), .enable_thinking = options.think}));
  return CheckNoMedia(segments);
}

Result<ChatPrompt> Conversation::Impl::MakePrompt() const {
  ChatPrompt prompt;
  const size_t begin = BeginOfExchange(history);
  TRY_ASSIGN(const Json messages, MessagesForTemplate(begin));
  TRY_ASSIGN(
      const std::vector<ChatSegment> segments,
      text::RenderChat(format, {.messages = &messages, .tools = tools_or_null(), .enable_thinking = options.think}));
  TRY(AppendSegments(segments, tokenizer(), prompt));
  for (size_t i = begin; i < history.size();) {
    const ChatMessage& answer = history[i];
    prompt.ids.insert(prompt.ids.end(), answer.said.begin(), answer.said.end());
    Json results = Json::array();
    for (++i; i < history.size() && history[i].HasRole("tool"); ++i) results.push_back(history[i].json);
    TRY_ASSIGN(const std::vector<ChatSegment> responses,
               text::RenderToolResponses({.tool_calls = text::Member(&answer.json, "tool_calls"),
                                          .messages = &results,
                                          .enable_thinking = options.think}));
    TRY(AppendSegments(responses, tokenizer(), prompt));
  }
  return prompt;
}

}  // namespace carat
