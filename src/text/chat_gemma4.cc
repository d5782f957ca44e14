// Gemma 4: turns with a role, and inside the model's turns thoughts, tool calls and their responses.
//
// This follows the order of the template that E2B and E4B were published with, including what it does with odd input:
// whoever compares the two finds the same text. What the template raises an error for is refused.
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "base/try.h"
#include "text/chat_gemma.h"
#include "text/chat_json.h"
#include "text/chat_tools.h"
#include "text/chat_values.h"
#include "text/chat_writer.h"

namespace carat::text {
namespace {

// Removes thoughts from what the model said: of every piece between closing marks, what follows an opening one.
std::string WithoutThoughts(std::string_view text) {
  static constexpr std::string_view kOpen = "<|channel>", kClose = "<channel|>";
  std::string kept;
  for (;;) {
    const size_t end = text.find(kClose);
    const std::string_view piece = text.substr(0, end);
    kept += piece.substr(0, piece.find(kOpen));
    if (end == text.npos) break;
    text.remove_prefix(end + kClose.size());
  }
  return std::string(Strip(kept));
}

// Writes the placeholder of a part that is a medium. False for other parts.
bool WriteMedium(Value type, SegmentWriter& out) {
  if (Is(type, "image") || Is(type, "image_url")) {
    out.Medium(ChatSegment::Kind::kImage, "<|image|>");
  } else if (Is(type, "audio") || Is(type, "input_audio")) {
    out.Medium(ChatSegment::Kind::kAudio, "<|audio|>");
  } else if (Is(type, "video")) {
    out.Medium(ChatSegment::Kind::kVideo, "<|video|>");
  } else {
    return false;
  }
  return true;
}

std::unexpected<Error> Refuse(const std::string& where, std::string_view what) {
  return Fail(ErrorCode::kUsage, where + ": " + std::string(what));
}

// The names of tool calls by their ids. Two calls of one id: the last counts. Calls without an id answer to messages
// without one.
class CallNames {
 public:
  static Result<CallNames> Of(Value tool_calls, const std::string& where) {
    CallNames names;
    TRY_ASSIGN(const Elements calls, Elements::Of(tool_calls, where + ": tool_calls"));
    for (const Value call : calls) {
      const Value name = Member(Member(call, "function"), "name");
      if (!IsString(name)) return Refuse(where, "a tool call needs a function with a name");
      names.by_id_[Key(Member(call, "id"))] = name->get_ref<const std::string&>();
    }
    return names;
  }

  // The name that the response to a call goes by.
  Result<std::string> ResponseName(const Json& tool_message, const std::string& where) const {
    const auto found = by_id_.find(Key(Member(&tool_message, "tool_call_id")));
    if (found != by_id_.end()) return std::string(found->second);
    const Value own = Member(&tool_message, "name");
    if (!IsTrue(own)) return std::string("unknown");
    if (!IsString(own)) return Refuse(where, "name must be text");
    return own->get<std::string>();
  }

 private:
  // Ids are text; a missing id is the same as null, and both print differently from any text.
  static std::string Key(Value id) {
    if (IsString(id)) return '"' + id->get<std::string>();
    return id == nullptr ? "None" : Print(id);
  }
  std::unordered_map<std::string, std::string_view> by_id_;
};

// The response block of one tool message, and the media that came with it.
Status WriteToolMessage(const CallNames& names, const Json& message, const std::string& where, bool opened,
                        SegmentWriter& out) {
  TRY_ASSIGN(const std::string name, names.ResponseName(message, where));
  const Value content = Member(&message, "content");
  if (!IsMapping(content) && !(content != nullptr && content->is_array())) {
    const Json null;
    WriteResponse(name, content == nullptr ? &null : content, opened, out);
    return {};
  }
  if (IsMapping(content) && !content->empty()) {
    return Refuse(where, "content must be text or a list of parts; an object goes into the call's tool_responses");
  }
  Json text = "";
  for (const Json& part : *content) {
    if (!part.is_object()) return Refuse(where, "a part of content must be an object");
    if (!Is(Member(&part, "type"), "text")) continue;
    if (!IsString(Member(&part, "text"))) return Refuse(where, "a part of type text needs a text");
    text.get_ref<std::string&>() += Member(&part, "text")->get_ref<const std::string&>();
  }
  WriteResponse(name, &text, opened, out);
  for (const Json& part : *content) WriteMedium(Member(&part, "type"), out);
  return {};
}

class Renderer {
 public:
  explicit Renderer(const ChatRequest& request) : request_(request), messages_(*request.messages) {}

  Result<std::vector<ChatSegment>> Render() {
    out_.Control("<bos>");
    TRY(WriteSystemTurn());
    for (size_t i = begin_; i < messages_.size(); ++i) {
      if (Is(Member(&messages_[i], "role"), "user")) last_user_ = i;
    }
    for (size_t i = begin_; i < messages_.size(); ++i) {
      if (!IsToolMessage(i)) TRY(WriteMessage(i));
    }
    if (request_.add_generation_prompt) WriteGenerationPrompt();
    return out_.Take();
  }

