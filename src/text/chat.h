// From a conversation in JSON to what enters the tokenizer. Equal, character for character, to what the model's
// published chat template gives; but as typed segments, so that text from outside can never become a control token.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "carat/result.h"

namespace carat::text {

// A piece of a prompt.
struct ChatSegment {
  enum class Kind {
    kText,     // to be tokenized without control tokens; segments that follow each other are one input of the tokenizer
    kControl,  // one control token, by its string
    // The place of a medium, in the order of the messages' parts; `text` is the format's placeholder.
    kImage,
    kAudio,
    kVideo
  };
  Kind kind = Kind::kText;
  std::string text;
  int64_t count = 1;  // of a medium: how many soft tokens it takes
  bool operator==(const ChatSegment&) const = default;
  bool is_medium() const { return kind != Kind::kText && kind != Kind::kControl; }
};

enum class ChatFormat {
  kGemma4,  // E2B and E4B, as published in July 2026
  kGemma3   // no system turn, tools or thinking
};

struct ChatRequest {
  // A list of messages: role, content (text, or a list of parts), and where they apply reasoning or reasoning_content,
  // tool_calls (arguments as an object, see NormalizeMessages), tool_responses, tool_call_id, name.
  const Json* messages = nullptr;
  const Json* tools = nullptr;  // a list of {"type": "function", "function": {...}}, or null
  bool add_generation_prompt = true;
  bool enable_thinking = false;
  bool preserve_thinking = false;  // keep the reasoning before tool calls of finished exchanges
};

// Errors: kUsage, naming the message or tool, where the template raises an error, and for nesting beyond
// kMaxChatNesting. Gemma 3's format also refuses tools and thinking, which its template would drop without a word.
Result<std::vector<ChatSegment>> RenderChat(ChatFormat format, const ChatRequest& request);

// What follows a model turn that ended in tool calls, as RenderChat writes it inside a conversation: one response block
// per message and, when thinking, the opener of the next thought (the reply then starts inside it). With this the
// tokens that the model generated stay in the cache, in their true order.
struct ToolResponses {
  const Json* tool_calls = nullptr;  // of the assistant message; their ids name the responses
  const Json* messages = nullptr;    // the tool messages, a list
  bool opener_in_cache = false;  // the model generated <|tool_response> and it was computed: leave out the first one
  bool enable_thinking = false;
};
// Gemma 4 only. Error: kUsage.
Result<std::vector<ChatSegment>> RenderToolResponses(const ToolResponses& responses);

// The segments as one string: the template's output.
std::string SegmentsToText(std::span<const ChatSegment> segments);

// Brings messages as OpenAI clients send them into the form that RenderChat takes: arguments of tool calls that are
// JSON text become the object ("" becomes {}). Error: kUsage, naming the message.
Status NormalizeMessages(Json& messages);

}  // namespace carat::text
