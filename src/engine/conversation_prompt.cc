// From the history of a conversation to the tokens that the model gets to see.
//
// They are those of the model's chat template, with one exception: while an exchange with tools goes on, the tokens
// that the model gave stay as they are, and results are put behind them. What is seen is then what happened, in its
// true order, and stays in the cache. When the user speaks again the exchange is rendered like everything else, without
// its thoughts.
#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "base/try.h"
#include "engine/conversation_impl.h"
#include "engine/engine_impl.h"
#include "engine/prompt_builder.h"
#include "engine/session_impl.h"
#include "text/chat_ids.h"
#include "text/chat_values.h"

namespace carat {

namespace {

using text::ChatSegment;

// Whether the template has placed every medium of the messages, each by a segment of its kind.
Status CheckPlaces(std::span<const ChatSegment> segments, std::span<ShownMedium* const> media) {
  size_t next = 0;
  for (const ChatSegment& segment : segments) {
    if (!segment.is_medium()) continue;
    const bool video = segment.kind == ChatSegment::Kind::kVideo;
    if (next == media.size() || segment.kind == ChatSegment::Kind::kAudio ||
        (media[next]->kind() == Medium::Kind::kVideo) != video)
      return Fail(ErrorCode::kUsage, "the messages have media that their roles cannot bring");
    ++next;
  }
  if (next == media.size()) return {};
  return Fail(ErrorCode::kUsage,
              "a picture or video stands where the chat format has no place for it; user messages do");
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

// Whether the memory plan of a session, if it has one, holds for the medium.
Status CheckPlanned(const ShownMedium& medium, int image_tokens) {
  if (image_tokens == 0 || medium.frame_tokens() <= image_tokens) return {};
  return Fail(ErrorCode::kDoesNotFit, medium.report().name + ": is seen as " + std::to_string(medium.frame_tokens()) +
                                          " soft tokens, but the memory is planned for " +
                                          std::to_string(image_tokens) +
                                          "; fewer of them or a session without a plan would work");
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
  return CheckPlaces(segments, Media());
}

std::vector<ShownMedium*> Conversation::Impl::Media() const {
  std::vector<ShownMedium*> media;
  for (const ChatMessage& message : history)
    for (const auto& medium : message.media) media.push_back(medium.get());
  return media;
}

// Tower and decoder take turns in the memory where the plan says so.
Status Conversation::Impl::EncodeMedia(std::span<ShownMedium* const> media) {
  const Engine::Impl& engine = session.engine().impl();
  const bool swap = !session.impl().keep_tower && !std::ranges::all_of(media, &ShownMedium::encoded);
  if (swap) Release(engine.weight_pages);
  Status status;
  for (ShownMedium* medium : media)
    if (status) status = medium->Encode(*engine.images, session.impl().progress);
  if (swap) engine.images->Drop();
  return status;
}

Result<ChatPrompt> Conversation::Impl::MakePrompt(Reply& reply) {
  const auto start = std::chrono::steady_clock::now();
  const Engine::Impl& engine = session.engine().impl();
  const std::vector<ShownMedium*> media = Media();
  if (!media.empty()) TRY(engine.CheckSees());
  const MediaOptions wanted = engine.Complete(options.media);
  media::ImageLimits limits;
  if (session.impl().image_pixels != 0) {
    limits.pixels = std::min(limits.pixels, session.impl().image_pixels);
    limits.advice = "make it smaller, or plan with more memory (--ram)";
  }
  int64_t soft_tokens = 0;
  for (ShownMedium* medium : media) {
    TRY(medium->Examine(*engine.images, wanted, limits));
    TRY(CheckPlanned(*medium, session.impl().image_tokens));
    // Pictures wait as pixels until they are encoded: no more of them than there can be in a prompt.
    soft_tokens += medium->report().tokens;
    TRY(CheckPromptFits(session, soft_tokens));
  }

  PromptBuilder builder(tokenizer(), media);
  const size_t begin = BeginOfExchange(history);
  TRY_ASSIGN(const Json messages, MessagesForTemplate(begin));
  TRY_ASSIGN(
      const std::vector<ChatSegment> segments,
      text::RenderChat(format, {.messages = &messages, .tools = tools_or_null(), .enable_thinking = options.think}));
  TRY(builder.Add(segments));
  for (size_t i = begin; i < history.size();) {
    const ChatMessage& answer = history[i];
    builder.Add(answer.said);
    Json results = Json::array();
    for (++i; i < history.size() && history[i].HasRole("tool"); ++i) results.push_back(history[i].json);
    TRY_ASSIGN(const std::vector<ChatSegment> responses,
               text::RenderToolResponses({.tool_calls = text::Member(&answer.json, "tool_calls"),
                                          .messages = &results,
                                          .enable_thinking = options.think}));
    TRY(builder.Add(responses));
  }
  TRY(CheckPromptFits(session, builder.size()));
  TRY(EncodeMedia(media));
  for (const ShownMedium* medium : media) reply.media.push_back(medium->report());
  if (!media.empty())
    reply.encode_seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return ChatPrompt{.tokens = builder.Finish(), .start = builder.start()};
}

}  // namespace carat
