#include "carat/conversation.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/try.h"
#include "engine/conversation_impl.h"
#include "engine/engine_impl.h"
#include "text/chat_ids.h"
#include "text/chat_json.h"
#include "text/chat_values.h"
#include "text/unicode.h"

namespace carat {

namespace {

using text::Member;

// The text of a message's content, be it text or a list of parts.
std::string ContentText(const Json& message) {
  const text::Value content = Member(&message, "content");
  if (text::IsString(content)) return content->get<std::string>();
  std::string out;
  if (content == nullptr || !content->is_array()) return out;
  for (const Json& part : *content) out += text::Print(Member(&part, "text"));
  return out;
}

Json TextMessage(std::string_view role, std::string_view content) {
  return {{"role", role}, {"content", text::ReplaceInvalidUtf8(content)}};
}

// visit(part, medium) for the parts of a message that are media.
template <typename Visit>
void ForEachMedium(ChatMessage& message, const Visit& visit) {
  size_t next = 0;
  if (message.media.empty()) return;
  for (Json& part : message.json["content"])
    if (!text::Is(Member(&part, "type"), "text")) visit(part, *message.media[next++]);
}

Json AnswerMessage(const Reply& reply) {
  Json message = {{"role", "assistant"}, {"content", reply.text}};
  if (!reply.thought.empty()) message["reasoning_content"] = reply.thought;
  if (reply.tool_calls.empty()) return message;
  if (reply.text.empty()) message["content"] = nullptr;
  Json& calls = message["tool_calls"] = Json::array();
  for (const ToolCall& call : reply.tool_calls) {
    calls.push_back({{"id", call.id},
                     {"type", "function"},
                     {"function", {{"name", call.name}, {"arguments", call.arguments_json}}}});
  }
  return message;
}

// Reads tokens into a reply, and passes on what becomes certain.
class Listener {
 public:
  // `calls_before`: how many tool calls the conversation has; those of this answer are numbered from there.
  Listener(text::ReplyReader reader, size_t calls_before, const ReplyCallback& on_event, Reply& reply)
      : reader_(std::move(reader)), calls_before_(calls_before), on_event_(on_event), reply_(reply) {}

  // False if whoever listens has heard enough.
  bool Push(TokenId token) {
    events_.clear();
    reader_.Push(token, events_);
    if (events_.empty()) return !on_event_ || on_event_({});
    return GiveOut(/*heard=*/true);
  }

  // The answer ended, by `stop_token` or otherwise. Who stopped it is not called again.
  void Finish(std::optional<TokenId> stop_token) {
    events_.clear();
    if (stop_token) reader_.Push(*stop_token, events_);
    reader_.Finish(events_);
    GiveOut(/*heard=*/reply_.stop != StopReason::kCancelled);
    if (reply_.stop == StopReason::kEndOfTurn && reader_.has_calls()) reply_.stop = StopReason::kToolCalls;
  }

 private:
  bool GiveOut(bool heard) {
    for (text::ReplyReader::Event& event : events_) {
      ReplyEvent out;
      if (event.kind == text::ReplyReader::Event::Kind::kToolCall) {
        const std::string id = "call_" + std::to_string(calls_before_ + reply_.tool_calls.size() + 1);
        reply_.tool_calls.push_back({id, std::move(event.call.name), std::move(event.call.arguments_json)});
        out = {.kind = ReplyEvent::Kind::kToolCall, .text = {}, .call = &reply_.tool_calls.back()};
      } else {
        const bool is_thought = event.kind == text::ReplyReader::Event::Kind::kThought;
        (is_thought ? reply_.thought : reply_.text) += event.text;
        out = {.kind = is_thought ? ReplyEvent::Kind::kThought : ReplyEvent::Kind::kText, .text = event.text};
      }
      heard = heard && (!on_event_ || on_event_(out));
    }
    return heard;
  }

