// Conversation: messages, tools and their results on top of a session.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "carat/session.h"

namespace carat {

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments_json;  // an object
};

// Why an answer ended.
enum class StopReason { kEndOfTurn, kToolCalls, kMaxTokens, kContextFull, kCancelled, kLoop };

struct Reply {
  std::string text;
  std::string thought;
  std::vector<ToolCall> tool_calls;
  StopReason stop = StopReason::kEndOfTurn;
  int prompt_tokens = 0;  // of the whole conversation
  int reused_tokens = 0;  // of those, already in the session
  int answer_tokens = 0;
  double prefill_seconds = 0;
  double decode_seconds = 0;
};

// A piece of an answer, as it comes. Whole characters only.
struct ReplyEvent {
  enum class Kind { kText, kThought, kToolCall } kind = Kind::kText;
  std::string_view text;           // kText, kThought
  const ToolCall* call = nullptr;  // kToolCall: complete
};
// Called at least once per token, with an empty text when there is nothing to show yet. Return false to stop the answer
// (StopReason::kCancelled; what was said so far is kept in the history).
using ReplyCallback = std::function<bool(const ReplyEvent&)>;

struct ConversationOptions {
  std::string system;
  bool think = false;
  std::string tools_json;  // a JSON array of tools in the form of the OpenAI API; empty: none
  int max_tokens = 0;      // per answer; 0: as many as the context holds
};

// Used by one thread at a time, like its session.
class Conversation {
 public:
  // Error: kUsage (no tokenizer or chat format, tools that are not valid).
  static Result<Conversation> Create(Session session, const ConversationOptions& options = {});
  Conversation(Conversation&&) noexcept;
  Conversation& operator=(Conversation&&) noexcept;
  ~Conversation();

  // Adds a message. AddMessages takes a JSON array in the form of the OpenAI API (and its `system` replaces the
  // option's).
  Status AddUser(std::string_view text);
  Status AddToolResult(std::string_view name,
                       std::string_view result);  // of the first call of that name not yet answered
  Status AddMessages(std::string_view json);
  int open_calls() const;  // tool calls of the last answer that have no result yet
  // Generates the model's turn. On an error (kDoesNotFit when the context is full before the first token) the history
  // is as before.
  Result<Reply> Generate(const ReplyCallback& on_event = {});
  // Removes the last answer (back to the last user message or tool result), so that Generate gives another one.
  Status DropAnswer();
  // Removes the user's messages at the end of the history, those that have no answer (Generate failed, say).
  void DropQuestion();
  void Clear();  // all messages but the system's

  Status set_options(const ConversationOptions& options);
  const ConversationOptions& options() const;
  Session& session();
  std::string MessagesJson() const;  // the history in the form that AddMessages reads

  struct Impl;

 private:
  explicit Conversation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Continues a text without any chat format, the only use of a pre-trained model: `text` is put behind the session's
// tokens (behind the token that starts every prompt, if there are none), and the model goes on. max_tokens 0: as many
// as fit. Errors as of Tokenize, Append and Sample.
Result<Reply> ContinueText(Session& session, std::string_view text, int max_tokens = 0,
                           const ReplyCallback& on_event = {});

}  // namespace carat
