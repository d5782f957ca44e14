// Gemma 3: turns of user and model that alternate; what the system says comes before the first turn's text.
#include <string>

#include "base/try.h"
#include "text/chat_gemma.h"
#include "text/chat_values.h"
#include "text/chat_writer.h"

namespace carat::text {
namespace {

std::unexpected<Error> Refuse(size_t index, std::string_view what) {
  return Fail(ErrorCode::kUsage, "message " + std::to_string(index) + ": " + std::string(what));
}

// The system's text is not trimmed; of a list of parts, the first is its text.
Result<std::string> SystemText(const Json& message) {
  Value content = Member(&message, "content");
  if (content != nullptr && content->is_array() && !content->empty()) content = Member(&content->front(), "text");
  if (!IsString(content)) return Refuse(0, "the system's content must be text");
  return content->get<std::string>() + "\n\n";
}

Status WriteContent(Value content, size_t index, SegmentWriter& out) {
  if (IsString(content)) {
    out.Text(Strip(content->get_ref<const std::string&>()));
    return {};
  }
  const auto parts = Elements::Of(content, "content");
  if (!parts) return Refuse(index, "content must be text or a list of parts");
  for (const Value part : *parts) {
    const Value type = Member(part, "type");
    // The template knows only the first name, and drops the other without a word.
    if (Is(type, "image") || Is(type, "image_url")) {
      out.Medium(ChatSegment::Kind::kImage, "<start_of_image>");
    } else if (Is(type, "text")) {
      out.Text(Strip(Print(Member(part, "text"))));
    }
  }
  return {};
}

}  // namespace

Result<std::vector<ChatSegment>> RenderGemma3(const ChatRequest& request) {
  if (IsTrue(request.tools)) {
    return Fail(ErrorCode::kUsage, "Gemma 3's chat format has no tools; a Gemma 4 model has");
  }
  if (request.enable_thinking) {
    return Fail(ErrorCode::kUsage, "Gemma 3's chat format has no thinking; a Gemma 4 model has");
  }
  const Json& messages = *request.messages;
  if (messages.empty()) return Fail(ErrorCode::kUsage, "messages must not be empty");
  SegmentWriter out;
  out.Control("<bos>");
  std::string before_first;
  const size_t first = Is(Member(&messages[0], "role"), "system") ? 1 : 0;
  if (first == 1) {
    TRY_ASSIGN(before_first, SystemText(messages[0]));
  }
  for (size_t i = first; i < messages.size(); ++i) {
    const Value role = Member(&messages[i], "role");
    if (!IsString(role)) return Refuse(i, "needs a role");
    if (Is(role, "user") != ((i - first) % 2 == 0)) {
      return Refuse(i, "roles must alternate: user, assistant, user, ... (after an optional system message)");
    }
    out.Control("<start_of_turn>");
    out.Text(Is(role, "assistant") ? "model" : role->get_ref<const std::string&>());
    out.Text("\n");
    if (i == first) out.Text(before_first);
    TRY(WriteContent(Member(&messages[i], "content"), i, out));
    out.Control("<end_of_turn>");
    out.Text("\n");
  }
  if (request.add_generation_prompt) {
    out.Control("<start_of_turn>");
    out.Text("model\n");
  }
  return out.Take();
}

}  // namespace carat::text