 private:
  enum class Last { kOther, kCalls, kResponses };  // what a message ended with

  bool IsToolMessage(size_t i) const { return Is(Member(&messages_[i], "role"), "tool"); }
  std::string Where(size_t i) const { return "message " + std::to_string(i); }

  Status WriteSystemTurn();
  Status WriteMessage(size_t i);
  Status WriteThought(size_t i);
  Status WriteCalls(size_t i);
  Result<bool> WriteResponses(size_t i);
  Result<bool> WriteContent(size_t i, bool of_model);
  void WriteGenerationPrompt();

  const ChatRequest& request_;
  const Json& messages_;
  size_t begin_ = 0;                 // the first message after the system turn
  std::optional<size_t> last_user_;  // the last message of a user
  std::string previous_role_;        // of the last message that was no tool's
  Last last_ = Last::kOther;
  SegmentWriter out_;
};

Status Renderer::WriteSystemTurn() {
  const Value role = messages_.empty() ? nullptr : Member(&messages_[0], "role");
  const bool has_system = Is(role, "system") || Is(role, "developer");
  const bool has_tools = IsTrue(request_.tools);
  if (!request_.enable_thinking && !has_tools && !has_system) return {};

  out_.Control("<|turn>");
  out_.Text("system\n");
  if (request_.enable_thinking) {
    out_.Control("<|think|>");
    out_.Text("\n");
  }
  if (has_system) {
    begin_ = 1;
    const Value content = Member(&messages_[0], "content");
    if (IsString(content)) {
      out_.Text(Strip(content->get_ref<const std::string&>()));
    } else if (IsSequence(content)) {
      TRY_ASSIGN(const Elements parts, Elements::Of(content, "content"));
      for (const Value part : parts) {
        out_.Text(Strip(Print(Member(part, "text"))));
        out_.Text(" ");
      }
    }
  }
  if (has_tools) {
    if (!request_.tools->is_array()) return Fail(ErrorCode::kUsage, "tools must be a list");
    for (size_t i = 0; i < request_.tools->size(); ++i) {
      out_.Control("<|tool>");
      TRY(WriteDeclaration(&(*request_.tools)[i], "tool " + std::to_string(i), out_));
      out_.Control("<tool|>");
    }
  }
  out_.Control("<turn|>");
  out_.Text("\n");
  return {};
}

Status Renderer::WriteMessage(size_t i) {
  const Json& message = messages_[i];
  const Value role = Member(&message, "role");
  if (!IsString(role)) return Refuse(Where(i), "needs a role");
  const bool of_model = Is(role, "assistant") || Is(role, "model");
  const bool continues = of_model && previous_role_ == "assistant";
  if (!continues) {
    out_.Control("<|turn>");
    out_.Text(of_model ? "model" : role->get_ref<const std::string&>());
    out_.Text("\n");
  }
  const bool has_calls = IsTrue(Member(&message, "tool_calls"));
  TRY(WriteThought(i));
  if (has_calls) TRY(WriteCalls(i));
  TRY_ASSIGN(const bool has_responses, WriteResponses(i));
  TRY_ASSIGN(const bool has_content, WriteContent(i, of_model));
  last_ = has_responses ? Last::kResponses : has_calls ? Last::kCalls : Last::kOther;

  // The next message decides whether the turn stays open.
  size_t next = i + 1;
  while (next < messages_.size() && IsToolMessage(next)) ++next;
  const bool is_last = next == messages_.size();
  const bool next_continues = of_model && !is_last && Is(Member(&messages_[next], "role"), "assistant");
  if (has_calls && !has_responses) {
    out_.Control("<|tool_response>");  // the turn waits for the result
  } else if (!next_continues && !(has_responses && !has_content && is_last)) {
    out_.Control("<turn|>");
    out_.Text("\n");
  }
  previous_role_ = role->get_ref<const std::string&>();
  return {};
}

// Reasoning goes back to the model while its exchange with the tools goes on, that is, until the user speaks again.
Status Renderer::WriteThought(size_t i) {
  const Json& message = messages_[i];
  Value thought = Member(&message, "reasoning");
  if (!IsTrue(thought)) thought = Member(&message, "reasoning_content");
  const bool is_current = !last_user_ || i > *last_user_;
  const bool is_preserved = request_.preserve_thinking && IsTrue(Member(&message, "tool_calls"));
  if (!IsTrue(thought) || !(is_current || is_preserved)) return {};
  if (!IsString(thought)) return Refuse(Where(i), "reasoning must be text");
  out_.Control("<|channel>");
  out_.Text("thought\n");
  out_.Text(thought->get_ref<const std::string&>());
  out_.Text("\n");
  out_.Control("<channel|>");
  return {};
}

Status Renderer::WriteCalls(size_t i) {
  TRY_ASSIGN(const Elements calls, Elements::Of(Member(&messages_[i], "tool_calls"), Where(i) + ": tool_calls"));
  for (size_t n = 0; n < calls.size(); ++n) {
    const std::string where = Where(i) + ", tool call " + std::to_string(n);
    const Value function = Member(calls[n], "function");
    const Value name = Member(function, "name");
    if (!IsString(name)) return Refuse(where, "needs a function with a name");
    const Value arguments = Member(function, "arguments");
    if (!IsMapping(arguments) && !IsNone(arguments)) {
      return Refuse(where, IsString(arguments) ? "arguments must be a JSON object, not its text"
                                               : "arguments must be a JSON object or null");
    }
    out_.Control("<|tool_call>");
    out_.Text("call:");
    out_.Text(name->get_ref<const std::string&>());
    out_.Text("{");
    if (IsMapping(arguments)) WriteMembers(*arguments, out_);
    out_.Text("}");
    out_.Control("<tool_call|>");
  }
  return {};
}

// Responses that the message carries itself, or else the tool messages that follow it. True if there were any.
Result<bool> Renderer::WriteResponses(size_t i) {
  const Json& message = messages_[i];
  if (const Value responses = Member(&message, "tool_responses"); IsTrue(responses)) {
    TRY_ASSIGN(const Elements elements, Elements::Of(responses, Where(i) + ": tool_responses"));
    for (const Value element : elements) {
      const Value name = Member(element, "name");
      if (IsTrue(name) && !IsString(name)) return Refuse(Where(i), "the name of a tool response must be text");
      WriteResponse(IsTrue(name) ? name->get_ref<const std::string&>() : "unknown", Member(element, "response"), false,
                    out_);
    }
    return true;
  }
  const Value calls = Member(&message, "tool_calls");
  if (!IsTrue(calls)) return false;
  TRY_ASSIGN(const CallNames names, CallNames::Of(calls, Where(i)));
  size_t k = i + 1;
  for (; k < messages_.size() && IsToolMessage(k); ++k) {
    TRY(WriteToolMessage(names, messages_[k], Where(k), false, out_));
  }
  return k > i + 1;
}

// True if something was said or shown.
Result<bool> Renderer::WriteContent(size_t i, bool of_model) {
  bool has_content = false;
  const auto write_text = [&](std::string_view text) {
    const std::string kept = of_model ? WithoutThoughts(text) : std::string(Strip(text));
    has_content |= !kept.empty();
    out_.Text(kept);
  };
  const Value content = Member(&messages_[i], "content");
  if (content == nullptr || !IsSequence(content)) return false;  // none, and what is neither text nor parts
  if (IsString(content)) {
    write_text(content->get_ref<const std::string&>());
    return has_content;
  }
  TRY_ASSIGN(const Elements parts, Elements::Of(content, Where(i) + ": content"));
  for (const Value part : parts) {
    if (!IsMapping(part)) return Refuse(Where(i), "a part of content must be an object");
    if (Is(Member(part, "type"), "text")) {
      const Value text = Member(part, "text");
      if (of_model && !IsString(text)) return Refuse(Where(i), "a part of type text needs a text");
      write_text(Print(text));
    } else {
      has_content |= WriteMedium(Member(part, "type"), out_);
    }
  }
  return has_content;
}

void Renderer::WriteGenerationPrompt() {
  if (last_ == Last::kOther) {
    out_.Control("<|turn>");
    out_.Text("model\n");
  } else if (last_ == Last::kResponses && request_.enable_thinking) {
    out_.Control("<|channel>");
    out_.Text("thought\n");
  }
}

}  // namespace

Result<std::vector<ChatSegment>> RenderGemma4(const ChatRequest& request) { return Renderer(request).Render(); }

Result<std::vector<ChatSegment>> RenderToolResponses(const ToolResponses& responses) {
  if (responses.messages == nullptr || !responses.messages->is_array() || responses.messages->empty()) {
    return Fail(ErrorCode::kUsage, "tool responses must be a list of at least one message");
  }
  TRY_ASSIGN(const CallNames names, CallNames::Of(responses.tool_calls, "tool responses"));
  SegmentWriter out;
  bool opened = responses.opener_in_cache;
  for (size_t i = 0; i < responses.messages->size(); ++i) {
    const Json& message = (*responses.messages)[i];
    const std::string where = "tool response " + std::to_string(i);
    if (!message.is_object()) return Refuse(where, "must be an object");
    if (!NestedAtMost(message, kMaxChatNesting)) return Refuse(where, "is nested too deeply");
    TRY(WriteToolMessage(names, message, where, std::exchange(opened, false), out));
  }
  if (responses.enable_thinking) {
    out.Control("<|channel>");
    out.Text("thought\n");
  }
  return out.Take();
}

}  // namespace carat::text
