#include "text/chat.h"

#include "base/try.h"
#include "text/chat_gemma.h"
#include "text/chat_json.h"
#include "text/chat_values.h"

namespace carat::text {

Result<std::vector<ChatSegment>> RenderChat(ChatFormat format, const ChatRequest& request) {
  if (request.messages == nullptr || !request.messages->is_array()) {
    return Fail(ErrorCode::kUsage, "messages must be a list");
  }
  if (!NestedAtMost(*request.messages, kMaxChatNesting)) {
    return Fail(ErrorCode::kUsage, "messages are nested deeper than " + std::to_string(kMaxChatNesting) + " levels");
  }
  if (request.tools != nullptr && !NestedAtMost(*request.tools, kMaxChatNesting)) {
    return Fail(ErrorCode::kUsage, "tools are nested deeper than " + std::to_string(kMaxChatNesting) + " levels");
  }
  return format == ChatFormat::kGemma3 ? RenderGemma3(request) : RenderGemma4(request);
}

std::string SegmentsToText(std::span<const ChatSegment> segments) {
  std::string text;
  for (const ChatSegment& segment : segments)
    for (int64_t i = 0; i < segment.count; ++i) text += segment.text;
  return text;
}

Status NormalizeMessages(Json& messages) {
  if (!messages.is_array()) return Fail(ErrorCode::kUsage, "messages must be a list");
  for (size_t i = 0; i < messages.size(); ++i) {
    Json& message = messages[i];
    if (!message.is_object() || !message.contains("tool_calls") || !message["tool_calls"].is_array()) continue;
    for (Json& call : message["tool_calls"]) {
      if (!call.is_object() || !call.contains("function") || !call["function"].is_object()) continue;
      Json& function = call["function"];
      if (!function.contains("arguments") || !function["arguments"].is_string()) continue;
      Json& arguments = function["arguments"];
      const std::string where = "message " + std::to_string(i) + ": the arguments of a tool call";
      if (Strip(arguments.get_ref<const std::string&>()).empty()) {
        arguments = Json::object();
        continue;
      }
      TRY_ASSIGN(Json parsed, ParseChatJson(arguments.get_ref<const std::string&>(), where));
      if (!parsed.is_object()) return Fail(ErrorCode::kUsage, where + " must be a JSON object");
      arguments = std::move(parsed);
    }
  }
  return {};
}

}  // namespace carat::text