  text::ReplyReader reader_;
  size_t calls_before_;
  const ReplyCallback& on_event_;
  Reply& reply_;
  std::vector<text::ReplyReader::Event> events_;
};

// Whether results can be put behind `said`: its last call was closed by the model itself.
bool IsWhole(std::span<const TokenId> said, const text::Tokenizer& tokenizer) {
  const std::optional<TokenId> open = tokenizer.Find("<|tool_call>"), close = tokenizer.Find("<tool_call|>");
  if (!open || !close) return false;
  for (size_t i = said.size(); i > 0; --i) {
    if (said[i - 1] == *close) return true;
    if (said[i - 1] == *open) return false;
  }
  return false;
}

}  // namespace

const text::Tokenizer& Conversation::Impl::tokenizer() const {
  const std::optional<text::Tokenizer>& tokenizer = session.engine().impl().tokenizer;
  CHECK(tokenizer.has_value());  // Create saw to it
  return *tokenizer;
}

size_t Conversation::Impl::CountCalls() const {
  size_t count = 0;
  for (const ChatMessage& message : history) {
    const text::Value calls = Member(&message.json, "tool_calls");
    if (calls != nullptr && calls->is_array()) count += calls->size();
  }
  return count;
}

std::vector<const Json*> Conversation::Impl::OpenCalls() const {
  std::vector<const Json*> open;
  size_t answer = history.size();
  while (answer > 0 && history[answer - 1].HasRole("tool")) --answer;
  if (answer == 0 || !history[answer - 1].HasRole("assistant")) return open;
  const Json& message = history[answer - 1].json;
  const text::Value calls = Member(&message, "tool_calls");
  if (calls == nullptr || !calls->is_array() || text::IsTrue(Member(&message, "tool_responses"))) return open;
  // A result answers one call: that of its id, or, if it names none, one that has no id either.
  std::vector<bool> used(history.size());
  for (const Json& call : *calls) {
    const text::Value id = Member(&call, "id");
    size_t i = answer;
    for (; i < history.size(); ++i) {
      const text::Value of = Member(&history[i].json, "tool_call_id");
      if (!used[i] && (id == nullptr || of == nullptr ? id == of : *id == *of)) break;
    }
    if (i < history.size()) {
      used[i] = true;
    } else {
      open.push_back(&call);
    }
  }
  return open;
}

Result<Conversation> Conversation::Create(Session session, const ConversationOptions& options) {
  const ModelInfo& info = session.engine().info();
  if (!info.has_tokenizer) {
    return Fail(ErrorCode::kUsage, info.path.string() + ": the checkpoint has no tokenizer, and so no chat format");
  }
  auto impl = std::make_unique<Impl>(std::move(session));
  const std::optional<text::ChatFormat> format = text::ChatFormatOf(impl->tokenizer());
  if (!format) {
    return Fail(ErrorCode::kUsage, info.path.string() +
                                       ": the model has no chat format (its tokenizer has no turn markers); "
                                       "--raw continues a text");
  }
  impl->format = *format;
  Conversation conversation(std::move(impl));
  TRY(conversation.set_options(options));
  return conversation;
}

Conversation::Conversation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Conversation::Conversation(Conversation&&) noexcept = default;
Conversation& Conversation::operator=(Conversation&&) noexcept = default;
Conversation::~Conversation() = default;

Status Conversation::set_options(const ConversationOptions& options) {
  TRY(CheckMaxTokens(options.max_tokens));
  Json tools;
  if (!options.tools_json.empty()) {
    TRY_ASSIGN(tools, text::ParseChatJson(options.tools_json, "the list of tools"));
    if (!tools.is_array()) return Fail(ErrorCode::kUsage, "the tools must be a JSON list");
    if (tools.empty()) tools = nullptr;
  }
  // What the format cannot express is refused here rather than at the first answer.
  const Json probe = Json::array({TextMessage("user", "x")});
  TRY(text::RenderChat(
      impl_->format,
      {.messages = &probe, .tools = tools.is_null() ? nullptr : &tools, .enable_thinking = options.think}));
  if (options.system != impl_->options.system) {
    impl_->system = options.system.empty() ? Json() : TextMessage("system", options.system);
  }
  impl_->options = options;
  impl_->tools = std::move(tools);
  return {};
}

Status Conversation::AddUser(std::string_view text, std::span<const Medium> media) {
  if (const std::vector<const Json*> open = impl_->OpenCalls(); !open.empty()) {
    return Fail(ErrorCode::kUsage, "the model waits for the result of " +
                                       text::Print(Member(Member(open.front(), "function"), "name")) +
                                       "; give it, or drop the answer");
  }
  ChatMessage message = {.json = TextMessage("user", text), .said = {}, .media = {}};
  if (!media.empty()) {
    TRY(impl_->session.engine().impl().CheckSees());
    Json parts = Json::array();
    for (const Medium& medium : media) {
      parts.push_back(StubOfMedium(medium.kind));
      message.media.push_back(std::make_shared<ShownMedium>(medium));
    }
    if (!text.empty()) parts.push_back({{"type", "text"}, {"text", message.json["content"]}});
    message.json["content"] = std::move(parts);
  }
  impl_->history.push_back(std::move(message));
  const Status renders = impl_->CheckRenders();
  if (!renders) impl_->history.pop_back();
  return renders;
}

Status Conversation::AddToolResult(std::string_view name, std::string_view result) {
  std::string names;
  for (const Json* call : impl_->OpenCalls()) {
    const std::string called = text::Print(Member(Member(call, "function"), "name"));
    if (called == name) {
      Json message = {{"role", "tool"}, {"name", called}, {"content", text::ReplaceInvalidUtf8(result)}};
      if (const text::Value id = Member(call, "id"); id != nullptr) message["tool_call_id"] = *id;
      impl_->history.push_back({.json = std::move(message), .said = {}, .media = {}});
      return {};
    }
    names += (names.empty() ? "" : ", ") + called;
  }
  return Fail(ErrorCode::kUsage,
              names.empty() ? "the model waits for no tool's result"
                            : "the model does not wait for a result of '" + std::string(name) + "', but of: " + names);
}

Status Conversation::AddMessages(std::string_view json) {
  Impl& it = *impl_;
  TRY_ASSIGN(Json messages, text::ParseChatJson(json, "the list of messages"));
  if (!messages.is_array()) return Fail(ErrorCode::kUsage, "the messages must be a JSON list");
  const size_t count = it.history.size();
  const Json system = it.system;
  size_t first = 0;
  if (!messages.empty()) {
    const text::Value role = Member(&messages[0], "role");
    first = text::Is(role, "system") || text::Is(role, "developer") ? 1 : 0;
  }
  if (first == 1) {
    TRY_ASSIGN(const auto media, MediaOfMessage(messages[0], /*may_read_files=*/true, "message 0"));
    if (!media.empty())
      return Fail(ErrorCode::kUsage, "message 0: the system's message cannot bring pictures; a user's can");
    it.system = messages[0];
    it.system["role"] = "system";
  }
  Status added = it.AddHistory(messages, first);
  if (!added) {
    it.history.resize(count);
    it.system = system;
    return added;
  }
  if (const Status renders = it.CheckRenders(); !renders) {
    it.history.resize(count);
    it.system = system;
    // The fault is said in the numbers of the caller's list, if it can be seen in that alone.
    TRY(text::NormalizeMessages(messages));
    TRY(text::RenderChat(it.format, {.messages = &messages}));
    return renders;
  }
  if (first == 1) it.options.system = ContentText(it.system);
  return {};
}

Status Conversation::Impl::AddHistory(const Json& messages, size_t first) {
  for (size_t i = first; i < messages.size(); ++i) {
    TRY_ASSIGN(auto media, MediaOfMessage(messages[i], options.media_files, "message " + std::to_string(i)));
    if (!media.empty()) TRY(session.engine().impl().CheckSees());
    ChatMessage& message =
        history.emplace_back(ChatMessage{.json = messages[i], .said = {}, .media = std::move(media)});
    ForEachMedium(message, [](Json& part, const ShownMedium& medium) { part = StubOfMedium(medium.kind()); });
  }
  return {};
}

int Conversation::open_calls() const { return static_cast<int>(impl_->OpenCalls().size()); }

bool Conversation::has_question() const {
  return !impl_->history.empty() && !impl_->history.back().HasRole("assistant") && open_calls() == 0;
}

Result<Reply> Conversation::Generate(const ReplyCallback& on_event) {
  Impl& it = *impl_;
  if (!has_question()) {
    const int open = open_calls();
    return Fail(ErrorCode::kUsage, open > 0 ? "the model waits for the results of " + std::to_string(open) +
                                                  " tool call" + (open > 1 ? "s" : "")
                                            : "there is nothing to answer; add a message first");
  }
  Reply reply;
  TRY_ASSIGN(const ChatPrompt prompt, it.MakePrompt(reply));
  TRY(Prefill(it.session, prompt.tokens.view(), reply));
  Listener listener(text::ReplyReader(it.tokenizer(), prompt.start, it.options.think, it.tools_or_null()),
                    it.CountCalls(), on_event, reply);
  TRY_ASSIGN(const std::optional<TokenId> stop_token, GenerateTokens(
                                                          it.session, it.options.max_tokens, it.choose,
                                                          [&](TokenId token) { return listener.Push(token); }, reply));
  listener.Finish(stop_token);
  ChatMessage answer = {.json = AnswerMessage(reply), .said = {}, .media = {}};
  if (reply.stop == StopReason::kToolCalls) {
    const auto said = it.session.tokens().subspan(static_cast<size_t>(prompt.tokens.size()));
    if (IsWhole(said, it.tokenizer())) answer.said.assign(said.begin(), said.end());
  }
  it.history.push_back(std::move(answer));
  return reply;
}

Status Conversation::DropAnswer() {
  std::vector<ChatMessage>& history = impl_->history;
  if (history.empty() || !history.back().HasRole("assistant")) {
    return Fail(ErrorCode::kUsage, "there is no answer to drop");
  }
  while (!history.empty() && history.back().HasRole("assistant")) history.pop_back();
  return {};
}

void Conversation::DropQuestion() {
  std::vector<ChatMessage>& history = impl_->history;
  while (!history.empty() && !history.back().HasRole("assistant")) history.pop_back();
}

void Conversation::Clear() { impl_->history.clear(); }

const ConversationOptions& Conversation::options() const { return impl_->options; }
Session& Conversation::session() { return impl_->session; }
const Session& Conversation::session() const { return impl_->session; }

std::string Conversation::MessagesJson() const {
  std::string out;
  const auto add = [&out](const Json& message) { out += (out.empty() ? "[\n" : ",\n") + text::DumpChatJson(message); };
  if (!impl_->system.is_null()) add(impl_->system);
  for (const ChatMessage& message : impl_->history) {
    ChatMessage whole = message;
    ForEachMedium(whole, [](Json& part, const ShownMedium& medium) { part = PartOfMedium(medium.source()); });
    add(whole.json);
  }
  return out.empty() ? "[]\n" : out + "\n]\n";
}

}  // namespace carat
