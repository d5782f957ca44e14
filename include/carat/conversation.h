// Conversation: messages, tools and their results on top of a session.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "carat/media.h"
#include "carat/session.h"

namespace carat {

struct ToolCall {
  std::string id;
  std::string name;
  std::string arguments_json;  // an object
};

// Why an answer ended.
enum class StopReason {
  kEndOfTurn,
  kToolCalls,  // the model waits for their results
  kMaxTokens,
  kContextFull,  // the answer is cut off
  kCancelled,
  kLoop  // the model said the same few tokens over and over
};

struct Reply {
  std::string text;
  std::string thought;
  std::vector<ToolCall> tool_calls;
  StopReason stop = StopReason::kEndOfTurn;
  int prompt_tokens = 0;      // of the whole conversation
  int reused_tokens = 0;      // of those, already in the session
  int answer_tokens = 0;      // without the one that ended the turn
  int decoded_tokens = 0;     // of those, how many were computed: nothing comes after a last one, so that need not be
  double encode_seconds = 0;  // of a prompt with media: until all are decoded and encoded
  double prefill_seconds = 0;
  double decode_seconds = 0;
  std::vector<MediumReport> media;  // of the whole conversation, in their order
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
  std::string system = {};
  bool think = false;
  std::string tools_json = {};  // a JSON array of tools in the form of the OpenAI API; empty: none
  int max_tokens = 0;           // per answer; 0: as many as the context holds
  MediaOptions media = {};      // for media whose own options leave something open
  // May messages of AddMessages name files ({"type": "image", "path": ...}), or must they bring pictures themselves
  // (image_url with a data: URL)? Whoever writes the messages reads any picture of this machine through the model.
  bool media_files = false;
};

// What the model sees is its chat template's rendering of the messages, so an answer depends on them alone and not on
// what was computed before. One exception: while an exchange with tools goes on (the model calls, results are added, it
// goes on), the tokens that it gave stay as they are, in their true order. Thoughts are dropped when the user speaks
// again. Used by one thread at a time, like its session.
class Conversation {
 public:
  // Tokens that `session` has are kept as far as they fit the messages. Errors: kUsage (no tokenizer or chat format,
  // tools that are not valid, tools or thinking in Gemma 3's format).
  static Result<Conversation> Create(Session session, const ConversationOptions& options = {});
  Conversation(Conversation&&) noexcept;
  Conversation& operator=(Conversation&&) noexcept;
  ~Conversation();

  // Adds a message. Errors: kUsage, and the history is as before. AddUser: while tool calls wait for results. Its media
  // stand before the text. They are read and encoded when the model is to answer.
  // AddMessages takes a JSON array in the form of the OpenAI API; its system message, if it begins with one, replaces
  // the option's. What the chat template refuses is refused, naming the message.
  Status AddUser(std::string_view text, std::span<const Medium> media = {});
  Status AddToolResult(std::string_view name,
                       std::string_view result);  // of the first call of that name not yet answered
  Status AddMessages(std::string_view json);
  int open_calls() const;  // tool calls of the last answer that have no result yet
  // Whether the history ends with something to answer: the user's message, or the results of all calls.
  bool has_question() const;

  // Generates the model's turn. On an error the history is as before: kDoesNotFit, with the numbers, when the context
  // is full before the first token; kUsage when there is nothing to answer, calls wait for results, or the model does
  // not see; kBadMedia, naming the file; kInterrupted, by the session's progress callback.
  Result<Reply> Generate(const ReplyCallback& on_event = {});
  // Removes the last answer (back to the last user message or tool result), so that Generate gives another one. Error:
  // kUsage if there is none.
  Status DropAnswer();
  // Removes what stands at the end of the history without an answer: the user's messages (Generate failed, say), and
  // tool results, whose calls are then open again.
  void DropQuestion();
  void Clear();  // all messages but the system's

  Status set_options(const ConversationOptions& options);  // Errors: as of Create
  const ConversationOptions& options() const;
  Session& session();
  const Session& session() const;
  // The history in the form that AddMessages reads, the system's message first; a message on each line.
  std::string MessagesJson() const;

  struct Impl;
  Impl& impl() const { return *impl_; }

 private:
  explicit Conversation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Continues a text without any chat format, the only use of a pre-trained model: `text` is put behind the session's
// tokens (behind the token that starts every prompt, if there are none), and the model goes on. max_tokens 0: as many
// as fit. Errors as of Tokenize, Append and Sample; kDoesNotFit if no room is left for an answer.
Result<Reply> ContinueText(Session& session, std::string_view text, int max_tokens = 0,
                           const ReplyCallback& on_event = {});

}  // namespace carat
