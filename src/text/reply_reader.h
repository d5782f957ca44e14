// Reads what the model says, token by token: text, thoughts and tool calls.
#pragma once

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "carat/engine.h"
#include "text/chat.h"
#include "text/tokenizer.h"
#include "text/tool_call.h"

namespace carat::text {

// Where the model's part begins: in its answer, or (because the prompt opened one) in a thought.
enum class ReplyStart { kContent, kThought };
ReplyStart StartAfter(std::span<const ChatSegment> prompt);

// Markers are the tokens themselves, found in the vocabulary by their names; text that looks like one is text. A
// checkpoint without some of them (Gemma 3 has no tools or thoughts) simply never gives the corresponding events.
//
// Text is given out as soon as it is certain: held back are incomplete characters, white space until something follows
// it, and the word that opens a thought. What is given out never changes, and does not depend on anything but the
// tokens.
class ReplyReader {
 public:
  struct Event {
    enum class Kind { kText, kThought, kToolCall };
    Kind kind;
    std::string text;  // kText, kThought: valid UTF-8, to be appended to what came before
    ParsedCall call;   // kToolCall
    bool operator==(const Event&) const = default;
  };

  // `thinking`: whether thoughts are given out; if not, and the model thinks nevertheless, they are left out. `tools`
  // (the request's, or null) help to read calls that are not quite right. Both pointers must outlive the reader.
  ReplyReader(const Tokenizer& tokenizer, ReplyStart start, bool thinking, const Json* tools);

  // Takes the next token and appends to `events` what became certain. After the end of the turn, tokens are ignored.
  void Push(TokenId token, std::vector<Event>& events);
  // The answer was cut off, or ended by a token that only the engine knows. A call that lacks more than its last token
  // is not repaired: half a command is not what the model meant. It is given out as text.
  void Finish(std::vector<Event>& events);

  // Whether a token ended the turn.
  bool ended() const { return state_ == State::kEnded; }
  // Whether the model waits for the results of calls.
  bool has_calls() const { return has_calls_; }

 private:
  enum class State { kContent, kHeader, kThought, kCall, kAfterCall, kEnded };
  enum class Marker {
    kNone,
    kChannelOpen,
    kChannelClose,
    kCallOpen,
    kCallClose,
    kResponseOpen,
    kResponseClose,
    kQuote,
    kTurnEnd
  };
  using Events = std::vector<Event>;

  Marker MarkerOf(TokenId token) const;
  void OnText(std::string_view text, Events& events);
  void OnMarker(Marker marker, Events& events);
  void OpenChannel();
  void CloseChannel(Events& events);
  void OpenCall(Events& events);
  void CloseCall(bool repair, Events& events);
  void LeaveHeader(Events& events);
  void End(Events& events);

  void AddContent(std::string_view text, Events& events);
  void AddThought(std::string_view text, Events& events);
  void AddHeader(std::string_view text, Events& events);

  std::vector<std::pair<TokenId, Marker>> markers_;
  bool thinking_;
  const Json* tools_;

  State state_;
  StreamDecoder decoder_;
  std::string header_;        // of a channel, while it may still be the word "thought"
  std::string held_content_;  // white space that is given out if something follows
  std::string held_thought_;
  std::string call_;         // between the markers of a call
  bool skip_space_ = false;  // of content after a thought or call
  bool has_calls_ = false;
  bool has_thought_ = false;  // something was given out of one
  bool new_thought_ = false;  // a further one has begun, of which nothing was given out yet
};

}  // namespace carat::text
